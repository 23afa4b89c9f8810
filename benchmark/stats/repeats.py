"""What a score owes to the seed: its mean and deviation over runs that differ in nothing else."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmark.stats.metrics import confusion_matrix, rates


def over_seeds(labels: np.ndarray, runs: Sequence[np.ndarray], n_classes: int) -> dict[str, Any]:
    """Return count, and mean, deviation and values of accuracy and F1, in percent.

    The deviation is that of a sample: its squares are divided by the number of runs less one.

    Args:
        labels: true class numbers.
        runs: class numbers given by each seed, two or more runs.
        n_classes: number of classes K.

    Shape:
        labels and each run `[n]`.
    """
    values: dict[str, list[float]] = {"accuracy": [], "f1": []}
    for predicted in runs:
        counts = confusion_matrix(labels, predicted, n_classes)
        hits = np.diag(counts)
        f1 = rates(hits, counts.sum(axis=0), counts.sum(axis=1))["f1"]
        values["accuracy"].append(100.0 * float(hits.sum() / counts.sum()))
        values["f1"].append(100.0 * float(np.nanmean(f1)))
    return {"count": len(runs)} | {
        metric: {
            "mean": float(np.mean(found)),
            "deviation": float(np.std(found, ddof=1)),
            "values": found,
        }
        for metric, found in values.items()
    }


def mean_told(seeds: dict[str, Any], metric: str) -> str:
    """Return the mean and deviation of a metric over seeds as text; "" where it has none."""
    if metric not in seeds:
        return ""
    return f"{seeds[metric]['mean']:.1f} ± {seeds[metric]['deviation']:.1f}"
