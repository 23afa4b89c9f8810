"""Bootstrap draws of tested clips: clips of one group, such as a speaker's, are drawn together.

They are no independent witnesses: drawn one by one, the interval of an accuracy comes out half as
wide as it is on sets of few instruments or speakers.
"""

from collections.abc import Iterator

import numpy as np

CHUNK_VALUES = 1 << 24
"""Counts held at a time while drawing: 128 MiB in double precision."""


def draws(
    kinds: np.ndarray, n_kinds: int, groups: np.ndarray | None, count: int, seed: int
) -> Iterator[np.ndarray]:
    """Yield how many clips of each kind every draw holds, some draws at a time.

    Drawing n clips with replacement and counting their kinds is one multinomial draw, so that it
    costs as much as there are kinds, not clips. Where clips share groups, G of the G groups are
    drawn with replacement, each with all its clips.

    Args:
        kinds: of each clip, a number below `n_kinds`.
        n_kinds: number of kinds K, 1 or more.
        groups: of each clip, of any type that sorts; None draws clip by clip.
        count: number of draws.
        seed: of the drawing.

    Shape:
        kinds and groups `[n]`; yields `[B, K]`, B adding up to `count`.
    """
    draw = np.random.default_rng(seed)
    if groups is None or len(np.unique(groups)) == len(kinds):
        share = np.bincount(kinds, minlength=n_kinds) / len(kinds)
        step = max(1, CHUNK_VALUES // (3 * n_kinds))
        for start in range(0, count, step):
            yield draw.multinomial(len(kinds), share, size=min(step, count - start))
        return
    names, member = np.unique(groups, return_inverse=True)
    even = np.full(len(names), 1 / len(names))
    order = np.argsort(kinds, kind="stable")
    present, first = np.unique(kinds[order], return_index=True)
    step = max(1, CHUNK_VALUES // max(len(kinds), 3 * n_kinds))
    for start in range(0, count, step):
        times = draw.multinomial(len(names), even, size=min(step, count - start))
        held = np.zeros((len(times), n_kinds), dtype=np.int64)
        held[:, present] = np.add.reduceat(times[:, member[order]], first, axis=1)
        yield held
