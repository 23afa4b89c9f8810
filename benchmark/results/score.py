"""From the embeddings of a task to its result under a protocol that predicts one class per clip."""

import dataclasses
import datetime
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data.clip import Task
from benchmark.data.hear_catalogue import known_name
from benchmark.data.registry import TaskClips
from benchmark.data.split import make_folds
from benchmark.embed.embed import EmbeddedTask
from benchmark.embed.embedder import Embedded
from benchmark.probes import protocols
from benchmark.probes.rows import Examples, ProbeError, ProbeResult
from benchmark.results.schema import Result
from benchmark.stats.bootstrap import FEW_GROUPS
from benchmark.stats.embedding_map import embedding_map
from benchmark.stats.metrics import RESAMPLES, Scores, over_seeds, score
from benchmark.stats.paired import paired
from wavebyol_hear.files.provenance import git_revision, machine, package_versions

SEED = 0
"""Seed of the bootstrap, of the rows of the map, and of the first run of a random protocol."""


@dataclass(frozen=True)
class Subject:
    """The embeddings of a task under one model, from which all protocols start."""

    source: TaskClips  #: the task
    model: str  #: `module` or `module:weights`, as it was asked for
    embedded: Embedded  #: of clips, or of frames for event tasks
    device: str = "cpu"  #: torch device that embeds and trains
    notes: list[str] = field(default_factory=list)  #: for readers of the scores
    untrained: bool = False  #: whether the model warned that its weights are untrained
    #: the test clips under each corruption, by its name
    corrupted: dict[str, EmbeddedTask] = field(default_factory=dict)
    #: working folder of heareval; None for tasks that are not HEAR's
    heareval_folder: Path | None = None

    def with_note(self, note: str) -> "Subject":
        """Return the subject with one more note."""
        return dataclasses.replace(self, notes=[*self.notes, note])

    def not_converged(self) -> "Subject":
        """Return the subject with the note that the fit of a probe did not converge."""
        where = f"{self.source.task.name}, {self.model}"
        return self.with_note(
            f"{where}: a probe reached its limit of iterations before it converged; its score may "
            "be slightly off"
        )

    def shared(
        self, protocol: str, seconds: float, provenance: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Return the fields that all results of the subject share.

        Args:
            protocol: name and version.
            seconds: that the protocol took after embedding.
            provenance: of the protocol, added to the shared one.
        """
        embedded = self.embedded
        origin = {
            "git_revision": git_revision(),
            "packages": package_versions(),
            "weights_hash": embedded.weights_hash,
            "data_hash": embedded.data_hash,
            "precision": embedded.precision,
            "protocol": protocol,
            "encoder_calls": embedded.encoder_calls,
            "embed_seconds": embedded.seconds,
            "clips_per_second": embedded.clips_per_second,
            "probe_seconds": seconds,
            "written": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            "machine": machine(self.device),
        }
        if self.source.task.labels_file:
            origin["labels_file"] = str(self.source.task.labels_file)
        if isinstance(embedded, EmbeddedTask):
            origin["embedding_size"] = int(embedded.embeddings.shape[1])
            origin["cost"] = dataclasses.asdict(embedded.cost)
            origin["embedding_run"] = embedded.provenance
        return {
            "task": self.source.task.name,
            "model": self.model,
            "protocol": protocol,
            "untrained": self.untrained,
            "notes": list(dict.fromkeys(self.notes)),
            "n_listed": len(self.source.clips),
            "partial": self.source.partial,
            "bad_clips": [{"clip": clip, "reason": why} for clip, why in embedded.errors],
            "provenance": origin | dict(provenance),
        }


@dataclass(frozen=True)
class Probed:
    """A protocol run on the embeddings of a task."""

    embedded: EmbeddedTask  #: the task's clips
    data: Examples  #: that the protocol read
    protocol: protocols.Protocol  #: that was run
    first: ProbeResult  #: of the first seed, with its trained classifiers
    #: predicted classes of the test rows with each seed, the first one included
    repeats: tuple[np.ndarray, ...]
    seconds: float  #: duration of all runs

    def score(self, rows: np.ndarray, predicted: np.ndarray) -> Scores:
        """Score the classes predicted for some rows."""
        labels, groups = self.embedded.labels[rows], self.embedded.groups[rows]
        return score(labels, predicted, self.data.n_classes, groups, seed=SEED)


def probe(
    task: Task,
    embedded: EmbeddedTask,
    protocol: protocols.Protocol,
    *,
    device: str = "cpu",
    seeds: int = 1,
) -> Probed:
    """Run a protocol on the embeddings of a task; one that draws nothing at random runs once.

    The heads are trained on the torch device; `seeds` is 1 or more.

    Raises:
        TaskDataError: the clips do not make the task's split.
        ProbeError: nothing can be trained on a fold.
    """
    folds = make_folds(task.split_policy, embedded.splits, embedded.groups)
    data = Examples(embedded.embeddings, embedded.labels, folds, len(task.classes))
    start = time.monotonic()

    def run(seed: int) -> ProbeResult:
        return protocol.evaluate(data, device=device, seed=seed)

    first = run(SEED)
    repeats = [first.predicted]
    # Of the other seeds only the predictions are kept: the classifiers may take gigabytes.
    repeats += [run(SEED + i).predicted for i in range(1, seeds if protocol.random else 1)]
    seconds = time.monotonic() - start
    return Probed(embedded, data, protocol, first, tuple(repeats), seconds)


def class_result(subject: Subject, probed: Probed) -> Result:
    """Return the result of a protocol on a subject, whose corrupted clips its heads score too."""
    task, embedded, first = subject.source.task, probed.embedded, probed.first
    labels, groups = embedded.labels[first.rows], embedded.groups[first.rows]
    scores = probed.score(first.rows, first.predicted)
    folds = [_fold(probed, number) for number in range(len(probed.data.folds))]
    accuracies = [fold["metrics"]["accuracy"]["value"] for fold in folds]
    count = len(np.unique(groups))
    if count < FEW_GROUPS:
        rough = f"intervals are rough: the clips make only {count} independent groups"
        subject = subject.with_note(f"{task.name}: {rough}")
    if not first.converged:
        subject = subject.not_converged()
    seeds: dict[str, Any] = {"bootstrap": SEED, "map": SEED}
    if probed.protocol.random:
        seeds["protocol"] = list(range(SEED, SEED + len(probed.repeats)))
    provenance = {
        "seeds": seeds,
        "resamples": RESAMPLES,
        "settings": first.settings,
    }
    predictions = {
        "clip": embedded.clip_ids[first.rows].tolist(),
        "label": labels.tolist(),
        "predicted": first.predicted.tolist(),
    }
    if len(set(groups.tolist())) < len(groups):
        predictions["group"] = groups.tolist()
    several = bool(probed.repeats[1:])
    return Result(
        **subject.shared(probed.protocol.version, probed.seconds, provenance),
        n_clips=len(first.rows),
        metrics=scores.overall,
        folds=folds,
        classes=list(task.classes),
        by_class={task.classes[i]: x for i, x in scores.by_class.items()},
        fold_mean={"accuracy": float(np.mean(accuracies)), "deviation": float(np.std(accuracies))},
        predictions=predictions,
        seeds=over_seeds(labels, probed.repeats, probed.data.n_classes) if several else None,
        map=embedding_map(embedded.embeddings, embedded.labels, seed=SEED),
        corrupted=rescore(probed, subject.corrupted),
    )


def _fold(probed: Probed, number: int) -> dict[str, Any]:
    """Return name, sizes, metrics, selected setting and validation curve of a fold."""
    fold, first, setting = probed.data.folds[number], probed.first, probed.protocol.setting
    selection = first.selections[number]
    predicted = first.predicted[np.searchsorted(first.rows, fold.test)]
    return {
        "name": fold.name,
        "n_train": len(fold.train),
        "n_valid": len(fold.valid),
        "n_test": len(fold.test),
        "metrics": probed.score(fold.test, predicted).overall,
        setting: selection.value,
        "validation": [{setting: value, "accuracy": a} for value, a in selection.curve],
        **selection.details,
    }


def rescore(probed: Probed, corrupted: Mapping[str, EmbeddedTask]) -> dict[str, dict[str, Any]]:
    """Score the classifiers on corrupted clips, each clip by that of the fold that tests it.

    They were trained and selected on clean clips; nothing is fitted here.

    Returns:
        by the corruption's name: number of clips, metrics with intervals, and the difference in
        accuracy to the same clips when clean, in points, with its paired interval and exact p.
    """
    results: dict[str, dict[str, Any]] = {}
    labels, groups = probed.embedded.labels, probed.embedded.groups
    clean = np.full(len(labels), -1, dtype=np.int64)
    clean[probed.first.rows] = probed.first.predicted
    for name, other in corrupted.items():
        predicted = _predict(probed, other)
        rows = np.flatnonzero(predicted >= 0)
        correct, clean_correct = predicted[rows] == labels[rows], clean[rows] == labels[rows]
        both = paired(correct, clean_correct, groups[rows], seed=SEED)
        results[name] = {
            "n_clips": len(rows),
            "metrics": probed.score(rows, predicted[rows]).overall,
            "difference": both.difference() | {"p": both.p},
        }
    return results


def _predict(probed: Probed, other: EmbeddedTask) -> np.ndarray:
    """Return the class predicted for each row's corrupted clip, -1 for none: int64 `[n]`."""
    index = {clip: row for row, clip in enumerate(other.clip_ids.tolist())}
    of_row = np.array([index.get(clip, -1) for clip in probed.embedded.clip_ids.tolist()])
    predicted = np.full(len(of_row), -1, dtype=np.int64)
    for number, fold in enumerate(probed.data.folds):
        rows = fold.test[of_row[fold.test] >= 0]
        predicted[rows] = probed.first.predict(number, other.embeddings[of_row[rows]])
    return predicted


def measure_result(
    subject: Subject,
    protocol: str,
    folds: Mapping[str, Mapping[str, float]],
    *,
    metric: str,
    seconds: float,
    chosen: Mapping[str, Mapping[str, Any]] | None = None,
    settings: Mapping[str, Any] | None = None,
) -> Result:
    """Return the result of a task in measures that are not shares of clips, as HEAR's are.

    Measures that are not finite on a fold, as d' is where one label is ranked without a mistake,
    are left out with a note. Measures and what was chosen are by the fold's name; settings are of
    all folds.

    Raises:
        ProbeError: `metric` is not finite.
    """
    task, hear = subject.source.task, subject.source.hear
    metrics = {}
    for name in next(iter(folds.values())):
        values = [fold[name] for fold in folds.values()]
        if np.isfinite(values).all():
            metrics[name] = {"value": float(np.mean(values))}
            if len(values) > 1:
                metrics[name]["deviation"] = float(np.std(values, ddof=1))
        elif name == metric:
            raise ProbeError(f"{task.name}: {metric} is not finite on the test clips")
        else:
            subject = subject.with_note(
                f"{task.name}: {name} is left out, because it is infinite or undefined"
            )
    provenance = {} if settings is None else {"settings": dict(settings)}
    return Result(
        **subject.shared(protocol, seconds, provenance),
        n_clips=hear.count if hear else len(subject.source.clips) - len(subject.embedded.errors),
        metrics=metrics,
        folds=[
            {"name": part, "metrics": {name: {"value": fold[name]} for name in metrics}}
            | dict((chosen or {}).get(part, {}))
            for part, fold in folds.items()
        ],
        metric=metric,
        unit="own",
        hear_task=known_name(hear.folder.name) if hear else None,
    )
