"""Events in audio clips: from frame probabilities to events, and their onset F1.

Events are made as heareval makes them of its own predictions (2021.1.3,
predictions/task_predictions.py, `create_events_from_prediction`): median filter over time,
threshold, runs of frames, and runs that are too short left out. The score is that of sed_eval
(EventBasedMetrics, onsets alone, optimal matching; A. Mesaros et al., "Metrics for polyphonic sound
event detection", 2016), in time that grows as the number of events.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import median_filter

Events = Mapping[str, Sequence[Mapping[str, Any]]]
"""By clip its events, each with label, start and end in ms."""
THRESHOLD = 0.5


@dataclass(frozen=True)
class Postprocessing:
    """How probabilities become events."""

    median_filter_ms: float  #: width of the median filter; 0 for none
    min_duration: float  #: from first to last frame of an event, in ms


DEFAULT_POSTPROCESSING = (Postprocessing(250, 125), Postprocessing(250, 250))
"""heareval's own two, between which the validation part decides."""


def events_of(
    probabilities: np.ndarray, stamps: np.ndarray, labels: Sequence[str], how: Postprocessing
) -> list[dict[str, Any]]:
    """Return the events of one clip in the order of their starts.

    Shape:
        probabilities of each label in each frame `[T, K]`, stamps ascending in ms `[T]`.

    Example:
        >>> on = np.array([[0.1], [0.9], [0.8], [0.2]])
        >>> events_of(on, np.arange(4) * 50.0, ["dog"], Postprocessing(0, 50))
        [{'label': 'dog', 'start': 50.0, 'end': 100.0}]
    """
    if how.median_filter_ms and len(stamps) > 1:
        width = round(how.median_filter_ms / float(np.diff(stamps).mean()))
        if width:
            probabilities = median_filter(probabilities, size=(width, 1))
    on = np.zeros((len(stamps) + 2, len(labels)), dtype=np.int8)
    on[1:-1] = probabilities > THRESHOLD
    events = []
    for column, label in enumerate(labels):
        steps = np.diff(on[:, column])
        for first, after in zip(np.flatnonzero(steps > 0), np.flatnonzero(steps < 0), strict=True):
            start, end = float(stamps[first]), float(stamps[after - 1])
            if end - start >= how.min_duration:
                events.append({"label": label, "start": start, "end": end})
    return sorted(events, key=lambda event: float(event["start"]))


def onset_f(truth: Events, predicted: Events, tolerance_ms: float) -> float:
    """Return the harmonic mean of precision and recall of predicted events; 0 where both are.

    Each matches at most one true event of its clip and label, whose onset is as far as the
    tolerance or nearer. Clips that are not among the predicted do not count, as in heareval.
    """
    hits = n_events = 0
    for clip, events in predicted.items():
        true = truth.get(clip, ())
        n_events += len(true) + len(events)
        theirs, ours = _onsets(true), _onsets(events)
        hits += sum(_matches(theirs[label], ours[label], tolerance_ms) for label in ours)
    return 2 * hits / n_events if hits else 0.0


def _onsets(events: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    onsets: dict[str, list[float]] = defaultdict(list)
    for event in sorted(events, key=lambda event: float(event["start"])):
        onsets[str(event["label"])].append(event["start"] / 1000)  # in s, as sed_eval compares
    return onsets


def _matches(theirs: list[float], ours: list[float], tolerance_ms: float) -> int:
    """Return the largest number of pairs that two ascending lists of times allow.

    Every time reaches equally far, so matching the earliest with the earliest in reach is best.
    """
    count = i = j = 0
    while i < len(theirs) and j < len(ours):
        if abs(theirs[i] - ours[j]) <= tolerance_ms / 1000:
            count, i, j = count + 1, i + 1, j + 1
        elif theirs[i] < ours[j]:
            i += 1
        else:
            j += 1
    return count
