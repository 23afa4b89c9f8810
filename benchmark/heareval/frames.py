"""The protocol "frames-1" for event tasks: a linear classifier of frames, scored by onset F1.

One L2-regularized logistic regression per label on the timestamp embeddings. C and postprocessing
are selected by the onset F1 on the validation clips; the classifier is then fitted on training and
validation clips together, and tested once.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.data.split import make_folds
from benchmark.embed.events import EventEmbeddings
from benchmark.probes.linear import LinearProbe, logistic_path
from benchmark.probes.rows import ProbeError, every_row
from benchmark.results.schema import Result
from benchmark.results.score import Subject, measure_result
from benchmark.stats.events import DEFAULT_POSTPROCESSING, Postprocessing, events_of, onset_f

PROTOCOL = "frames-1"
C_GRID = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""scikit-learn's C, strongest regularization first."""
TOLERANCES = {"event_onset_200ms_fms": 200.0, "event_onset_50ms_fms": 50.0}


@dataclass(frozen=True)
class FramedClip:
    """One clip's frames and its events."""

    name: str  #: unique among the clips
    embedding: np.ndarray  #: of every frame, float32 `[T, D]`
    stamps: np.ndarray  #: centers of the frames, ascending, in ms `[T]`
    events: list[dict[str, Any]]  #: each with label, start and end in ms


@dataclass(frozen=True)
class FramesResult:
    """The result of the frame probe."""

    scores: dict[float, float]  #: onset F on the test clips, by tolerance in ms
    c: float  #: that was selected
    postprocessing: Postprocessing  #: that was selected
    #: of every C and postprocessing the onset F on the validation clips
    curve: list[tuple[float, Postprocessing, float]]
    events: dict[str, list[dict[str, Any]]]  #: predicted in the test clips
    converged: bool  #: whether both fits reached their tolerance


def probe_frames(
    train: Sequence[FramedClip],
    valid: Sequence[FramedClip],
    test: Sequence[FramedClip],
    labels: Sequence[str],
    postprocessings: Sequence[Postprocessing],
    *,
    tolerances: Sequence[float] = (200.0, 50.0),
    device: str = "cpu",
) -> FramesResult:
    """Select on validation clips, fit again, and predict the events of the test clips.

    The test clips are read once, after the selection. Of equal postprocessings the first is taken.
    Tolerances of onsets are in ms; the first decides the selection.

    Raises:
        ProbeError: a part has no clip, or embeddings are NaN or infinite.
    """
    if not train or not valid or not test:
        raise ProbeError("frames need clips to train, select and test on: a part has none")
    probes = _fit(train, labels, C_GRID, device)
    truth = {clip.name: clip.events for clip in valid}
    curve = []
    for c, probe in zip(C_GRID, probes, strict=True):
        for how in postprocessings:
            events = _events(probe, valid, labels, how)
            curve.append((c, how, onset_f(truth, events, tolerances[0])))
    c, how, _ = max(curve, key=lambda point: point[2])
    (final,) = _fit([*train, *valid], labels, (c,), device)
    events = _events(final, test, labels, how)
    truth = {clip.name: clip.events for clip in test}
    scores = {tolerance: onset_f(truth, events, tolerance) for tolerance in tolerances}
    converged = all(probe.converged.all() for probe in [*probes, final])
    return FramesResult(scores, c, how, curve, events, converged)


def activity(clip: FramedClip, labels: Sequence[str]) -> np.ndarray:
    """Return which labels are active in each frame of a clip, bool `[T, K]`."""
    active = np.zeros((len(clip.stamps), len(labels)), dtype=bool)
    column = {label: i for i, label in enumerate(labels)}
    for event in clip.events:
        inside = (clip.stamps >= event["start"]) & (clip.stamps <= event["end"])
        active[inside, column[str(event["label"])]] = True
    return active


def _fit(
    clips: Sequence[FramedClip], labels: Sequence[str], c_grid: tuple[float, ...], device: str
) -> list[LinearProbe]:
    """Return the classifier of all frames of some clips at each C."""
    features = np.concatenate([clip.embedding for clip in clips])
    targets = np.concatenate([activity(clip, labels) for clip in clips])
    return list(logistic_path(every_row(features), targets, c_grid, device=device))


def _events(
    probe: LinearProbe, clips: Iterable[FramedClip], labels: Sequence[str], how: Postprocessing
) -> dict[str, list[dict[str, Any]]]:
    """Return the events that a classifier finds in each clip."""
    return {
        clip.name: events_of(
            probe.probabilities(every_row(clip.embedding)), clip.stamps, labels, how
        )
        for clip in clips
    }


def frames_result(subject: Subject) -> Result:
    """Score an event task under "frames-1", by onset F at 200 and 50 ms.

    Raises:
        ProbeError: nothing can be trained on a fold.
    """
    hear, embedded, start = subject.source.hear, subject.embedded, time.monotonic()
    assert hear is not None
    assert isinstance(embedded, EventEmbeddings)
    clips = {
        split: [
            FramedClip(f"{split}/{name}", *embedded.read(split, name), events)
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
    for fold in make_folds(subject.source.task.split_policy, splits, splits):
        train, valid, test = (
            [clip for split in splits[rows] for clip in clips[split]]
            for rows in (fold.train, fold.valid, fold.test)
        )
        tolerances = [TOLERANCES[name] for name in measures]
        fitted = probe_frames(
            *(train, valid, test, hear.labels, grid), tolerances=tolerances, device=subject.device
        )
        folds[fold.name] = {name: fitted.scores[TOLERANCES[name]] for name in measures}
        chosen[fold.name] = {"strength": fitted.c, **vars(fitted.postprocessing)}
        if not fitted.converged:
            subject = subject.not_converged()
    return measure_result(
        subject,
        PROTOCOL,
        folds,
        metric=measures[0],
        seconds=time.monotonic() - start,
        chosen=chosen,
    )
