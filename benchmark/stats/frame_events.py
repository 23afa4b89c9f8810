"""From a probability per frame and label to events, as heareval makes them of its own predictions.

Median filter over time, threshold, runs of frames, and runs that are too short left out
(heareval 2021.1.3, predictions/task_predictions.py, `create_events_from_prediction`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

THRESHOLD = 0.5


@dataclass(frozen=True)
class Postprocessing:
    """What happens to probabilities before they are events.

    Attributes:
        median_filter_ms: width of the median filter; 0 for none.
        min_duration: from first to last frame of an event, in ms.
    """

    median_filter_ms: float
    min_duration: float


USUAL = (Postprocessing(250, 125), Postprocessing(250, 250))
"""heareval's own choice of two, made on the validation part."""


def median_filter(values: np.ndarray, width: int) -> np.ndarray:
    """Return each column's running median, with mirrored ends.

    An even width reaches one frame further back than ahead and takes the upper of its two middle
    values, as scipy.ndimage does.

    Args:
        values: to filter.
        width: in frames, >= 1.

    Shape:
        `[T, K]`.
    """
    before = width // 2
    padded = np.pad(values, ((before, width - 1 - before), (0, 0)), mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(padded, width, axis=0)
    return np.partition(windows, before, axis=2)[:, :, before]


def events_of(
    probabilities: np.ndarray, stamps: np.ndarray, labels: Sequence[str], how: Postprocessing
) -> list[dict[str, Any]]:
    """Return the events of one clip in the order of their starts.

    Args:
        probabilities: of each label in each frame.
        stamps: of the frames, ascending, in ms.
        labels: by column.
        how: to filter.

    Shape:
        probabilities `[T, K]`, stamps `[T]`.
    """
    if how.median_filter_ms and len(stamps) > 1:
        width = round(how.median_filter_ms / float(np.diff(stamps).mean()))
        if width:
            probabilities = median_filter(probabilities, width)
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
