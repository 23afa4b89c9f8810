"""The protocols of a HEAR task: heareval itself, and our own probes by the task's own measures.

Tasks of one label per clip have our linear probe (`benchmark.results.score`), of several labels
"multilabel-2", of events "frames-1". Folds are HEAR's: fold i tests, fold i + 1 validates, the rest
train.
"""

import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data.hear_folder import HearTask, clip_order
from benchmark.data.split import make_folds
from benchmark.embed.cache import cache_folder
from benchmark.embed.embed import EmbeddedTask, array_key
from benchmark.embed.events import EventEmbeddings
from benchmark.heareval.heareval_format import texts_of, write_events, write_scenes
from benchmark.heareval.predict import predict, protocol
from benchmark.probes import frames, multilabel
from benchmark.probes.protocols import PROTOCOLS
from benchmark.results.schema import Result
from benchmark.results.score import SEED, Subject, measure_result
from benchmark.stats.events import DEFAULT_POSTPROCESSING, Postprocessing
from benchmark.stats.ranking import MEASURES, bootstrap, interval, ranking
from wavebyol_hear.files.atomic import file_hash
from wavebyol_hear.files.hear_module import HearModel

ACCURACIES = ("top1_acc", "pitch_acc")
"""Measures of heareval that are the share of correct clips."""
BLOCK_ROWS = 1024
TOLERANCES = {"event_onset_200ms_fms": 200.0, "event_onset_50ms_fms": 50.0}


def own_protocol(hear: HearTask) -> str:
    """Return the version of the protocol by which our own probe scores a task."""
    if hear.embedding == "event":
        return frames.PROTOCOL
    multiclass = hear.prediction == "multiclass"
    return PROTOCOLS["linear"].version if multiclass else multilabel.PROTOCOL


def heareval_folder(
    hear: HearTask, model: HearModel, embedded: EmbeddedTask | EventEmbeddings, cache_dir: Path
) -> Path:
    """Return the folder that heareval works in: one for all that its scores depend on."""
    digest = hashlib.blake2b(digest_size=16)
    for name in texts_of(hear):
        digest.update(file_hash(hear.folder / name).encode())
    if not isinstance(embedded, EventEmbeddings):
        for start in range(0, len(embedded.embeddings), BLOCK_ROWS):
            digest.update(embedded.embeddings[start : start + BLOCK_ROWS].tobytes())
    key = array_key(model, embedded.data_hash, None) | {"content": digest.hexdigest()}
    return cache_folder(cache_dir / "heareval", model.spec, hear.folder.name, **key)


def heareval_result(subject: Subject, grid: str, points: int) -> Result:
    """Score a HEAR task by heareval, with so many points of one of its grids.

    Raises:
        HearevalError: heareval is not there, or fails.
        ProbeError: the task's first measure is not finite.
    """
    hear, folder, embedded = subject.source.hear, subject.heareval_folder, subject.embedded
    assert hear is not None
    assert folder is not None
    if isinstance(embedded, EventEmbeddings):
        write_events(hear, embedded, folder)
    else:
        assert isinstance(embedded, EmbeddedTask)
        write_scenes(hear, embedded.embeddings, folder)
    predicted = predict(folder, grid, points, subject.device)
    return measure_result(
        subject,
        protocol(grid, points),
        predicted.folds,
        metric=hear.metrics[0],
        seconds=predicted.seconds,
        settings=predicted.hyperparameters,
    )


def multilabel_result(
    subject: Subject,
    embedded: EmbeddedTask,
    targets: np.ndarray,
    *,
    metric: str = MEASURES[0],
    groups: np.ndarray | None = None,
    pooled: bool = False,
) -> Result:
    """Score clips of several labels under "multilabel-2".

    Args:
        subject: a model on the task.
        embedded: its embeddings.
        targets: which clip has which label, bool `[n, K]`, in the order of the embeddings.
        metric: one of `MEASURES`, by which the strength is selected and the task ranked.
        groups: clips of one are resampled together; None for clip by clip, as a HEAR folder does
            not say which clips share a speaker or an uploader.
        pooled: whether the test clips of all folds are ranked together, so that a label need not
            occur in every fold; else measures are means over folds, as HEAR has them.

    Raises:
        ProbeError: nothing can be trained on a fold, or the metric is not finite.
    """
    start, converged = time.monotonic(), True
    parts: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    chosen: dict[str, dict[str, Any]] = {}
    folds = make_folds(subject.source.task.split_policy, embedded.splits, embedded.groups)
    for fold in folds:
        fitted = multilabel.evaluate_fold(
            embedded.embeddings,
            targets,
            fold,
            lambda scores, truth: _measures(scores, truth)[metric],
            device=subject.device,
        )
        parts[fold.name] = fitted.probabilities, fold.test
        chosen[fold.name] = {"strength": fitted.selection.value}
        converged &= fitted.converged
    if pooled:
        probabilities, rows = zip(*parts.values(), strict=True)
        parts = {"all folds": (np.concatenate(probabilities), np.concatenate(rows))}
    tested = {name: (p, targets[rows]) for name, (p, rows) in parts.items()}
    result = measure_result(
        subject if converged else subject.not_converged(),
        multilabel.PROTOCOL,
        {name: _measures(*part) for name, part in tested.items()},
        metric=metric,
        seconds=time.monotonic() - start,
        chosen=chosen,
        settings={"strength": chosen} if pooled else None,
    )
    drawn = [
        bootstrap(*tested[name], None if groups is None else groups[rows], SEED + i)
        for i, (name, (_, rows)) in enumerate(parts.items())
    ]
    _add_intervals(result, drawn)
    return result


def _add_intervals(result: Result, drawn: Sequence[Mapping[str, np.ndarray]]) -> None:
    """Add the interval of each measure, the mean of the parts, from their resamples."""
    for name, point in result.metrics.items():
        ends = interval(name, point["value"], np.mean([one[name] for one in drawn], axis=0))
        if ends:
            point |= {"low": ends[0], "high": ends[1]}


def hear_multilabel_result(subject: Subject, hear: HearTask, embedded: EmbeddedTask) -> Result:
    """Score a HEAR scene task of several labels per clip by the first of its measures we have."""
    metric = next((name for name in hear.metrics if name in MEASURES), MEASURES[0])
    return multilabel_result(subject, embedded, label_table(hear), metric=metric)


def own_multilabel_result(subject: Subject, embedded: EmbeddedTask) -> Result:
    """Score a task of one's own whose clips have several labels, by mAP over all test clips."""
    task = subject.source.task
    assert task.labels is not None
    targets = np.array(
        [[name in task.labels[clip] for name in task.classes] for clip in embedded.clip_ids]
    )
    return multilabel_result(subject, embedded, targets, groups=embedded.groups, pooled=True)


def label_table(hear: HearTask) -> np.ndarray:
    """Return which labels clips have, in heareval's order of clips, bool `[n, K]`."""
    index = {label: i for i, label in enumerate(hear.labels)}
    order = clip_order(hear)
    listed = [hear.clips[split][name] for split, names in order.items() for name in names]
    table = np.zeros((len(listed), len(index)), dtype=bool)
    for row, labels in enumerate(listed):
        table[row, [index[str(label)] for label in labels]] = True
    return table


def _measures(scores: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Return all measures of one part."""
    values = ranking(scores, targets, np.ones((len(scores), 1), dtype=np.float32))
    return {name: float(value[0]) for name, value in values.items()}


def frames_result(subject: Subject, hear: HearTask, embedded: EventEmbeddings) -> Result:
    """Score an event task under "frames-1", by onset F at 200 and 50 ms.

    Raises:
        ProbeError: nothing can be trained on a fold.
    """
    clips = {
        split: [
            frames.FramedClip(f"{split}/{name}", *embedded.read(split, name), events)
            for name, events in contents.items()
        ]
        for split, contents in hear.clips.items()
    }
    measures = [name for name in hear.metrics if name in TOLERANCES]
    measures += [name for name in TOLERANCES if name not in measures]
    grid = [Postprocessing(*one) for one in hear.postprocessing] or DEFAULT_POSTPROCESSING
    splits = np.array(list(clips))
    folds: dict[str, Mapping[str, float]] = {}
    chosen: dict[str, dict[str, Any]] = {}
    start, converged = time.monotonic(), True
    for fold in make_folds(subject.source.task.split_policy, splits, splits):
        train, valid, test = (
            [clip for split in splits[rows] for clip in clips[split]]
            for rows in (fold.train, fold.valid, fold.test)
        )
        tolerances = [TOLERANCES[name] for name in measures]
        fitted = frames.probe_frames(
            *(train, valid, test, hear.labels, grid), tolerances=tolerances, device=subject.device
        )
        folds[fold.name] = {name: fitted.scores[TOLERANCES[name]].f for name in measures}
        chosen[fold.name] = {"strength": fitted.c, **vars(fitted.postprocessing)}
        converged &= fitted.converged
    return measure_result(
        subject if converged else subject.not_converged(),
        frames.PROTOCOL,
        folds,
        metric=measures[0],
        seconds=time.monotonic() - start,
        chosen=chosen,
    )
