"""Two models on the same clips: exact tests of their difference, and its bootstrap draws."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.stats.draws import draws

RESAMPLES = 10_000


@dataclass(frozen=True)
class Paired:
    """What is right and wrong of two models on the same clips.

    Attributes:
        gained: clips that the first alone has right.
        lost: clips that the second alone has right.
        p: exact two-sided p of the difference, see `sign_flips`.
        resampled: differences in accuracy, first minus second, of bootstrap draws, in points.

    Shape:
        resampled `[RESAMPLES]`.
    """

    gained: int
    lost: int
    p: float
    resampled: np.ndarray


def paired(
    hit: np.ndarray, other_hit: np.ndarray, groups: np.ndarray | None = None, *, seed: int = 0
) -> Paired:
    """Compare what is right and wrong on the same clips.

    Args:
        hit: whether the first is right.
        other_hit: whether the second is.
        groups: of each clip; clips of one group stand and fall together. None: each by itself.
        seed: of the resampling.

    Shape:
        hit and other_hit bool `[n]`, groups `[n]`.
    """
    difference = hit.astype(np.int64) - other_hit
    members = np.arange(len(hit)) if groups is None else np.unique(groups, return_inverse=True)[1]
    by_group = np.round(np.bincount(members, difference)).astype(np.int64)
    drawn = np.concatenate(list(draws(difference + 1, 3, groups, RESAMPLES, seed)))
    resampled = 100.0 * (drawn[:, 2] - drawn[:, 0]) / drawn.sum(axis=1)
    gained, lost = int((difference > 0).sum()), int((difference < 0).sum())
    return Paired(gained, lost, sign_flips(by_group), resampled)


def sign_flips(differences: np.ndarray) -> float:
    """Return the exact two-sided p of differences by group, were each as likely to be its negative.

    Where every clip is a group of its own it is McNemar's exact test.

    Args:
        differences: in each group, clips that the first model has right less those that the second
            has.

    Shape:
        differences int64 `[G]`.
    """
    if np.abs(differences).max(initial=0) <= 1:
        return mcnemar(int((differences > 0).sum()), int((differences < 0).sum()))
    chances = np.ones(1)  # of each sum of the groups so far, from the least to the most, in twos
    for size in np.abs(differences[differences != 0]).tolist():
        chances = 0.5 * (np.pad(chances, (size, 0)) + np.pad(chances, (0, size)))
    least = np.abs(differences).sum()
    sums = 2 * np.arange(len(chances)) - least
    return min(1.0, float(chances[np.abs(sums) >= abs(int(differences.sum()))].sum()))


def mcnemar(only_left: int, only_right: int) -> float:
    """Return McNemar's exact two-sided p: that of a fair coin as uneven as this or more.

    Args:
        only_left: clips that the first model alone has right.
        only_right: clips that the second model alone has right.
    """
    flips, fewer = only_left + only_right, min(only_left, only_right)
    # Each term by its logarithm: binomial coefficients of 10,000 clips exceed a float's range.
    full = math.lgamma(flips + 1) - flips * math.log(2)
    tail = sum(
        math.exp(full - math.lgamma(heads + 1) - math.lgamma(flips - heads + 1))
        for heads in range(fewer + 1)
    )
    return min(1.0, 2.0 * tail)


def holm(values: Sequence[float]) -> list[float]:
    """Return p values corrected for their number by Holm's step-down method.

    Args:
        values: p of each test.
    """
    order = sorted(range(len(values)), key=lambda place: values[place])
    corrected, largest = [0.0] * len(values), 0.0
    for rank, place in enumerate(order):
        largest = max(largest, min(1.0, (len(values) - rank) * values[place]))
        corrected[place] = largest
    return corrected
