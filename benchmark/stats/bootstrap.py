"""Bootstrap resamples of test clips, in which clips of one group, such as a speaker, stay together.

They are not independent observations: resampled one by one, intervals of accuracies come out half
as wide on sets with few instruments or speakers.
"""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np
from scipy.sparse import coo_array
from scipy.special import ndtr, stdtrit

CONFIDENCE = 0.95
FEW_GROUPS = 20
"""With fewer groups, an interval is rough, and a note says so."""
CHUNK_VALUES = 1 << 24
"""Counts held at a time while drawing: 128 MiB in double precision."""


def bootstrap_counts(
    categories: np.ndarray,
    n_categories: int,
    groups: np.ndarray | None,
    n_resamples: int,
    seed: int,
) -> Iterator[np.ndarray]:
    """Yield how many clips of each category every resample holds, some resamples at a time.

    Drawing n clips with replacement and counting their categories is one multinomial draw, so that
    it costs as much as there are categories, not clips. Where clips share groups, G of the G groups
    are drawn with replacement, each with all its clips.

    Shape:
        categories of the clips `[n]`, below `n_categories` K; groups of the clips `[n]`, of any
        type that sorts, None resamples clip by clip; counts of some resamples B at a time `[B, K]`.

    Example:
        >>> (counts,) = bootstrap_counts(np.array([0, 0, 1]), 2, None, 4, seed=0)
        >>> counts.sum(axis=1).tolist()
        [3, 3, 3, 3]
    """
    generator = np.random.default_rng(seed)
    if groups is None or len(np.unique(groups)) == len(categories):
        share = np.bincount(categories, minlength=n_categories) / len(categories)
        step = max(1, CHUNK_VALUES // (3 * n_categories))
        for start in range(0, n_resamples, step):
            size = min(step, n_resamples - start)
            yield generator.multinomial(len(categories), share, size=size)
        return
    names, member = np.unique(groups, return_inverse=True)
    ones = np.ones(len(categories), dtype=np.int64)
    by_group = coo_array((ones, (member, categories)), shape=(len(names), n_categories)).tocsr()
    step = max(1, CHUNK_VALUES // max(len(names), 3 * n_categories))
    if step >= n_resamples:
        yield _group_draws(len(names), n_resamples, seed) @ by_group
        return
    for start in range(0, n_resamples, step):
        size = min(step, n_resamples - start)
        yield generator.multinomial(len(names), _even(len(names)), size=size) @ by_group


@lru_cache(maxsize=8)
def _group_draws(n_groups: int, n_resamples: int, seed: int) -> np.ndarray:
    """Return how often each group is in each resample; cached, as a report repeats the same draws.

    Shape:
        [n_resamples, n_groups].
    """
    draws = np.random.default_rng(seed).multinomial(n_groups, _even(n_groups), size=n_resamples)
    return draws.astype(np.int32)


def _even(n_groups: int) -> np.ndarray:
    return np.full(n_groups, 1 / n_groups)


def bootstrap_interval(
    resampled: np.ndarray, n_groups: int, center: float | None = None
) -> tuple[float, float]:
    """Return the ends of a 95 % interval from bootstrap resamples; NaN ones are left out.

    Percentiles alone are too narrow by a factor of sqrt((G - 1) / G) times that of a normal to a t
    quantile, which is a sixth at 10 groups: they are taken further out, at the normal's
    probability of sqrt(G / (G - 1)) times the t quantile (T. Hesterberg, "What teachers should know
    about the bootstrap", 2015, section 5.3).

    Args:
        resampled: the statistic of every resample `[B]`.
        n_groups: clips or groups G that were resampled, 2 or more.
        center: the statistic of the sample, to which the resamples' mean is moved; None leaves them
            where they are. Resamples lose rare classes and hold clips twice, which moves means over
            classes and rankings, but hardly their spread.

    Example:
        >>> low, high = bootstrap_interval(np.linspace(0, 1, 1001), 1000)
        >>> round(low, 3), round(high, 3)
        (0.025, 0.975)
    """
    n = max(n_groups, 2)
    tail = float(ndtr(stdtrit(n - 1, (1 - CONFIDENCE) / 2) * np.sqrt(n / (n - 1))))
    low, high = np.nanpercentile(resampled, [100 * tail, 100 * (1 - tail)])
    shift = 0.0 if center is None else center - np.nanmean(resampled)
    return float(low + shift), float(high + shift)
