"""From the embeddings of a task to its result under the protocol "linear-1"."""

import dataclasses
import datetime
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmark.embed import EmbeddedTask
from benchmark.linear import PROTOCOL, Outcome, evaluate
from benchmark.metrics import RESAMPLES, Interval, score
from benchmark.provenance import git_revision, machine, package_versions
from benchmark.records import Task
from benchmark.results import Result
from benchmark.splits import Fold, make_folds

SEED = 0
"""Of the bootstrap, the only thing here that is drawn at random."""


def measure(
    task: Task,
    embedded: EmbeddedTask,
    model: str,
    *,
    n_listed: int,
    partial: str | None = None,
    notes: Sequence[str] = (),
    untrained: bool = False,
    device: str = "cpu",
) -> Result:
    """Probe the embeddings of a task and return the result.

    Args:
        task: whose classes the labels count.
        embedded: what the model made of its clips.
        model: as it was asked for.
        n_listed: clips the task listed, usable or not.
        partial: what the data lacks of the official set.
        notes: what a reader of the score must know.
        untrained: whether the model's weights are untrained.
        device: torch device that trains the probe.

    Raises:
        SplitError: the clips do not make the task's split.
        ProbeError: no probe can be trained on a fold.
    """
    folds = make_folds(task.split_policy, embedded.splits, embedded.groups)
    start = time.monotonic()
    classes = len(task.classes)
    found = evaluate(embedded.embeddings, embedded.labels, folds, classes, device=device)
    seconds = time.monotonic() - start
    labels = embedded.labels[found.rows]
    scores = score(labels, found.predicted, classes, seed=SEED)
    by_class = {
        task.classes[number]: {name: dataclasses.asdict(x) for name, x in values.items()}
        for number, values in scores.by_class.items()
    }
    by_fold = _by_fold(folds, found, embedded.labels, classes)
    accuracies = [fold["metrics"]["accuracy"]["value"] for fold in by_fold]
    notes = list(notes)
    if not found.converged:
        notes.append(f"{task.name}, {model}: a probe did not reach its tolerance")
    return Result(
        task=task.name,
        model=model,
        protocol=PROTOCOL,
        n_clips=len(found.rows),
        n_listed=n_listed,
        classes=list(task.classes),
        metrics=_plain(scores.overall),
        by_class=by_class,
        fold_mean={"accuracy": float(np.mean(accuracies)), "deviation": float(np.std(accuracies))},
        folds=by_fold,
        predictions={
            "clip": embedded.clip_ids[found.rows].tolist(),
            "label": labels.tolist(),
            "predicted": found.predicted.tolist(),
        },
        bad_clips=[{"clip": clip, "reason": why} for clip, why in embedded.errors],
        untrained=untrained,
        partial=partial,
        notes=notes,
        provenance={
            "git_revision": git_revision(),
            "packages": package_versions(),
            "weights_hash": embedded.weights_hash,
            "data_hash": embedded.data_hash,
            "protocol": PROTOCOL,
            "seeds": {"bootstrap": SEED},
            "resamples": RESAMPLES,
            "embedding_size": int(embedded.embeddings.shape[1]),
            "encoder_calls": embedded.encoder_calls,
            "embed_seconds": embedded.seconds,
            "clips_per_second": embedded.clips_per_second,
            "probe_seconds": seconds,
            "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "machine": machine(device),
        },
    )


def _by_fold(
    folds: Sequence[Fold], found: Outcome, labels: np.ndarray, n_classes: int
) -> list[dict[str, Any]]:
    """Return name, sizes, metrics, strength and validation curve of each fold."""
    listed = []
    for fold, choice in zip(folds, found.choices, strict=True):
        predicted = found.predicted[np.searchsorted(found.rows, fold.test)]
        scores = score(labels[fold.test], predicted, n_classes, seed=SEED)
        listed.append(
            {
                "name": fold.name,
                "n_train": len(fold.train),
                "n_valid": len(fold.valid),
                "n_test": len(fold.test),
                "metrics": _plain(scores.overall),
                "strength": choice.strength,
                "validation": [{"strength": c, "accuracy": a} for c, a in choice.curve],
            }
        )
    return listed


def _plain(intervals: dict[str, Interval]) -> dict[str, dict[str, float]]:
    """Return intervals as plain numbers."""
    return {name: dataclasses.asdict(interval) for name, interval in intervals.items()}
