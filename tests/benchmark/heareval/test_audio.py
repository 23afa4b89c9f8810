"""HEAR task folders as a source: float copies by content, in our cache, and faults by name."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

from benchmark.data.clip import Clip, TaskDataError
from benchmark.data.hear_folder import HearTask, hear_source, read_task
from benchmark.heareval.audio import audio_at, faintness
from tests.benchmark.data.test_hear_folder import EVENTS, small, write


def listed(hear: HearTask) -> list[Clip]:
    return hear_source(hear).index(hear.folder)


def files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def copies(hear: HearTask, rate: int, cache: Path, workers: int = 1) -> dict[str, Path]:
    """The file of every clip by its id."""
    root, clips = audio_at(hear, listed(hear), rate, cache, workers)
    return {clip.clip_id: root / clip.path for clip in clips}


def test_copies_are_what_soxr_makes_and_made_once_outside_the_users_folder(tmp_path: Path) -> None:
    hear = read_task(write(tmp_path / "beeps-1.0-small", small()))
    before = files(hear.folder)
    paths = copies(hear, 16000, tmp_path / "cache", workers=3)
    assert set(paths) == {clip.clip_id for clip in listed(hear)}
    for name in ("a.wav", "b.wav"):
        source, rate = soundfile.read(hear.folder / "44100" / "test" / name, dtype="float32")
        wave, new_rate = soundfile.read(paths[f"test/{name}"], dtype="float32")
        assert (rate, new_rate) == (44100, 16000)
        np.testing.assert_array_equal(wave, soxr.resample(source, 44100, 16000))
    assert files(hear.folder) == before
    made = files(tmp_path / "cache")
    assert copies(hear, 16000, tmp_path / "cache") == paths
    assert files(tmp_path / "cache") == made


@pytest.mark.parametrize("peak", [1.5, 1e-3, 3e-6])
def test_a_copy_keeps_faint_and_loud_audio_to_24_bits(tmp_path: Path, peak: float) -> None:
    folder = write(tmp_path / "beeps-1.0-small", small())
    wave = peak * np.random.default_rng(0).uniform(-1, 1, 22050).astype(np.float32)
    soundfile.write(folder / "44100/test/a.wav", wave, 44100, subtype="FLOAT")
    path = copies(read_task(folder), 16000, tmp_path / "cache")["test/a.wav"]
    kept, _ = soundfile.read(path, dtype="float64")
    exact = soxr.resample(wave, 44100, 16000).astype(np.float64)
    noise = np.sqrt(np.mean((kept - exact) ** 2))
    assert noise <= 1e-6 * np.sqrt(np.mean(exact**2))  # 16 bits leave -0.8 dB of 3e-6


def test_a_changed_source_has_another_copy_and_the_others_theirs(tmp_path: Path) -> None:
    folder = write(tmp_path / "beeps-1.0-small", small())
    before = copies(read_task(folder), 16000, tmp_path / "cache")
    soundfile.write(folder / "44100/test/a.wav", np.zeros(22050), 44100)
    after = copies(read_task(folder), 16000, tmp_path / "cache")
    assert {clip for clip in before if before[clip] != after[clip]} == {"test/a.wav"}
    assert not soundfile.read(after["test/a.wav"])[0].any()


def test_a_folder_that_has_all_clips_at_the_rate_is_used_as_it_is(tmp_path: Path) -> None:
    hear = read_task(write(tmp_path / "beeps-1.0-small", small(), rate=16000))
    paths = copies(hear, 16000, tmp_path / "cache")
    assert paths["valid/b.wav"] == hear.folder / "16000" / "valid" / "b.wav"
    assert not (tmp_path / "cache").exists()


def test_a_set_that_peaks_under_60_db_is_noted(tmp_path: Path) -> None:
    folder = write(tmp_path / "beeps-1.0-small", small())
    hear = read_task(folder)
    assert faintness(hear, folder / "44100", listed(hear)) == []
    for path in folder.rglob("*.wav"):
        soundfile.write(path, 1e-4 * np.ones(2000), 44100, subtype="FLOAT")
    (note,) = faintness(hear, folder / "44100", listed(hear))
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
        (no_sound, "is no audio"),
    ],
)
@pytest.mark.parametrize("rate", [16000, 44100])
def test_audio_that_is_not_what_the_folder_says_is_named(
    tmp_path: Path, rate: int, damage: Callable[[Path], None], message: str
) -> None:
    folder = write(tmp_path / "beeps-1.0-small", small())
    damage(folder)
    with pytest.raises(TaskDataError, match=message) as caught:
        copies(read_task(folder), rate, tmp_path / "cache")
    assert "valid/b.wav" in str(caught.value)
    assert "\n" not in str(caught.value)
