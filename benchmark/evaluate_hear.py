"""HEAR tasks scored by our own probes, in seconds, on the embeddings made for heareval.

Scene tasks of one label a clip go through the protocol "linear-1", of several through
"multilabel-2" (`benchmark.hear_labels`), event tasks through "frames-1". Folds are HEAR's: fold i
tests, fold i + 1 chooses, the rest train.
"""

import json
import time
from pathlib import Path

import numpy as np

from benchmark.data.hear_catalogue import known_name
from benchmark.data.hear_folder import HearTask, as_task
from benchmark.data.split import make_folds
from benchmark.embed.cache import Progress
from benchmark.embed.cost import cost_of
from benchmark.embed.embed import EmbeddedTask
from benchmark.hear_scores import HearScore, means
from benchmark.heareval.embedded import About
from benchmark.heareval.form import clip_order
from benchmark.heareval.scene_rows import scene_rows
from benchmark.measure import measure, probe
from benchmark.probes.frames import PROTOCOL, FramedClip, probe_frames
from benchmark.probes.multilabel import PROTOCOL as MULTILABEL
from benchmark.probes.protocols import PROTOCOLS
from benchmark.results.schema import Result
from benchmark.stats.events import DEFAULT_POSTPROCESSING, Postprocessing

ACCURACIES = ("top1_acc", "pitch_acc")
"""Measures of heareval that are the share of right clips."""
TOLERANCES = {"event_onset_200ms_fms": 200.0, "event_onset_50ms_fms": 50.0}


def probe_protocol(task: HearTask) -> str:
    """Return the protocol by which our probe scores a task."""
    if task.embedding == "event":
        return PROTOCOL
    return MULTILABEL if task.prediction == "multilabel" else PROTOCOLS["linear"].version


def scene_result(task: HearTask, about: About) -> Result:
    """Score a scene task of one label a clip under "linear-1".

    Args:
        task: read and checked.
        about: the model and its embeddings.

    Raises:
        ProbeError: nothing can be trained on a fold.
    """
    with scene_rows(task, about.embedded.folder) as rows:
        return _scene_result(task, about, rows)


def _scene_result(task: HearTask, about: About, rows: np.ndarray) -> Result:
    """Score the rows of a scene task."""
    listed = [(split, name) for split, names in clip_order(task).items() for name in names]
    number = {label: place for place, label in enumerate(task.labels)}
    labels = [number[str(task.clips[split][name][0])] for split, name in listed]
    effort = about.embedded.effort
    ids = np.array([f"{split}/{name}" for split, name in listed])
    embedded = EmbeddedTask(
        embeddings=rows,
        labels=np.array(labels, dtype=np.int64),
        splits=np.array([split for split, _ in listed]),
        groups=ids,
        clip_ids=ids,
        errors=(),
        seconds=effort.seconds,
        clips_per_second=effort.clips / effort.seconds if effort.clips else 0.0,
        encoder_calls=effort.calls,
        weights_hash=about.embedded.model.weights_hash,
        data_hash=about.embedded.data_hash,
        precision=about.embedded.model.precision,
        cost=cost_of(Progress(), about.embedded.model),
    )
    notes = list(about.notes)
    if task.metrics[0] not in ACCURACIES:
        notes.append(f"{task.folder.name}: accuracy, where HEAR ranks by {task.metrics[0]}")
    record = as_task(task)
    probed = probe(record, embedded, PROTOCOLS["linear"], device=about.device)
    return measure(
        record,
        embedded,
        about.spec,
        probed,
        n_listed=len(rows),
        notes=notes,
        untrained=about.untrained,
        device=about.device,
    )


def framed(task: HearTask, folder: Path) -> dict[str, list[FramedClip]]:
    """Return the clips of each split of an event task with their frames.

    Args:
        task: read and checked.
        folder: of its embeddings.
    """
    found: dict[str, list[FramedClip]] = {}
    for split, clips in task.clips.items():
        found[split] = []
        for name, events in clips.items():
            stem = folder / split / name
            rows = np.load(f"{stem}.embedding.npy")
            stamps = np.array(json.loads(Path(f"{stem}.timestamps.json").read_text()))
            found[split].append(FramedClip(f"{split}/{name}", rows, stamps, events))
    return found


def event_score(task: HearTask, about: About) -> HearScore:
    """Score an event task under "frames-1", by onset F at 200 and 50 ms.

    Args:
        task: read and checked.
        about: the model and its embeddings.

    Raises:
        ProbeError: nothing can be trained on a fold.
    """
    clips = framed(task, about.embedded.folder)
    names = np.array(list(clips))
    policy = "fixed" if task.split_mode == "trainvaltest" else "folds"
    measures = [name for name in task.metrics if name in TOLERANCES]
    measures += [name for name in TOLERANCES if name not in measures]
    folds: dict[str, dict[str, float]] = {}
    chosen: dict[str, object] = {}
    notes = list(about.notes)
    start = time.monotonic()
    for fold in make_folds(policy, names, names):  # type: ignore[arg-type]
        train, valid, test = (
            [clip for split in names[rows] for clip in clips[split]]
            for rows in (fold.train, fold.valid, fold.test)
        )
        found = probe_frames(
            train,
            valid,
            test,
            task.labels,
            [Postprocessing(*one) for one in task.postprocessing] or DEFAULT_POSTPROCESSING,
            tolerances=[TOLERANCES[name] for name in measures],
            device=about.device,
        )
        folds[fold.name] = {name: found.scores[TOLERANCES[name]].f for name in measures}
        chosen[fold.name] = {
            "strength": found.c,
            "median_filter_ms": found.postprocessing.median_filter_ms,
            "min_duration": found.postprocessing.min_duration,
        }
        if not found.converged:
            notes.append(
                f"{task.folder.name}, {about.spec}: a frame probe did not reach its tolerance"
            )
    return HearScore(
        task=task.folder.name,
        known=known_name(task.folder.name),
        model=about.spec,
        protocol=PROTOCOL,
        metric=measures[0],
        n_clips=task.count,
        metrics=means(folds),
        folds=folds,
        hyperparameters=chosen,
        untrained=about.untrained,
        notes=list(dict.fromkeys(notes)),
        provenance=about.provenance() | {"probe_seconds": time.monotonic() - start},
    )
