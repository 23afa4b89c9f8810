"""Bootstrap resamples of tested clips: clips of one group, such as a speaker's, stay together.

They are no independent observations: drawn one by one, the interval of an accuracy comes out half
as wide as it is on sets of few instruments or speakers.
"""

from collections.abc import Iterator

import numpy as np

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

    Args:
        categories: of each clip, below `n_categories`.
        n_categories: K, 1 or more.
        groups: of each clip, of any type that sorts; None resamples clip by clip.
        n_resamples: number of resamples.
        seed: of the drawing.

    Shape:
        categories and groups `[n]`; yields `[B, K]`, B adding up to `n_resamples`.

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
    even = np.full(len(names), 1 / len(names))
    order = np.argsort(categories, kind="stable")
    present, first = np.unique(categories[order], return_index=True)
    step = max(1, CHUNK_VALUES // max(len(categories), 3 * n_categories))
    for start in range(0, n_resamples, step):
        times = generator.multinomial(len(names), even, size=min(step, n_resamples - start))
        counts = np.zeros((len(times), n_categories), dtype=np.int64)
        counts[:, present] = np.add.reduceat(times[:, member[order]], first, axis=1)
        yield counts
