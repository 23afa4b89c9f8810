"""From the embeddings of a task to its result under one protocol."""

import dataclasses
import datetime
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.data.clip import Task
from benchmark.data.split import Fold, make_folds
from benchmark.embed.embed import EmbeddedTask
from benchmark.probes.protocols import Protocol
from benchmark.probes.rows import ProbeResult
from benchmark.report.embedding_map import embedding_map
from benchmark.results.provenance import git_revision, machine, package_versions
from benchmark.results.schema import Result
from benchmark.stats.metrics import RESAMPLES, Interval, over_seeds, score

SEED = 0
"""Of the bootstrap, of the map's rows, and of the first run of a protocol that draws at random."""


@dataclass(frozen=True)
class Probed:
    """A protocol run on the embeddings of a task.

    Attributes:
        protocol: that was run.
        folds: of the task.
        outcome: what it found with the first seed, with the heads it trained.
        repeats: the classes given to the rows tested with each seed, the first among them.
        seconds: time that all took.
    """

    protocol: Protocol
    folds: list[Fold]
    outcome: ProbeResult
    repeats: tuple[np.ndarray, ...]
    seconds: float


def probe(
    task: Task, embedded: EmbeddedTask, protocol: Protocol, *, device: str = "cpu", seeds: int = 1
) -> Probed:
    """Run a protocol on the embeddings of a task; one that draws nothing at random runs once.

    Args:
        task: whose classes the labels count.
        embedded: what the model made of its clips.
        protocol: to run.
        device: torch device that trains the heads.
        seeds: runs of a protocol that draws at random, 1 or more.

    Raises:
        SplitError: the clips do not make the task's split.
        ProbeError: nothing can be trained on a fold.
    """
    folds = make_folds(task.split_policy, embedded.splits, embedded.groups)
    start = time.monotonic()
    given = (embedded.embeddings, embedded.labels, folds, len(task.classes))

    def run(seed: int) -> ProbeResult:
        return protocol.evaluate(*given, device=device, seed=seed)

    outcome = run(SEED)
    repeats = [outcome.predicted]
    # Of the other seeds only the classes are kept: their heads may be gigabytes.
    repeats += [run(SEED + i).predicted for i in range(1, seeds if protocol.random else 1)]
    return Probed(protocol, folds, outcome, tuple(repeats), time.monotonic() - start)


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
    groups = embedded.groups[found.rows]
    scores = score(labels, found.predicted, len(task.classes), groups, seed=SEED)
    by_fold = _by_fold(probed, embedded, len(task.classes))
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
            **({"group": groups.tolist()} if len(set(groups.tolist())) < len(groups) else {}),
        },
        bad_clips=[{"clip": clip, "reason": why} for clip, why in embedded.errors],
        untrained=untrained,
        partial=partial,
        notes=notes,
        provenance=_provenance(embedded, probed, device),
        seeds=over_seeds(labels, probed.repeats, len(task.classes)) if probed.repeats[1:] else None,
        map=embedding_map(embedded.embeddings, embedded.labels, seed=SEED),
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
        "seeds": {"bootstrap": SEED, "map": SEED} | _drawn(probed),
        "resamples": RESAMPLES,
        "embedding_size": int(embedded.embeddings.shape[1]),
        "encoder_calls": embedded.encoder_calls,
        "embed_seconds": embedded.seconds,
        "clips_per_second": embedded.clips_per_second,
        "cost": dataclasses.asdict(embedded.cost),
        "probe_seconds": probed.seconds,
        "settings": probed.outcome.settings,
        "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(device),
    }


def _drawn(probed: Probed) -> dict[str, list[int]]:
    """Return the seeds of a protocol that draws at random."""
    if not probed.protocol.random:
        return {}
    return {"protocol": list(range(SEED, SEED + len(probed.repeats)))}


def _by_fold(probed: Probed, embedded: EmbeddedTask, n_classes: int) -> list[dict[str, Any]]:
    """Return name, sizes, metrics, chosen setting and validation curve of each fold."""
    found, setting = probed.outcome, probed.protocol.setting
    listed = []
    for fold, selection in zip(probed.folds, found.selections, strict=True):
        predicted = found.predicted[np.searchsorted(found.rows, fold.test)]
        labels, groups = embedded.labels[fold.test], embedded.groups[fold.test]
        scores = score(labels, predicted, n_classes, groups, seed=SEED)
        listed.append(
            {
                "name": fold.name,
                "n_train": len(fold.train),
                "n_valid": len(fold.valid),
                "n_test": len(fold.test),
                "metrics": _plain(scores.overall),
                setting: selection.value,
                "validation": [{setting: value, "accuracy": a} for value, a in selection.curve],
                **selection.details,
            }
        )
    return listed


def _plain(intervals: dict[str, Interval]) -> dict[str, dict[str, float]]:
    """Return intervals as plain numbers."""
    return {name: dataclasses.asdict(interval) for name, interval in intervals.items()}
