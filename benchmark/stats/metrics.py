"""Accuracy, precision, recall and F1 of predicted classes, with bootstrap intervals over clips."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.stats.bootstrap import CONFIDENCE, bootstrap_counts, bootstrap_interval

RESAMPLES = 2000
Intervals = dict[str, dict[str, float]]
"""By metric its `value` in percent, and `low` and `high` of its 95 % bootstrap interval."""


@dataclass(frozen=True)
class Scores:
    """The metrics of predictions."""

    #: accuracy, precision, recall and f1; the last three are means over the classes that have clips
    overall: Intervals
    by_class: dict[int, Intervals]  #: the last three of every class that has clips, by its index


def confusion_matrix(labels: np.ndarray, predicted: np.ndarray, n_classes: int) -> np.ndarray:
    """Return how many clips of each true class (row) got each class (column), int64 `[K, K]`.

    Raises:
        ValueError: there are no clips, lengths differ, or a class index is out of range.
    """
    if not len(labels) or labels.shape != predicted.shape:
        raise ValueError(
            f"{labels.shape} labels and {predicted.shape} predictions: need as many, at least one"
        )
    for name, numbers in (("label", labels), ("prediction", predicted)):
        if numbers.min() < 0 or numbers.max() >= n_classes:
            raise ValueError(
                f"a {name} is outside the {n_classes} classes: {numbers.min()} to {numbers.max()}"
            )
    cells = np.bincount(labels * n_classes + predicted, minlength=n_classes**2)
    return cells.reshape(n_classes, n_classes)


def score(
    labels: np.ndarray,
    predicted: np.ndarray,
    n_classes: int,
    groups: np.ndarray | None = None,
    *,
    seed: int = 0,
) -> Scores:
    """Return all metrics with 95 % bootstrap intervals over clips, those of one group together.

    A metric of 0 or 100 % has the exact interval of Clopper and Pearson (1934) instead, of as many
    trials as there are groups: of a class's true clips for its recall, of those predicted as it for
    its precision. F1 is 2 J / (1 + J) of the share J that is right of the clips that are either, so
    its ends are those of J.

    Shape:
        true and predicted class indices `[n]`, below `n_classes`; groups, such as the speaker of
        each clip, `[n]`, None where each clip is one of its own.

    Raises:
        ValueError: see `confusion_matrix`.
    """
    confusion = confusion_matrix(labels, predicted, n_classes)
    row, column = np.nonzero(confusion)
    present = np.unique(row)
    counts = confusion[row, column]
    point, point_classes = _metrics(counts[None], row, column, n_classes)
    cell = np.searchsorted(row * n_classes + column, labels * n_classes + predicted)
    resamples = bootstrap_counts(cell, len(counts), groups, RESAMPLES, seed)
    drawn = [_metrics(resample, row, column, n_classes) for resample in resamples]
    members = np.arange(len(labels)) if groups is None else groups
    n_groups = len(np.unique(members))
    overall: Intervals = {}
    for name, value in point.items():
        resampled = np.concatenate([part[name] for part, _ in drawn])
        overall[name] = _interval(name, value[0], resampled, n_groups, n_groups)
    by_class: dict[int, Intervals] = {int(number): {} for number in present}
    for name, value in point_classes.items():
        resampled = np.concatenate([part[name][:, present] for _, part in drawn])
        for i, number in enumerate(by_class):
            true, guessed = labels == number, predicted == number
            clips = {"recall": true, "precision": guessed, "f1": true | guessed}[name]
            trials = len(np.unique(members[clips]))
            by_class[number][name] = _interval(
                name, value[0, number], resampled[:, i], n_groups, trials
            )
    return Scores(overall, by_class)


def _metrics(
    counts: np.ndarray, row: np.ndarray, column: np.ndarray, n_classes: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return overall metrics `[B]` and metrics by class `[B, K]` of counts `[B, cells]`.

    A class that is never predicted has precision 0: without hits, any divisor gives 0. A class
    without clips has no recall and no F1, and is left out: NaN.
    """
    true, guessed, hits = (np.zeros((len(counts), n_classes)) for _ in range(3))
    for cell, (actual, guess) in enumerate(zip(row, column, strict=True)):
        true[:, actual] += counts[:, cell]
        guessed[:, guess] += counts[:, cell]
        if actual == guess:
            hits[:, actual] += counts[:, cell]
    shares = {
        "precision": (hits, guessed),
        "recall": (hits, true),
        "f1": (2 * hits, guessed + true),
    }
    by_class = {
        name: np.where(true > 0, part / np.maximum(whole, 1), np.nan)
        for name, (part, whole) in shares.items()
    }
    overall = {"accuracy": hits.sum(axis=1) / true.sum(axis=1)}
    overall |= {name: np.nanmean(value, axis=1) for name, value in by_class.items()}
    return overall, by_class


def _interval(
    name: str, value: float, resampled: np.ndarray, n_groups: int, trials: int
) -> dict[str, float]:
    """Return a metric in percent with its interval; see `score` for 0 and 100 %."""
    if value in (0, 1):
        reach = 1 - ((1 - CONFIDENCE) / 2) ** (1 / trials) if trials else 1.0
        ends = np.array([0, reach] if value == 0 else [1 - reach, 1])
        low, high = 2 * ends / (1 + ends) if name == "f1" else ends
    elif n_groups < 2:
        low, high = 0.0, 1.0  # one group says nothing about others
    else:
        # Resamples that lose a class, or its predictions, move these two; coverage was 85 %.
        center = value if name in ("precision", "f1") else None
        low, high = np.clip(bootstrap_interval(resampled, n_groups, center), 0, 1)
    return {"value": 100.0 * float(value), "low": 100.0 * float(low), "high": 100.0 * float(high)}


def over_seeds(labels: np.ndarray, runs: Sequence[np.ndarray], n_classes: int) -> dict[str, Any]:
    """Return count, and mean, deviation and values of accuracy and F1 over seeds, in percent.

    The deviation is that of a sample: its squares are divided by the number of runs less one.

    Shape:
        labels, and the classes predicted in each of two or more runs: int64 `[n]`.
    """
    values: dict[str, list[float]] = {"accuracy": [], "f1": []}
    for predicted in runs:
        confusion = confusion_matrix(labels, predicted, n_classes)
        row, column = np.nonzero(confusion)
        overall, _ = _metrics(confusion[row, column][None], row, column, n_classes)
        for metric, of_runs in values.items():
            of_runs.append(100.0 * float(overall[metric][0]))
    return {"count": len(runs)} | {
        metric: {"mean": float(np.mean(x)), "deviation": float(np.std(x, ddof=1)), "values": x}
        for metric, x in values.items()
    }
