"""The protocol "frames-1": a linear classifier of every frame, selected and scored by onset F.

An L2-regularized logistic regression per label on the timestamp embeddings. C and postprocessing
are those with the best onset F on the validation clips; the classifier is then fitted on training
and validation clips together and predicts the events of the test clips once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.probes.linear import LinearProbe
from benchmark.probes.multilabel import fit_logistic, probabilities
from benchmark.probes.rows import ProbeError, every_row
from benchmark.stats.events import OnsetScore, Postprocessing, events_of, onset_score

PROTOCOL = "frames-1"
C_GRID = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""scikit-learn's C, strongest regularization first."""


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

    scores: dict[float, OnsetScore]  #: on the test clips, by tolerance in ms
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
    probe = _fit(train, labels, C_GRID, device)
    truth = {clip.name: clip.events for clip in valid}
    curve = []
    for column, c in enumerate(C_GRID):
        for how in postprocessings:
            events = _events(probe, valid, labels, column, how)
            curve.append((c, how, onset_score(truth, events, tolerances[0]).f))
    c, how, _ = max(curve, key=lambda point: point[2])
    final = _fit([*train, *valid], labels, (c,), device)
    events = _events(final, test, labels, 0, how)
    truth = {clip.name: clip.events for clip in test}
    scores = {tolerance: onset_score(truth, events, tolerance) for tolerance in tolerances}
    converged = bool(probe.converged.all() and final.converged.all())
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
) -> LinearProbe:
    """Return the classifier of all frames of some clips."""
    features = np.concatenate([clip.embedding for clip in clips])
    targets = np.concatenate([activity(clip, labels) for clip in clips])
    return fit_logistic(every_row(features), targets, c_grid, device=device)


def _events(
    probe: LinearProbe,
    clips: Iterable[FramedClip],
    labels: Sequence[str],
    column: int,
    how: Postprocessing,
) -> dict[str, list[dict[str, Any]]]:
    """Return the events in each clip by the classifier of one C."""
    return {
        clip.name: events_of(
            probabilities(probe, every_row(clip.embedding))[:, column], clip.stamps, labels, how
        )
        for clip in clips
    }
