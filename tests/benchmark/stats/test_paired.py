"""Paired tests against scipy, plain enumeration and worked examples."""

from itertools import product

import numpy as np
import pytest
from scipy.stats import binomtest

from benchmark.stats.paired import holm, mcnemar, mean_difference, paired, sign_flips


@pytest.mark.parametrize(("only_a", "only_b"), [(0, 0), (0, 6), (5, 5), (12, 3), (900, 1100)])
def test_mcnemar_equals_the_exact_binomial_test(only_a: int, only_b: int) -> None:
    wanted = binomtest(only_a, only_a + only_b).pvalue if only_a + only_b else 1.0
    assert mcnemar(only_a, only_b) == pytest.approx(wanted, rel=1e-6)


def test_holm_on_a_worked_example() -> None:
    # Sorted .005 .01 .03 .04 times 4 3 2 1 is .02 .03 .06 .04, never falling: .02 .03 .06 .06.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


@pytest.mark.parametrize(
    "differences",
    [[3, -1, 2, 0, 1], [2, 2, -1], [5], [1, 1, -1], [0, 0], [4, -4], [-3, -2, -2], [2, 1, 1, 1]],
)
def test_flipped_signs_are_counted_exactly(differences: list[int]) -> None:
    sums = [np.dot(signs, differences) for signs in product((-1, 1), repeat=len(differences))]
    wanted = np.mean(np.abs(sums) >= abs(sum(differences)))
    assert sign_flips(np.array(differences)) == pytest.approx(wanted)


def test_clips_each_of_its_own_group_give_mcnemars_p() -> None:
    draw = np.random.default_rng(0)
    hit, other = draw.random(200) < 0.7, draw.random(200) < 0.6
    result = paired(hit, other, np.arange(200).astype(str))
    only_hit, only_other = int((hit & ~other).sum()), int((other & ~hit).sum())
    assert result.p == mcnemar(only_hit, only_other) == paired(hit, other).p
    np.testing.assert_array_equal(result.resampled, paired(hit, other).resampled)


def test_the_interval_of_a_mean_over_tasks_is_as_wide_as_the_normal_one() -> None:
    draw = np.random.default_rng(3)
    pairs, variances = [], []
    for seed, n in enumerate((900, 400, 400)):
        hit, other = draw.random(n) < 0.7, draw.random(n) < 0.6
        pairs.append(paired(hit, other, seed=seed))
        variances.append(np.var(100.0 * hit - 100.0 * other) / n)
    for some in (1, 3):
        result = mean_difference(pairs[:some])
        normal = 2 * 1.96 * np.sqrt(sum(variances[:some])) / some
        assert result["high"] - result["low"] == pytest.approx(normal, rel=0.05)


def test_copies_of_a_clip_add_no_evidence() -> None:
    draw = np.random.default_rng(1)
    hit, other = draw.random(120) < 0.75, draw.random(120) < 0.6
    once = paired(hit, other)
    many = paired(np.repeat(hit, 8), np.repeat(other, 8), np.repeat(np.arange(120), 8))
    assert many.p == pytest.approx(once.p)
    spans = [np.percentile(result.resampled, [2.5, 97.5]) for result in (once, many)]
    assert spans[1] == pytest.approx(spans[0], abs=0.5)
    alone = paired(np.repeat(hit, 8), np.repeat(other, 8))
    assert alone.p < 1e-3 < once.p  # what taking them for independent would say


def test_models_that_do_not_differ_are_told_apart_one_time_in_twenty() -> None:
    draw = np.random.default_rng(2)
    result = 0
    for _ in range(200):
        both = draw.random((2, 40, 1)) < 0.6  # a group is right or wrong nearly whole
        hit, other = np.where(draw.random((2, 40, 6)) < 0.1, ~both, both)
        result += sign_flips(hit.sum(axis=1) - other.sum(axis=1)) < 0.05
    assert 1 <= result <= 20
