"""Event-based onset F: how many events begin when and as what the truth says.

The measure of sed_eval (EventBasedMetrics, onsets alone, optimal matching; A. Mesaros et al.,
"Metrics for polyphonic sound event detection", 2016), in time that grows as the number of events.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Events = Mapping[str, Sequence[Mapping[str, Any]]]
"""By clip its events, each with label, start and end in ms."""


@dataclass(frozen=True)
class OnsetScore:
    """Shares of events, 0 to 1.

    Attributes:
        f: harmonic mean of the two others; 0 where both are.
        precision: share of found events that are true.
        recall: share of true events that are found.
    """

    f: float
    precision: float
    recall: float


def onset_score(truth: Events, found: Events, within_ms: float) -> OnsetScore:
    """Score found events: each may stand for one true event of its clip and label.

    Args:
        truth: of every clip of `found`; clips that are not in `found` do not count, as in heareval.
        found: of every clip that was searched, with an empty list where nothing was found.
        within_ms: most distance of two onsets that are one, >= 0.
    """
    hits = wanted = given = 0
    for clip, events in found.items():
        true = truth.get(clip, ())
        wanted += len(true)
        given += len(events)
        ours, theirs = _by_label(events), _by_label(true)
        hits += sum(_matches(theirs[label], ours[label], within_ms) for label in ours)
    precision = hits / given if given else 0.0
    recall = hits / wanted if wanted else 0.0
    return OnsetScore(2 * hits / (wanted + given) if hits else 0.0, precision, recall)


def _by_label(events: Sequence[Mapping[str, Any]]) -> dict[str, list[float]]:
    """Return the onsets of each label, ascending, in seconds, as sed_eval compares them."""
    onsets: dict[str, list[float]] = defaultdict(list)
    for event in events:
        onsets[str(event["label"])].append(event["start"] / 1000)
    return defaultdict(list, {label: sorted(times) for label, times in onsets.items()})


def _matches(theirs: list[float], ours: list[float], within_ms: float) -> int:
    """Return the most pairs that can be made of two ascending lists of times.

    Every time reaches equally far, so giving the earliest the earliest it reaches is best.
    """
    count = i = j = 0
    while i < len(theirs) and j < len(ours):
        if abs(theirs[i] - ours[j]) <= within_ms / 1000:
            count, i, j = count + 1, i + 1, j + 1
        elif theirs[i] < ours[j]:
            i += 1
        else:
            j += 1
    return count
