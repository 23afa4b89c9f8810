"""Metrics for several labels per clip, as in heareval: mAP, AUC, d' and the top label.

mAP is the mean over labels of the average precision, AUC the mean area under the ROC curve, d' the
mean of sqrt(2) times the normal quantile of each label's area (heareval 2021.1.3, score.py). Clips
carry weights, so that one pass over the sorted scores serves all resamples of a bootstrap.
"""

import numpy as np
from scipy.special import ndtri

from benchmark.stats.bootstrap import bootstrap_counts
from benchmark.stats.metrics import RESAMPLES

MEASURES = ("mAP", "d_prime", "aucroc", "top1_acc")
"""By heareval's names."""
CHUNK_VALUES = 1 << 20
"""Weights of clips held at a time while resampling: 4 MiB, which stay in the processor's cache."""


def ranking(scores: np.ndarray, targets: np.ndarray, weights: np.ndarray) -> dict[str, np.ndarray]:
    """Return all measures, as fractions; d' as it is, infinite where a label is perfect.

    A label without a positive clip has the average precision 0, as in heareval, and makes AUC and
    d' NaN. One whose positive clips all have the weight 0 is left out of the mean.

    Args:
        scores: `[n, K]`, higher where a label is likelier; clips of one score are one threshold.
        targets: whether a clip has a label, `[n, K]`.
        weights: how often each clip counts in B resamples, whole numbers in float32 `[n, B]`.

    Raises:
        ValueError: shapes differ, or there is no clip.
    """
    if not len(scores) or scores.shape != targets.shape or len(weights) != len(scores):
        raise ValueError(f"{scores.shape} scores, {targets.shape} targets, {len(weights)} weights")
    precision, area = (np.zeros((scores.shape[1], weights.shape[1])) for _ in range(2))
    for label in range(scores.shape[1]):
        precision[label], area[label] = _of_label(scores[:, label], targets[:, label], weights)
    right = scores.argmax(axis=1) == targets.argmax(axis=1)
    both = bool((targets.any(axis=0) & ~targets.all(axis=0)).all())

    def mean(values: np.ndarray) -> np.ndarray:  # without labels that only a resample lost
        return np.nanmean(values, axis=0) if both else np.full(values.shape[1], np.nan)

    return {
        "mAP": np.nanmean(precision, axis=0),
        "d_prime": mean(np.sqrt(2.0) * ndtri(area)),
        "aucroc": mean(area),
        "top1_acc": weights[right].sum(axis=0) / weights.sum(axis=0),
    }


def bootstrap(
    scores: np.ndarray, targets: np.ndarray, groups: np.ndarray | None, seed: int
) -> dict[str, np.ndarray]:
    """Return all measures of `RESAMPLES` resamples of the clips; see `ranking`."""
    count = len(scores)
    step = max(1, CHUNK_VALUES // count)
    drawn = []
    for times in bootstrap_counts(np.arange(count), count, groups, RESAMPLES, seed):
        for start in range(0, len(times), step):
            weights = times[start : start + step].T.astype(np.float32)
            drawn.append(ranking(scores, targets, weights))
    return {name: np.concatenate([part[name] for part in drawn]) for name in MEASURES}


def interval(name: str, value: float, drawn: np.ndarray) -> tuple[float, float] | None:
    """Return the ends of a measure's 95 % interval; None where no draw is finite.

    Draws are moved so that their mean is the value. A clip drawn twice ties with itself, and the
    mAP of rare labels runs high in them: synthetic data of FSD50K's size had 0.285, and 0.286 to
    0.298 in the middle 95 % of its draws. One that separates a label perfectly has an infinite d'.
    """
    drawn = drawn[np.isfinite(drawn)]
    if not len(drawn):
        return None
    ends = np.percentile(drawn - drawn.mean() + value, [2.5, 97.5])
    low, high = (ends if name == "d_prime" else ends.clip(0.0, 1.0)).tolist()
    return low, high


def _of_label(
    scores: np.ndarray, targets: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return average precision and ROC area of one label, NaN where a resample has one side only.

    Both are sums over the thresholds at which a positive clip is reached, so the clips between two
    of those are summed at once.
    """
    order = np.argsort(-scores, kind="stable")
    ranked, positive = scores[order], targets[order].astype(bool)
    if not positive.any():
        return np.zeros(weights.shape[1]), np.full(weights.shape[1], np.nan)
    starts = np.flatnonzero(np.r_[True, ranked[1:] != ranked[:-1]])
    ends = np.r_[starts[1:], len(ranked)]
    threshold = np.searchsorted(starts, np.flatnonzero(positive), side="right") - 1
    groups = np.unique(threshold)
    starts, ends = starts[groups], ends[groups]
    cuts = np.unique(np.r_[0, starts, ends[ends < len(ranked)]])
    below = np.cumsum(np.add.reduceat(weights[order], cuts, axis=0), axis=0, dtype=np.float64)
    below = np.concatenate([np.zeros_like(below[:1]), below])
    edges = np.r_[cuts, len(ranked)]
    seen_before = below[np.searchsorted(edges, starts)]
    seen = below[np.searchsorted(edges, ends)]
    gained = np.zeros_like(seen)
    np.add.at(gained, np.searchsorted(groups, threshold), weights[order[positive]])
    hits = np.cumsum(gained, axis=0)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = (gained * hits / np.maximum(seen, 1)).sum(axis=0) / hits[-1]
        false_before = seen_before - (hits - gained)
        tied = (seen - seen_before) - gained
        false = below[-1] - hits[-1]
        area = 1 - (gained * (false_before + 0.5 * tied)).sum(axis=0) / (hits[-1] * false)
    return precision, area
