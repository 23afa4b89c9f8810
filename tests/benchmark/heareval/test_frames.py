"""The frame probe finds what can be found, and the test clips have no say in it."""

from dataclasses import replace

import numpy as np
import pytest

from benchmark.heareval.frames import FramedClip, activity, probe_frames
from benchmark.probes.rows import ProbeError
from benchmark.stats.events import DEFAULT_POSTPROCESSING

LABELS = ("a", "b")
HOP = 40.0


def clip(name: str, seed: int, loudness: float = 3.0, frames: int = 150) -> FramedClip:
    """Noise, and two directions in it that are stronger while their label is on."""
    random = np.random.default_rng(seed)
    stamps = HOP * np.arange(frames) + 20
    events = []
    for start in range(0, frames - 30, 30):
        first = start + int(random.integers(2, 10))
        times = {"start": float(stamps[first]), "end": float(stamps[first + 11])}
        events.append({"label": LABELS[random.integers(2)], **times})
    quiet = FramedClip(
        name, random.standard_normal((frames, 12)).astype(np.float32), stamps, events
    )
    sound = np.zeros((frames, 12), np.float32)
    sound[:, :2] = loudness * activity(quiet, LABELS)
    return replace(quiet, embedding=quiet.embedding + sound)


Clips = list[FramedClip]


def parts(loudness: float = 3.0) -> tuple[Clips, Clips, Clips]:
    """Three clips for training, validation and test each."""
    train, valid, test = (
        [clip(f"{part}{n}", 10 * index + n, loudness) for n in range(3)]
        for index, part in enumerate(("train", "valid", "test"))
    )
    return train, valid, test


def test_frames_that_tell_their_label_give_the_onsets() -> None:
    actual = probe_frames(*parts(), LABELS, DEFAULT_POSTPROCESSING)
    assert actual.converged
    assert actual.scores[200.0] > 0.9
    assert actual.scores[50.0] > 0.8
    assert actual.scores[50.0] <= actual.scores[200.0]
    assert set(actual.events) == {"test0", "test1", "test2"}
    best = max(f for _, _, f in actual.curve)
    chosen = {(c, way): f for c, way, f in actual.curve}[actual.c, actual.postprocessing]
    assert chosen == best


def test_frames_that_tell_nothing_give_nothing() -> None:
    assert probe_frames(*parts(loudness=0.0), LABELS, DEFAULT_POSTPROCESSING).scores[200.0] < 0.2


def test_the_test_clips_have_no_say() -> None:
    train, valid, test = parts()
    once = probe_frames(train, valid, test, LABELS, DEFAULT_POSTPROCESSING)
    other = [replace(one, events=[]) for one in test]
    again = probe_frames(train, valid, other, LABELS, DEFAULT_POSTPROCESSING)
    assert (again.c, again.postprocessing) == (once.c, once.postprocessing)
    assert (again.curve, again.events) == (once.curve, once.events)
    assert again.scores[200.0] == 0


def test_a_label_is_on_from_its_start_to_its_end() -> None:
    one = FramedClip(
        "x",
        np.zeros((5, 1), np.float32),
        np.array([0.0, 40.0, 80.0, 120.0, 160.0]),
        [{"label": "b", "start": 40, "end": 120}, {"label": "a", "start": 41, "end": 79}],
    )
    assert activity(one, LABELS)[:, 1].tolist() == [False, True, True, True, False]
    assert not activity(one, LABELS)[:, 0].any()


def test_a_part_without_clips_is_named() -> None:
    train, valid, _ = parts()
    with pytest.raises(ProbeError, match="a part has none"):
        probe_frames(train, valid, [], LABELS, DEFAULT_POSTPROCESSING)


def test_the_last_fit_reads_training_and_validation_clips() -> None:
    """A label that validation clips alone have is predicted in test clips."""
    train, valid, test = parts(loudness=6.0)
    silent = []
    for one in train:
        events = [event for event in one.events if event["label"] == "a"]
        embedding = one.embedding.copy()
        embedding[:, 1] -= 6.0 * activity(one, LABELS)[:, 1]
        silent.append(replace(one, embedding=embedding, events=events))
    result = probe_frames(silent, valid, test, LABELS, DEFAULT_POSTPROCESSING)
    predicted = {event["label"] for events in result.events.values() for event in events}
    assert predicted == {"a", "b"}
    assert result.scores[200.0] > 0.9


def test_a_test_clip_changes_no_other_clips_events() -> None:
    train, valid, test = parts()
    once = probe_frames(train, valid, test, LABELS, DEFAULT_POSTPROCESSING)
    louder = [test[0], *(replace(one, embedding=50 * one.embedding) for one in test[1:])]
    again = probe_frames(train, valid, louder, LABELS, DEFAULT_POSTPROCESSING)
    assert again.events[test[0].name] == once.events[test[0].name]
