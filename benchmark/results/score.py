"""From the embeddings of a task to its result under a protocol that predicts one class per clip."""

import dataclasses
import datetime
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from benchmark.data.clip import Task
from benchmark.data.split import Fold, make_folds
from benchmark.embed.embed import EmbeddedTask
from benchmark.probes import protocols
from benchmark.probes.rows import ProbeError, ProbeResult
from benchmark.results.provenance import git_revision, machine, package_versions
from benchmark.results.schema import Result
from benchmark.stats.bootstrap import few_groups_note
from benchmark.stats.embedding_map import embedding_map
from benchmark.stats.metrics import RESAMPLES, Interval, over_seeds, score
from benchmark.stats.paired import paired

SEED = 0
"""Of the bootstrap, of the map's rows, and of the first run of a protocol that draws at random."""


class EmbedStats(Protocol):
    """What every set of embeddings says of how it was made."""

    @property
    def weights_hash(self) -> str: ...  # noqa: D102
    @property
    def data_hash(self) -> str: ...  # noqa: D102
    @property
    def precision(self) -> str: ...  # noqa: D102
    @property
    def encoder_calls(self) -> int: ...  # noqa: D102
    @property
    def seconds(self) -> float: ...  # noqa: D102
    @property
    def clips_per_second(self) -> float: ...  # noqa: D102


@dataclass(frozen=True)
class ScoreContext:
    """What every score of a model on a task says beside its numbers."""

    task: Task  #: that was embedded
    model: str  #: `module` or `module:weights`, as it was asked for
    n_listed: int  #: clips the task listed, usable or not
    device: str = "cpu"  #: torch device that embeds and trains
    partial: str | None = None  #: what the data lacks of the official set
    notes: list[str] = field(default_factory=list)  #: what a reader of the score must know
    untrained: bool = False  #: whether the model warned that its weights are untrained

    def provenance(self, embedded: EmbedStats, protocol: str, seconds: float) -> dict[str, Any]:
        """Return where a score comes from.

        Args:
            embedded: the embeddings it rests on.
            protocol: its version.
            seconds: that it took after embedding.
        """
        return {
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


@dataclass(frozen=True)
class Probed:
    """A protocol run on the embeddings of a task."""

    protocol: protocols.Protocol  #: that was run
    folds: list[Fold]  #: of the task
    first: ProbeResult  #: the result with the first seed, with the heads it trained
    #: the classes given to the rows tested with each seed, the first among them
    repeats: tuple[np.ndarray, ...]
    seconds: float  #: time that all took


def probe(
    task: Task,
    embedded: EmbeddedTask,
    protocol: protocols.Protocol,
    *,
    device: str = "cpu",
    seeds: int = 1,
) -> Probed:
    """Run a protocol on the embeddings of a task; one that draws nothing at random runs once.

    Args:
        task: whose classes the labels count.
        embedded: its clips under a model.
        protocol: to run.
        device: torch device that trains the heads.
        seeds: runs of a protocol that draws at random, 1 or more.

    Raises:
        SplitError: the clips do not make the task's split.
        ProbeError: nothing can be trained on a fold.
    """
    folds = make_folds(task.split_policy, embedded.splits, embedded.groups)
    start = time.monotonic()

    def run(seed: int) -> ProbeResult:
        return protocol.evaluate(
            embedded.embeddings,
            embedded.labels,
            folds,
            len(task.classes),
            device=device,
            seed=seed,
        )

    first = run(SEED)
    repeats = [first.predicted]
    # Of the other seeds only the classes are kept: their heads may be gigabytes.
    repeats += [run(SEED + i).predicted for i in range(1, seeds if protocol.random else 1)]
    return Probed(protocol, folds, first, tuple(repeats), time.monotonic() - start)


def class_result(
    context: ScoreContext,
    embedded: EmbeddedTask,
    probed: Probed,
    corrupted: Mapping[str, EmbeddedTask] | None = None,
) -> Result:
    """Return the result of a protocol on a task.

    Args:
        context: what the result says beside its numbers.
        embedded: the task's clips.
        probed: the protocol's run on them.
        corrupted: its test clips under corruptions, by name, on which the heads are scored too.
    """
    task, first = context.task, probed.first
    n_classes = len(task.classes)
    labels, groups = embedded.labels[first.rows], embedded.groups[first.rows]
    scores = score(labels, first.predicted, n_classes, groups, seed=SEED)
    folds = _folds(probed, embedded, n_classes)
    accuracies = [fold["metrics"]["accuracy"]["value"] for fold in folds]
    notes = list(context.notes)
    rough = few_groups_note(groups)
    if rough:
        notes.append(f"{task.name}: {rough}")
    if not first.converged:
        notes.append(f"{task.name}, {context.model}: a probe did not reach its tolerance")
    seeds = {"bootstrap": SEED, "map": SEED}
    drawn = list(range(SEED, SEED + len(probed.repeats)))
    return Result(
        task=task.name,
        model=context.model,
        protocol=probed.protocol.version,
        n_clips=len(first.rows),
        metrics=_plain(scores.overall),
        folds=folds,
        untrained=context.untrained,
        notes=notes,
        provenance=context.provenance(embedded, probed.protocol.version, probed.seconds)
        | {
            "seeds": seeds | ({"protocol": drawn} if probed.protocol.random else {}),
            "resamples": RESAMPLES,
            "embedding_size": int(embedded.embeddings.shape[1]),
            "cost": dataclasses.asdict(embedded.cost),
            "embedding_run": embedded.provenance,
            "settings": first.settings,
        },
        n_listed=context.n_listed,
        classes=list(task.classes),
        by_class={task.classes[i]: _plain(x) for i, x in scores.by_class.items()},
        fold_mean={"accuracy": float(np.mean(accuracies)), "deviation": float(np.std(accuracies))},
        predictions={
            "clip": embedded.clip_ids[first.rows].tolist(),
            "label": labels.tolist(),
            "predicted": first.predicted.tolist(),
            **({"group": groups.tolist()} if len(set(groups.tolist())) < len(groups) else {}),
        },
        bad_clips=[{"clip": clip, "reason": why} for clip, why in embedded.errors],
        partial=context.partial,
        seeds=over_seeds(labels, probed.repeats, n_classes) if probed.repeats[1:] else None,
        map=embedding_map(embedded.embeddings, embedded.labels, seed=SEED),
        corrupted=rescore(probed, embedded, corrupted or {}, n_classes),
    )


def _folds(probed: Probed, embedded: EmbeddedTask, n_classes: int) -> list[dict[str, Any]]:
    """Return name, sizes, metrics, selected setting and validation curve of each fold."""
    first, setting = probed.first, probed.protocol.setting
    listed = []
    for fold, selection in zip(probed.folds, first.selections, strict=True):
        predicted = first.predicted[np.searchsorted(first.rows, fold.test)]
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


def rescore(
    probed: Probed,
    embedded: EmbeddedTask,
    corrupted: Mapping[str, EmbeddedTask],
    n_classes: int,
) -> dict[str, dict[str, Any]]:
    """Score the heads on corrupted clips, each clip by the head of the fold that tests it.

    Heads are trained and their settings selected on clean clips; nothing is fitted here.

    Args:
        probed: with the heads.
        embedded: the clean embeddings.
        corrupted: embeddings of the test clips by the corruption's name.
        n_classes: number of classes of the task.

    Returns:
        by name: number of clips, metrics with intervals, and the difference in accuracy to the same
        clips when clean, in points, with its paired interval and exact p.
    """
    results: dict[str, dict[str, Any]] = {}
    clean = np.full(len(embedded.labels), -1, dtype=np.int64)
    clean[probed.first.rows] = probed.first.predicted
    for name, other in corrupted.items():
        predicted = _predict(probed, embedded, other)
        rows = np.flatnonzero(predicted >= 0)
        labels, groups = embedded.labels[rows], embedded.groups[rows]
        scores = score(labels, predicted[rows], n_classes, groups, seed=SEED)
        correct, clean_correct = predicted[rows] == labels, clean[rows] == labels
        against = paired(correct, clean_correct, groups, seed=SEED)
        low, high = against.interval()
        results[name] = {
            "n_clips": len(rows),
            "metrics": _plain(scores.overall),
            "difference": {
                "value": 100.0 * (float(correct.mean()) - float(clean_correct.mean())),
                "low": float(low),
                "high": float(high),
                "p": against.p,
            },
        }
    return results


def _predict(probed: Probed, embedded: EmbeddedTask, other: EmbeddedTask) -> np.ndarray:
    """Return the class given to each row's corrupted clip, -1 where none was: int64 `[n]`."""
    index = {clip: row for row, clip in enumerate(other.clip_ids.tolist())}
    of_row = np.array([index.get(clip, -1) for clip in embedded.clip_ids.tolist()])
    predicted = np.full(len(of_row), -1, dtype=np.int64)
    for number, fold in enumerate(probed.folds):
        rows = fold.test[of_row[fold.test] >= 0]
        predicted[rows] = probed.first.predict(number, other.embeddings[of_row[rows]])
    return predicted


def _plain(intervals: Mapping[str, Interval]) -> dict[str, dict[str, float]]:
    """Return intervals as plain numbers."""
    return {name: dataclasses.asdict(interval) for name, interval in intervals.items()}


def measure_result(
    context: ScoreContext,
    embedded: EmbedStats,
    protocol: str,
    folds: Mapping[str, Mapping[str, float]],
    *,
    metric: str,
    n_clips: int,
    seconds: float,
    hear_task: str | None = None,
    chosen: Mapping[str, Mapping[str, Any]] | None = None,
) -> Result:
    """Return the result of a protocol whose measures are not shares of clips, such as mAP.

    Measures that are not finite on a fold, as d' is where one label is ranked without a mistake,
    are left out with a note.

    Args:
        context: what the result says beside its numbers.
        embedded: the embeddings it rests on.
        protocol: its version.
        folds: the measures of each fold, by its name.
        metric: by which the task is ranked.
        n_clips: of all splits.
        seconds: that the protocol took.
        hear_task: name of the HEAR task that is held in full.
        chosen: settings of each fold.

    Raises:
        ProbeError: `metric` is not finite.
    """
    names = next(iter(folds.values()))
    finite = [name for name in names if np.isfinite([one[name] for one in folds.values()]).all()]
    if metric not in finite:
        raise ProbeError(f"{context.task.name}: {metric} is not finite on the test clips")
    metrics = {}
    for name in finite:
        values = [fold[name] for fold in folds.values()]
        metrics[name] = {"value": float(np.mean(values))}
        if len(values) > 1:
            metrics[name]["deviation"] = float(np.std(values, ddof=1))
    return Result(
        task=context.task.name,
        model=context.model,
        protocol=protocol,
        n_clips=n_clips,
        metrics=metrics,
        folds=[
            {"name": part, "metrics": {name: {"value": fold[name]} for name in finite}}
            | dict((chosen or {}).get(part, {}))
            for part, fold in folds.items()
        ],
        untrained=context.untrained,
        notes=list(dict.fromkeys(context.notes))
        + [
            f"{context.task.name}: {name} is not finite and left out"
            for name in names
            if name not in finite
        ],
        provenance=context.provenance(embedded, protocol, seconds),
        metric=metric,
        unit="own",
        n_listed=context.n_listed,
        hear_task=hear_task,
    )
