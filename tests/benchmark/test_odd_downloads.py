"""What real downloads look like beside the official layout, and lists that make no split."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmark import run
from benchmark.data.clip import TaskDataError
from benchmark.data.registry import load_tasks
from benchmark.data.split import make_folds
from benchmark.data.tasks import voxceleb1, voxforge
from tests.synth import TREES, write_tone

TASKS = load_tasks()
CHANCE = "baselines.content_random"


def test_ravdess_may_lie_in_a_folder_of_the_archives_name(tmp_path: Path) -> None:
    TREES["ravdess"](tmp_path / "Audio_Speech_Actors_01-24")
    clips = TASKS["ravdess"].index(tmp_path)
    assert len(clips) == 48
    assert all((tmp_path / clip.path).is_file() for clip in clips)
    # Some mirrors hold all actors twice, flat and in that folder: each sentence counts once.
    TREES["ravdess"](tmp_path)
    assert [clip.path.split("/")[0][:6] for clip in TASKS["ravdess"].index(tmp_path)][::47] == [
        "Actor_",
        "Actor_",
    ]
    assert len(TASKS["ravdess"].index(tmp_path)) == 48


def test_voxforge_leaves_flac_out_and_deals_its_speakers_as_tfds_does(tmp_path: Path) -> None:
    TREES["voxforge"](tmp_path)  # speakers 0 have FLAC
    clips = TASKS["voxforge"].index(tmp_path)
    assert len(clips) == 2 * 9 * 2
    assert all(clip.path.endswith(".wav") for clip in clips)
    everyone = [f"{lang}speaker{number}" for lang in ("de", "ru") for number in range(10)]
    splits = voxforge.speaker_splits(everyone)
    assert {clip.group: clip.split for clip in clips}.items() < splits.items()
    # Whoever keeps a FLAC copy beside the WAV has no more clips than before.
    archive = (tmp_path / clips[0].path).parent.parent
    write_tone(archive / "flac" / "de-00.flac", 0.1, 1)
    assert TASKS["voxforge"].index(tmp_path) == clips


def test_a_video_that_the_published_list_parts_is_counted_and_not_refused(tmp_path: Path) -> None:
    TREES["voxceleb1"](tmp_path)
    assert "; 0 of 6 videos are in two parts" in voxceleb1.convention(tmp_path)
    table = tmp_path / "iden_split.txt"
    text = table.read_text()
    table.write_text(text.replace("1 id10001/video1/00002.wav", "2 id10001/video1/00002.wav"))
    assert "; 1 of 6 videos are in two parts" in voxceleb1.convention(tmp_path)
    clips = TASKS["voxceleb1"].index(tmp_path)
    columns = (np.array([getattr(c, name) for c in clips]) for name in ("split", "group"))
    (fold,) = make_folds("fixed", *columns)
    assert (len(fold.train), len(fold.valid), len(fold.test)) == (3, 5, 4)


def test_a_recording_that_urbansound8ks_own_folds_part_is_no_reason_to_refuse(
    tmp_path: Path,
) -> None:
    # In the official table five recordings have slices in two folds, such as 180937: fold 1
    # jackhammer, fold 9 drilling.
    TREES["urbansound8k"](tmp_path)
    table = tmp_path / "UrbanSound8K" / "metadata" / "UrbanSound8K.csv"
    text = table.read_text()
    assert text.count(",903,") == 2
    table.write_text(text.replace(",903,", ",108,"))  # now in fold 1 a siren, in fold 9 a dog bark
    clips = TASKS["urbansound8k"].index(tmp_path)
    columns = (np.array([getattr(c, name) for c in clips]) for name in ("split", "group"))
    assert len(make_folds("folds", *columns)) == 10
    assert "5 of 1,297 recordings have slices in two folds" in TASKS["urbansound8k"].note


def test_a_recording_that_esc50s_own_folds_part_is_no_reason_to_refuse(tmp_path: Path) -> None:
    # In the official table four recordings have clips in two folds, such as 134049 in 2 and 3.
    TREES["esc50"](tmp_path)
    table = tmp_path / "ESC-50-master" / "meta" / "esc50.csv"
    text = table.read_text()
    assert text.count(",3100,") == 2
    table.write_text(text.replace(",3100,", ",2100,"))
    clips = TASKS["esc50"].index(tmp_path)
    columns = (np.array([getattr(c, name) for c in clips]) for name in ("split", "group"))
    assert len(make_folds("folds", *columns)) == 5
    assert "4 of 1,524 recordings have clips in two folds" in TASKS["esc50"].note


def test_a_folder_of_folders_is_no_folder_of_words(tmp_path: Path) -> None:
    TREES["speech_commands"](tmp_path / "speech_commands_v0.02")
    with pytest.raises(TaskDataError, match="no folder of words is there"):
        TASKS["speech_commands_folds"].index(tmp_path)


def test_a_list_that_parts_a_speaker_is_refused_before_anything_is_embedded(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    TREES["speech_commands"](tmp_path / "speech_commands")
    table = tmp_path / "speech_commands" / "validation_list.txt"
    table.write_text(table.read_text().splitlines()[0] + "\n")
    shutil.rmtree(tmp_path / "speech_commands" / "_background_noise_")
    asked = ["--tasks", "speech_commands", "--models", CHANCE, "--allow-partial"]
    where = ["--data-dir", str(tmp_path), "--out", str(tmp_path / "out"), "--workers", "0"]
    assert run.main([*asked, *where]) == 1
    assert "group '00000004' is in the parts" in capsys.readouterr().err
    assert not (tmp_path / "embeddings").exists()


def test_an_nsynth_instrument_may_be_in_valid_and_test_and_is_a_group_in_each(
    tmp_path: Path,
) -> None:
    for split, instrument in (
        ("train", "reed_acoustic_001"),
        *((s, "bass_synthetic_033") for s in ("valid", "test")),
    ):
        folder = tmp_path / f"nsynth-{split}"
        folder.mkdir()
        names = [
            f"{instrument}-{pitch:03d}-{velocity:03d}"
            for pitch in (22, 23)
            for velocity in (50, 75)
        ]
        notes = {name: {"instrument_family_str": instrument.split("_")[0]} for name in names}
        (folder / "examples.json").write_text(json.dumps(notes))
    clips = TASKS["nsynth"].index(tmp_path)
    groups = [clip.group for clip in clips]
    assert len(groups) == 12
    assert sorted(set(groups)) == [
        "test/bass_synthetic_033",
        "train/reed_acoustic_001",
        "valid/bass_synthetic_033",
    ]
    splits = np.array([clip.split for clip in clips])
    assert len(make_folds("fixed", splits, np.array(groups))) == 1
