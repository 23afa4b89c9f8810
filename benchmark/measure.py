"""From the embeddings of a task to its result under one protocol."""

import dataclasses
import datetime
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.embed import EmbeddedTask
from benchmark.metrics import RESAMPLES, Interval, score
from benchmark.outcome import Outcome
from benchmark.protocols import Protocol
from benchmark.provenance import git_revision, machine, package_versions
from benchmark.records import Task
from benchmark.results import Result
from benchmark.splits import Fold, make_folds

SEED = 0
"""Of the bootstrap, and of the first run of a protocol that draws at random."""


@dataclass(frozen=True)
class Probed:
    """A protocol run on the embeddings of a task.

    Attributes:
        protocol: that was run.
        folds: of the task.
        outcome: what it found, with the heads it trained.
        seconds: time it took.
    """

    protocol: Protocol
    folds: list[Fold]
    outcome: Outcome
    seconds: float


def probe(task: Task, embedded: EmbeddedTask, protocol: Protocol, *, device: str = "cpu") -> Probed:
    """Run a protocol on the embeddings of a task.

    Args:
        task: whose classes the labels count.
        embedded: what the model made of its clips.
        protocol: to run.
        device: torch device that trains the heads.

    Raises:
        SplitError: the clips do not make the task's split.
        ProbeError: nothing can be trained on a fold.
    """
    folds = make_folds(task.split_policy, embedded.splits, embedded.groups)
    start = time.monotonic()
    outcome = protocol.evaluate(
        embedded.embeddings, embedded.labels, folds, len(task.classes), device=device, seed=SEED
    )
    return Probed(protocol, folds, outcome, time.monotonic() - start)


def measure(
    task: Task,
    embedded: EmbeddedTask,
    model: str,
    probed: Probed,
    *,
    n_listed: int,
    partial: str | None = None,
    notes: Sequence[str] = (),
    untrained: bool = False,
    device: str = "cpu",
) -> Result:
    """Return the result of a protocol on a task.

    Args:
        task: whose classes the labels count.
        embedded: what the model made of its clips.
        model: as it was asked for.
        probed: what the protocol found on them.
        n_listed: clips the task listed, usable or not.
        partial: what the data lacks of the official set.
        notes: what a reader of the score must know.
        untrained: whether the model's weights are untrained.
        device: torch device that trained the heads.
    """
    found = probed.outcome
    labels = embedded.labels[found.rows]
    scores = score(labels, found.predicted, len(task.classes), seed=SEED)
    by_fold = _by_fold(probed, embedded.labels, len(task.classes))
    accuracies = [fold["metrics"]["accuracy"]["value"] for fold in by_fold]
    notes = list(notes)
    if not found.converged:
        notes.append(f"{task.name}, {model}: a probe did not reach its tolerance")
    return Result(
        task=task.name,
        model=model,
        protocol=probed.protocol.version,
        n_clips=len(found.rows),
        n_listed=n_listed,
        classes=list(task.classes),
        metrics=_plain(scores.overall),
        by_class={task.classes[number]: _plain(x) for number, x in scores.by_class.items()},
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
        provenance=_provenance(embedded, probed, device),
    )


def _provenance(embedded: EmbeddedTask, probed: Probed, device: str) -> dict[str, Any]:
    """Return where the numbers come from."""
    return {
        "git_revision": git_revision(),
        "packages": package_versions(),
        "weights_hash": embedded.weights_hash,
        "data_hash": embedded.data_hash,
        "precision": embedded.precision,
        "protocol": probed.protocol.version,
        "seeds": {"bootstrap": SEED} | ({"protocol": SEED} if probed.protocol.random else {}),
        "resamples": RESAMPLES,
        "embedding_size": int(embedded.embeddings.shape[1]),
        "encoder_calls": embedded.encoder_calls,
        "embed_seconds": embedded.seconds,
        "clips_per_second": embedded.clips_per_second,
        "cost": dataclasses.asdict(embedded.cost),
        "probe_seconds": probed.seconds,
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(device),
    }


def _by_fold(probed: Probed, labels: np.ndarray, n_classes: int) -> list[dict[str, Any]]:
    """Return name, sizes, metrics, chosen setting and validation curve of each fold."""
    found, setting = probed.outcome, probed.protocol.setting
    listed = []
    for fold, choice in zip(probed.folds, found.choices, strict=True):
        predicted = found.predicted[np.searchsorted(found.rows, fold.test)]
        scores = score(labels[fold.test], predicted, n_classes, seed=SEED)
        listed.append(
            {
                "name": fold.name,
                "n_train": len(fold.train),
                "n_valid": len(fold.valid),
                "n_test": len(fold.test),
                "metrics": _plain(scores.overall),
                setting: choice.value,
                "validation": [{setting: value, "accuracy": a} for value, a in choice.curve],
            }
        )
    return listed


def _plain(intervals: dict[str, Interval]) -> dict[str, dict[str, float]]:
    """Return intervals as plain numbers."""
    return {name: dataclasses.asdict(interval) for name, interval in intervals.items()}
