"""Two models on the same clips: exact tests of their difference, and its bootstrap resamples."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import bdtr

from benchmark.stats.bootstrap import bootstrap_counts, bootstrap_interval

RESAMPLES = 10_000


@dataclass(frozen=True)
class Paired:
    """Two models, A and B, on the same clips: accuracies in percent, and their difference A - B."""

    n_clips: int  #: that both were tested on
    left: float  #: accuracy of A on them
    right: float  #: accuracy of B on them
    p: float  #: exact two-sided p of the difference, see `sign_flips`
    resampled: np.ndarray  #: differences in accuracy of bootstrap resamples
    n_groups: int  #: groups that were resampled

    def difference(self) -> dict[str, float]:
        """Return the difference: `value`, and `low` and `high` of its 95 % interval."""
        return mean_difference([self])


def paired(
    correct_a: np.ndarray, correct_b: np.ndarray, groups: np.ndarray | None = None, *, seed: int = 0
) -> Paired:
    """Compare two models on the same clips, of which those of one group are resampled together.

    Shape:
        whether A and B are right, bool `[n]`; groups `[n]`, None where each clip is one of its own.
    """
    difference = correct_a.astype(np.int64) - correct_b
    members = np.arange(len(difference))
    if groups is not None:
        _, members = np.unique(groups, return_inverse=True)
    by_group = np.round(np.bincount(members, difference)).astype(np.int64)
    counts = np.concatenate(list(bootstrap_counts(difference + 1, 3, groups, RESAMPLES, seed)))
    resampled = 100.0 * (counts[:, 2] - counts[:, 0]) / counts.sum(axis=1)
    left, right = (100.0 * float(correct.mean()) for correct in (correct_a, correct_b))
    return Paired(len(members), left, right, sign_flips(by_group), resampled, len(by_group))


def mean_difference(pairs: Sequence[Paired]) -> dict[str, float]:
    """Return the mean over tasks and its interval: tasks fixed, their clips resampled."""
    value = float(np.mean([pair.left - pair.right for pair in pairs]))
    resampled = np.mean([pair.resampled for pair in pairs], axis=0)
    low, high = bootstrap_interval(resampled, sum(pair.n_groups for pair in pairs))
    return {"value": value, "low": low, "high": high}


def sign_flips(differences: np.ndarray) -> float:
    """Return the exact two-sided p of differences by group, were each as likely to be its negative.

    Where every clip is a group of its own it is McNemar's exact test.

    Args:
        differences: in each group, clips that A has right less those that B has, int64 `[G]`.

    Example:
        >>> sign_flips(np.array([1, 1, 1, 1, 1, 1]))
        0.03125
    """
    if np.abs(differences).max(initial=0) <= 1:
        return mcnemar(int((differences > 0).sum()), int((differences < 0).sum()))
    probability = np.ones(1)  # of each sum of the groups so far, from lowest to highest, in twos
    for size in np.abs(differences[differences != 0]).tolist():
        probability = 0.5 * (np.pad(probability, (size, 0)) + np.pad(probability, (0, size)))
    sums = 2 * np.arange(len(probability)) - np.abs(differences).sum()
    extreme = np.abs(sums) >= abs(int(differences.sum()))
    return min(1.0, float(probability[extreme].sum()))


def mcnemar(only_a: int, only_b: int) -> float:
    """Return McNemar's exact two-sided p: that of a fair coin as uneven as this or more."""
    return min(1.0, 2.0 * float(bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def holm(values: Sequence[float]) -> list[float]:
    """Return p values corrected for their number by Holm's step-down method.

    Example:
        >>> holm([0.5, 0.01])
        [0.5, 0.02]
    """
    p = np.asarray(values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    steps = np.minimum(1.0, p[order] * np.arange(len(p), 0, -1))
    corrected = np.empty_like(p)
    corrected[order] = np.maximum.accumulate(steps)
    return [float(value) for value in corrected]
