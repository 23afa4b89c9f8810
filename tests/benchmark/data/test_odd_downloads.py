"""What real downloads look like beside the official layout, and lists that make no split."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from benchmark import run
from benchmark.data.clip import TaskDataError
from benchmark.data.registry import (
    absent_files,
    completeness,
    data_folder,
    load_tasks,
    task_root,
)
from benchmark.data.split import make_folds
from benchmark.data.tasks import speech_commands, voxceleb1, voxforge
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
    assert TASKS["ravdess"].index(tmp_path) == clips


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
    TREES["speech_commands"](tmp_path / "somewhere")
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


def moved(root: Path, **moves: str) -> list[tuple[str, ...]]:
    """What is listed of UrbanSound8K before files of its tree are moved, which is done here."""
    TREES["urbansound8k"](root)
    before = TASKS["urbansound8k"].index(root)
    for clip in before if moves else ():
        target = root / moves["clip"].format(fold=int(clip.split[4:]), name=clip.clip_id)
        target.parent.mkdir(parents=True, exist_ok=True)
        (root / clip.path).rename(target)
    if moves:
        (root / "UrbanSound8K/metadata/UrbanSound8K.csv").rename(root / moves["table"])
        shutil.rmtree(root / "UrbanSound8K")
    return [(clip.clip_id, clip.label, clip.split, clip.group) for clip in before]


@pytest.mark.parametrize("clip", ["fold{fold}/{name}", "audio/{name}", "{name}"])
def test_urbansound8k_may_be_flat(tmp_path: Path, clip: str) -> None:
    before = moved(tmp_path, clip=clip, table="UrbanSound8K.csv")
    clips = TASKS["urbansound8k"].index(tmp_path)
    assert [(c.clip_id, c.label, c.split, c.group) for c in clips] == before
    assert absent_files(clips, tmp_path) == []


@pytest.mark.parametrize(("dev", "test"), [("dev", "test"), ("vox1_dev_wav", "vox1_test_wav")])
def test_voxceleb1_may_lie_as_its_two_archives_unpack(tmp_path: Path, dev: str, test: str) -> None:
    TREES["voxceleb1"](tmp_path)
    before = TASKS["voxceleb1"].index(tmp_path)
    for folder, speaker in ((dev, "id10001"), (test, "id10270")):
        (tmp_path / folder / "wav").mkdir(parents=True)
        (tmp_path / "wav" / speaker).rename(tmp_path / folder / "wav" / speaker)
    (tmp_path / "wav").rmdir()
    clips = TASKS["voxceleb1"].index(tmp_path)
    assert [(c.clip_id, c.split, c.group) for c in clips] == [
        (c.clip_id, c.split, c.group) for c in before
    ]
    assert absent_files(clips, tmp_path) == []


@pytest.mark.parametrize("name", ["esc50", "urbansound8k", "speech_commands", "ravdess"])
def test_an_archive_may_be_unpacked_in_the_data_folder_itself(tmp_path: Path, name: str) -> None:
    task = TASKS[name]
    TREES[name](tmp_path / "inside")
    TREES[name](tmp_path / "beside" / ("" if name in ("esc50", "urbansound8k") else task.top))
    root = task_root(task, tmp_path / "beside")
    assert root.name == task.top
    ids = [clip.clip_id for clip in task.index(root)]
    assert ids == [clip.clip_id for clip in task.index(tmp_path / "inside")]
    assert absent_files(task.index(root), root) == []
    (tmp_path / "beside" / name).mkdir()  # the usual place goes first
    assert task_root(task, tmp_path / "beside").name == name


def test_speech_commands_may_lie_in_a_folder_of_the_archives_name(tmp_path: Path) -> None:
    TREES["speech_commands"](tmp_path / "a")
    TREES["speech_commands"](tmp_path / "b" / "speech_commands_v0.02")
    for name in ("speech_commands", "speech_commands_folds", "speech_commands_keywords"):
        plain, inside = (TASKS[name].index(tmp_path / folder) for folder in "ab")
        assert [(c.clip_id, c.split) for c in plain] == [(c.clip_id, c.split) for c in inside]
        assert absent_files(inside, tmp_path / "b") == []


def test_shadows_that_macos_leaves_are_no_clips(tmp_path: Path) -> None:
    for name, make in TREES.items():
        make(tmp_path / name)
        before = TASKS[name].index(tmp_path / name)
        for path in [*(tmp_path / name).rglob("*.wav"), *(tmp_path / name).rglob("Actor_*")]:
            (path.parent / f"._{path.name}").write_bytes(b"Mac OS X")
        (tmp_path / name / "__MACOSX").mkdir(exist_ok=True)
        assert TASKS[name].index(tmp_path / name) == before


@pytest.mark.parametrize("change", ["./{}", ".\\{}", "{}"])
def test_lists_of_another_spelling_are_matched(tmp_path: Path, change: str) -> None:
    TREES["speech_commands"](tmp_path)
    before = TASKS["speech_commands"].index(tmp_path)
    for name in ("validation_list.txt", "testing_list.txt"):
        lines = (tmp_path / name).read_text().splitlines()
        if change == "{}":
            lines = [line.upper() for line in lines]
        elif "\\" in change:
            lines = [line.replace("/", "\\") for line in lines]
        (tmp_path / name).write_text("\n".join(change.format(line) for line in lines))
    assert TASKS["speech_commands"].index(tmp_path) == before
    assert speech_commands.convention(tmp_path).count("(0 lines fit no file)") == 2


def test_a_list_of_which_no_line_fits_is_named_and_others_are_counted(tmp_path: Path) -> None:
    TREES["speech_commands"](tmp_path)
    table = tmp_path / "testing_list.txt"
    lines = table.read_text().splitlines()
    table.write_text("\n".join(["elsewhere/1.wav", *lines]))
    assert "testing_list.txt (1 lines fit no file)" in speech_commands.convention(tmp_path)
    table.write_text("\n".join(f"data/{line}" for line in lines))
    with pytest.raises(TaskDataError, match=r"testing_list.txt: none of its 3 lines fits a file"):
        TASKS["speech_commands"].index(tmp_path)


@pytest.mark.parametrize("path", ["../../etc/passwd", "/etc/passwd", "..\\x.wav", "C:\\x.wav"])
def test_a_list_names_no_file_outside_its_folder(tmp_path: Path, path: str) -> None:
    TREES["voxforge"](tmp_path / "v")
    (tmp_path / "v" / "voxforge.csv").write_text(f"file_name,label,split\n{path},de,train\n")
    TREES["voxceleb1"](tmp_path / "x")
    (tmp_path / "x" / "iden_split.txt").write_text(f"1 {path}\n")
    for name, folder in (("voxforge", "v"), ("voxceleb1", "x")):
        with pytest.raises(TaskDataError, match="leads out of the task's folder"):
            TASKS[name].index(tmp_path / folder)


def test_pointers_and_links_that_lead_nowhere_are_absent(tmp_path: Path) -> None:
    TREES["esc50"](tmp_path)
    clips = TASKS["esc50"].index(tmp_path)
    paths = [tmp_path / clip.path for clip in clips[:5]]
    paths[0].write_text(f"version https://git-lfs.github.com/spec/v1\noid sha256:{'0' * 64}\n")
    paths[1].unlink()
    paths[1].symlink_to("../.git/annex/objects/xyz")
    paths[2].unlink()
    os.mkfifo(paths[2])
    paths[3].rename(paths[3].with_suffix(".kept"))
    paths[3].symlink_to(paths[3].with_suffix(".kept").name)  # leads to the sound
    paths[4].unlink()
    gone = absent_files(clips, tmp_path)
    assert gone == [clips[i].path for i in (0, 1, 2, 4)]
    assert "4 of 30 listed files are absent" in str(completeness(TASKS["esc50"], clips, gone))


def test_without_a_home_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WAVEBYOL_DATA", raising=False)
    monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as without HOME and passwd
    with pytest.raises(TaskDataError, match="set HOME, or give --data-dir"):
        data_folder()
    assert data_folder("data") == Path("data")
