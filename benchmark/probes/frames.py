"""The frame probe: a linear classifier of every frame, chosen and judged by its events' onsets.

Protocol "frames-1": an L2-regularised logistic regression a label on the timestamp embeddings; its
strength and its postprocessing are those with the best onset F on the validation clips; it is then
fit on training and validation clips together and finds the events of the test clips once.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmark.probes.logistic import Logistic, fit_logistic
from benchmark.probes.rows import ProbeError, every_row
from benchmark.stats.events import OnsetScore, onset_score
from benchmark.stats.frame_events import Postprocessing, events_of

PROTOCOL = "frames-1"
STRENGTHS = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""scikit-learn's C, strongest regularisation first."""


@dataclass(frozen=True)
class FramedClip:
    """One clip's frames and what is in it.

    Attributes:
        name: unique among the clips.
        embedding: of every frame.
        stamps: where frames are centred, ascending, in ms.
        events: each with label, start and end in ms.

    Shape:
        embedding float32 `[T, D]`, stamps `[T]`.
    """

    name: str
    embedding: np.ndarray
    stamps: np.ndarray
    events: list[dict[str, Any]]


@dataclass(frozen=True)
class FrameOutcome:
    """What the frame probe found.

    Attributes:
        scores: on the test clips, by tolerance in ms.
        strength: that was chosen.
        postprocessing: that was chosen.
        curve: of every strength and postprocessing the onset F on the validation clips.
        found: events of the test clips.
        converged: whether both fits reached their tolerance.
    """

    scores: dict[float, OnsetScore]
    strength: float
    postprocessing: Postprocessing
    curve: list[tuple[float, Postprocessing, float]]
    found: dict[str, list[dict[str, Any]]]
    converged: bool


def probe_frames(
    train: Sequence[FramedClip],
    valid: Sequence[FramedClip],
    test: Sequence[FramedClip],
    labels: Sequence[str],
    ways: Sequence[Postprocessing],
    *,
    tolerances: Sequence[float] = (200.0, 50.0),
    device: str = "cpu",
) -> FrameOutcome:
    """Choose on validation clips, fit again, and find the events of the test clips.

    Args:
        train: clips to fit on.
        valid: clips to choose on.
        test: clips that are looked at once, after the choice.
        labels: of the task.
        ways: of postprocessing, to choose from; of those that tie the first is taken.
        tolerances: of onsets, in ms; the first decides the choice.
        device: torch device that does the work.

    Raises:
        ProbeError: a part has no clip, or embeddings are not finite.
    """
    if not train or not valid or not test:
        raise ProbeError("frames need clips to train, choose and test on: a part has none")
    fitted = _fit(train, labels, STRENGTHS, device)
    truth = {clip.name: clip.events for clip in valid}
    curve = []
    for place, strength in enumerate(STRENGTHS):
        for way in ways:
            found = _find(fitted, valid, labels, place, way)
            curve.append((strength, way, onset_score(truth, found, tolerances[0]).f))
    strength, way, _ = max(curve, key=lambda one: one[2])
    final = _fit([*train, *valid], labels, (strength,), device)
    found = _find(final, test, labels, 0, way)
    truth = {clip.name: clip.events for clip in test}
    scores = {tolerance: onset_score(truth, found, tolerance) for tolerance in tolerances}
    converged = bool(fitted.converged.all() and final.converged.all())
    return FrameOutcome(scores, strength, way, curve, found, converged)


def activity(clip: FramedClip, labels: Sequence[str]) -> np.ndarray:
    """Return which labels are on in each frame of a clip.

    Shape:
        bool `[T, K]`.
    """
    on = np.zeros((len(clip.stamps), len(labels)), dtype=bool)
    column = {label: place for place, label in enumerate(labels)}
    for event in clip.events:
        inside = (clip.stamps >= event["start"]) & (clip.stamps <= event["end"])
        on[inside, column[str(event["label"])]] = True
    return on


def _fit(
    clips: Sequence[FramedClip], labels: Sequence[str], strengths: tuple[float, ...], device: str
) -> Logistic:
    """Return the classifier of all frames of some clips."""
    features = np.concatenate([clip.embedding for clip in clips])
    targets = np.concatenate([activity(clip, labels) for clip in clips])
    return fit_logistic(every_row(features), targets, strengths, device=device)


def _find(
    fitted: Logistic,
    clips: Iterable[FramedClip],
    labels: Sequence[str],
    place: int,
    way: Postprocessing,
) -> dict[str, list[dict[str, Any]]]:
    """Return the events found in each clip by the classifier of one strength."""
    return {
        clip.name: events_of(
            fitted.probabilities(every_row(clip.embedding))[:, place], clip.stamps, labels, way
        )
        for clip in clips
    }
