"""Bootstrap draws: the counts of plainly resampled clips or groups."""

import numpy as np
import pytest
from scipy.stats import norm, t

from benchmark.stats import bootstrap as module
from benchmark.stats.bootstrap import bootstrap_counts, bootstrap_interval

CATEGORIES = np.array([0, 0, 2, 2, 2, 0, 2, 3, 3, 0])
GROUPS = np.array(list("aabbbbcccd"))


def test_a_draw_of_clips_has_as_many_clips() -> None:
    (drawn,) = bootstrap_counts(CATEGORIES, 5, None, 4000, 0)
    assert drawn.shape == (4000, 5)
    assert (drawn.sum(axis=1) == 10).all()
    assert drawn.mean(axis=0) == pytest.approx([4, 0, 4, 2, 0], abs=0.15)
    assert drawn.std(axis=0)[0] == pytest.approx(np.sqrt(10 * 0.4 * 0.6), rel=0.05)
    (own,) = bootstrap_counts(CATEGORIES, 5, np.arange(10), 4000, 0)
    np.testing.assert_array_equal(own, drawn)


def test_a_draw_of_groups_holds_whole_groups_only() -> None:
    held = np.array([[2, 0, 0, 0, 0], [1, 0, 3, 0, 0], [0, 0, 1, 2, 0], [1, 0, 0, 0, 0]])
    (drawn,) = bootstrap_counts(CATEGORIES, 5, GROUPS, 2000, 3)
    times = np.random.default_rng(3).multinomial(4, [0.25] * 4, size=2000)
    np.testing.assert_array_equal(drawn, times @ held)


@pytest.mark.parametrize("groups", [None, GROUPS])
def test_the_size_of_a_chunk_changes_nothing(
    groups: np.ndarray | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (whole,) = bootstrap_counts(CATEGORIES, 5, groups, 100, 1)
    monkeypatch.setattr(module, "CHUNK_VALUES", 50)
    parts = list(bootstrap_counts(CATEGORIES, 5, groups, 100, 1))
    assert len(parts) > 1
    np.testing.assert_array_equal(np.concatenate(parts), whole)


@pytest.mark.parametrize("n_groups", [2, 6, 10, 1000])
def test_a_normal_mean_of_few_groups_gets_the_interval_of_students_t(n_groups: int) -> None:
    """Resamples of a mean spread by s sqrt((n - 1) / n) / sqrt(n); t's reach is t s / sqrt(n)."""
    deviation = np.sqrt((n_groups - 1) / n_groups)
    resampled = 3 + deviation * norm.ppf((np.arange(200_000) + 0.5) / 200_000)
    reach = t.ppf(0.975, n_groups - 1) if n_groups > 2 else 4.5  # 200,000 draws reach no further
    low, high = bootstrap_interval(resampled, n_groups)
    if n_groups > 2:
        assert (low, high) == pytest.approx((3 - reach, 3 + reach), rel=1e-3)
    else:
        assert low == resampled.min()
    centered = bootstrap_interval(np.append(resampled, np.nan), n_groups, 5.0)
    assert centered == pytest.approx((low + 2, high + 2), rel=1e-3)
