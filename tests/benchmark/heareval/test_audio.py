"""HEAR task folders as a source: files at the best rate there is, and faults by name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmark.data.clip import Clip, TaskDataError
from benchmark.data.hear_folder import HearTask, hear_source, read_task
from benchmark.heareval.audio import audio_at, faintness
from tests.benchmark.data.test_hear_folder import EVENTS, small, write


def listed(hear: HearTask) -> list[Clip]:
    return hear_source(hear).index(hear.folder)


def files(hear: HearTask, rate: int, workers: int = 1) -> dict[str, Path]:
    """The file of every clip by its id."""
    clips = audio_at(hear, listed(hear), rate, workers)
    return {clip.clip_id: hear.folder / clip.path for clip in clips}


def test_clips_at_another_rate_are_those_of_the_highest_there_is(tmp_path: Path) -> None:
    hear = read_task(write(tmp_path / "beeps-1.0-small", small()))
    for clip in listed(hear)[:-1]:  # all but one at a second, lower rate
        path = hear.folder / "22050" / clip.path
        path.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(path, np.zeros(100), 22050)
    paths = files(hear, 16000, workers=3)
    assert paths == files(hear, 22050)
    assert paths == {c.clip_id: hear.folder / "44100" / c.path for c in listed(hear)}


def test_a_folder_that_has_all_clips_at_the_rate_is_used_as_it_is(tmp_path: Path) -> None:
    hear = read_task(write(tmp_path / "beeps-1.0-small", small(), rate=16000))
    paths = files(hear, 16000)
    assert paths["valid/b.wav"] == hear.folder / "16000" / "valid" / "b.wav"


def test_a_set_that_peaks_under_60_db_is_noted(tmp_path: Path) -> None:
    folder = write(tmp_path / "beeps-1.0-small", small())
    hear = read_task(folder)
    clips = audio_at(hear, listed(hear), 16000)
    assert faintness(hear, clips) == []
    for path in folder.rglob("*.wav"):
        soundfile.write(path, 1e-4 * np.ones(2000), 44100, subtype="FLOAT")
    (note,) = faintness(hear, clips)
    assert "peaks at -80 dB" in note


def test_labels_of_several_and_events_are_part_of_what_identifies_the_data(tmp_path: Path) -> None:
    hear = read_task(write(tmp_path / "beeps-1.0-small", small(c=["high"])))
    task = hear_source(hear)
    assert (task.name, task.classes, task.split_policy) == (
        "beeps-1.0-small",
        ("low", "high"),
        "fixed",
    )
    by_id = {clip.clip_id: clip for clip in listed(hear)}
    assert (by_id["train/c.wav"].label, by_id["train/c.wav"].split) == ("high", "train")
    event = {"label": "low", "start": 1, "end": 2}
    clips = {"a.wav": [event], "b.wav": []}
    folder = write(
        tmp_path / "x-1.0-small", dict.fromkeys(("train", "valid", "test"), clips), **EVENTS
    )
    labels = {clip.label for clip in listed(read_task(folder))}
    assert labels == {'[{"end": 2, "label": "low", "start": 1}]', "[]"}


def absent(folder: Path) -> None:
    (folder / "44100" / "valid" / "b.wav").unlink()


def other_rate(folder: Path) -> None:
    soundfile.write(folder / "44100" / "valid" / "b.wav", np.zeros(9), 22050)


def stereo(folder: Path) -> None:
    soundfile.write(folder / "44100" / "valid" / "b.wav", np.zeros((9, 2)), 44100)


def no_sound(folder: Path) -> None:
    (folder / "44100" / "valid" / "b.wav").write_text("no sound")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (absent, "no such file, nor at another rate"),
        (other_rate, "22050 Hz in a folder of one channel at 44100 Hz"),
        (stereo, "2 channels"),
        (no_sound, "is not audio"),
    ],
)
@pytest.mark.parametrize("rate", [16000, 44100])
def test_audio_that_is_not_what_the_folder_says_is_named(
    tmp_path: Path, rate: int, damage: Callable[[Path], None], message: str
) -> None:
    folder = write(tmp_path / "beeps-1.0-small", small())
    damage(folder)
    with pytest.raises(TaskDataError, match=message) as caught:
        files(read_task(folder), rate)
    assert "valid/b.wav" in str(caught.value)
    assert "\n" not in str(caught.value)
