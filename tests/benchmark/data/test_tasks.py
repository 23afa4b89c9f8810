"""One contract for all tasks, on small trees in their official layouts, and what each adds."""

import json
import time
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest

from benchmark.data.clip import FIXED, TaskDataError
from benchmark.data.registry import absent_files, completeness, data_folder, load_tasks, task_root
from benchmark.data.split import make_folds
from benchmark.data.tasks import voxforge
from tests.synth import TREES

TASKS = load_tasks()
# Splits that are random over clips by design, and say so in their note.
PAPER = {"ravdess_paper"}


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trees")
    for name, make in TREES.items():
        make(folder / name)
    return folder


def test_every_task_has_a_tree_here() -> None:
    assert set(TREES) == set(TASKS)


@pytest.mark.parametrize("name", TASKS)
def test_a_task_says_what_it_is(name: str) -> None:
    task = TASKS[name]
    assert len(set(task.classes)) == len(task.classes) >= 2
    assert task.licence
    assert task.citation
    assert task.layout
    assert all(source.url.startswith("http") for source in task.sources)
    assert all(s.checksum[:4] in ("", "md5:", "sha2") for s in task.sources)
    assert task.split_policy in ("folds", "fixed")


@pytest.mark.parametrize("name", TASKS)
def test_clips_keep_the_contract(name: str, trees: Path) -> None:
    task, root = TASKS[name], trees / name
    clips = task.index(root)
    assert len({clip.clip_id for clip in clips}) == len(clips) > 0
    assert {clip.label for clip in clips} <= set(task.classes)
    assert all((root / clip.path).is_file() for clip in clips)
    splits = {clip.split for clip in clips}
    if task.split_policy == "fixed":
        assert splits == {"train", "valid", "test"}
    else:
        assert splits == {f"fold{k:02d}" for k in range(1, len(splits) + 1)}
        assert len(splits) >= 3
    assert task.index(root) == clips


@pytest.mark.parametrize("name", sorted(set(TASKS) - PAPER))
def test_no_group_is_in_two_splits(name: str, trees: Path) -> None:
    homes = defaultdict(set)
    for clip in TASKS[name].index(trees / name):
        homes[clip.group].add(clip.split)
    assert all(len(splits) == 1 for splits in homes.values())


@pytest.mark.parametrize("name", TASKS)
def test_no_clip_or_group_is_on_two_sides_of_a_fold(name: str, trees: Path) -> None:
    clips = TASKS[name].index(trees / name)
    splits = np.array([clip.split for clip in clips])
    groups = np.array([clip.group for clip in clips])
    folds = make_folds(TASKS[name].split_policy, splits, groups)
    for fold in folds:
        sides = [{clips[row].path for row in side} for side in (fold.train, fold.valid, fold.test)]
        assert all(sides)
        assert sum(map(len, sides)) == len(set().union(*sides)) == len(clips)
        homes = [{clips[row].group for row in side} for side in (fold.train, fold.valid, fold.test)]
        assert sum(map(len, homes)) == len(set(groups))
    if TASKS[name].split_policy == "folds":  # every clip is tested once
        tested = sorted(row for fold in folds for row in fold.test)
        assert tested == list(range(len(clips)))


@pytest.mark.parametrize("name", sorted(PAPER))
def test_a_split_that_parts_no_speakers_says_so(name: str, trees: Path) -> None:
    actors = defaultdict(set)
    for clip in TASKS[name].index(trees / name):
        actors[clip.path.split("/")[0]].add(clip.split)
    assert any(len(splits) > 1 for splits in actors.values())
    assert "both sides" in TASKS[name].note


@pytest.mark.parametrize("name", sorted(set(TASKS) - {"notes"}))
def test_missing_data_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(TaskDataError) as caught:
        TASKS[name].index(tmp_path / name)
    message = str(caught.value)
    assert str(tmp_path / name) in message
    assert TASKS[name].layout in message
    assert TASKS[name].sources[0].url in message
    assert "\n" not in message


@pytest.mark.parametrize("name", sorted(set(TASKS) - {"notes"}))
def test_a_partial_set_is_called_partial(name: str, trees: Path) -> None:
    task = TASKS[name]
    clips = task.index(trees / name)
    lacks = completeness(task, clips, absent_files(clips, trees / name))
    assert lacks is not None
    assert f"of {task.n_clips} clips" in lacks
    assert "absent" not in lacks


def test_listed_files_that_are_gone_are_counted(trees: Path, tmp_path: Path) -> None:
    TREES["esc50"](tmp_path)
    clips = TASKS["esc50"].index(tmp_path)
    (tmp_path / clips[3].path).unlink()
    lacks = completeness(TASKS["esc50"], clips, absent_files(clips, tmp_path))
    assert lacks is not None
    assert "1 of 30 listed files are absent" in lacks
    assert clips[3].path in lacks


def test_the_top_folder_may_be_left_out(trees: Path) -> None:
    for name, top in (("esc50", "ESC-50-master"), ("urbansound8k", "UrbanSound8K")):
        inside = TASKS[name].index(trees / name / top)
        assert [c.clip_id for c in inside] == [c.clip_id for c in TASKS[name].index(trees / name)]


def test_speech_commands_follow_the_lists(trees: Path) -> None:
    clips = TASKS["speech_commands"].index(trees / "speech_commands")
    assert Counter(c.split for c in clips) == {"train": 12, "valid": 3, "test": 3}
    assert {c.group for c in clips if c.split == "test"} == {"00000005"}
    assert not any("background" in c.path for c in clips)


def test_ravdess_takes_speech_only_and_balances_the_folds(trees: Path) -> None:
    clips = TASKS["ravdess"].index(trees / "ravdess")
    assert len(clips) == 48
    assert {c.label for c in clips} == {"neutral", "angry"}
    actors = defaultdict(set)
    for clip in clips:
        actors[clip.split].add(int(clip.group.removeprefix("actor")))
    assert [len(numbers) for numbers in actors.values()] == [4] * 6
    assert all(sum(actor % 2 for actor in numbers) == 2 for numbers in actors.values())


def test_ravdess_paper_tests_on_a_quarter(trees: Path) -> None:
    splits = Counter(c.split for c in TASKS["ravdess_paper"].index(trees / "ravdess_paper"))
    assert splits["test"] == 48 // 4
    assert splits["valid"] == 36 // 5


def test_voxforge_deals_speakers_as_tfds_does() -> None:
    # Re-computed from the description: sorted, shuffled by RandomState(0), cut at 70 and 80 %.
    names = [f"speaker{i}" for i in range(20)]
    order = np.random.RandomState(0).permutation(20)
    shuffled = [sorted(names)[i] for i in order]
    splits = voxforge.speaker_splits(names * 3)
    assert [splits[name] for name in shuffled[:14]] == ["train"] * 14
    assert {splits[name] for name in shuffled[14:15]} == {"valid"}
    # 0.7 + 0.1 is just below 0.8, so the second cut is at 15, as it is in TFDS.
    assert {splits[name] for name in shuffled[16:]} == {"test"}
    assert splits[shuffled[15]] == "test"


def test_voxforge_says_which_split_it_took(trees: Path, tmp_path: Path) -> None:
    TREES["voxforge"](tmp_path)
    assert "TensorFlow" in voxforge.convention(tmp_path)
    rows = [c.path for c in TASKS["voxforge"].index(tmp_path)]
    table = [f"{path},{path[:2]},{s}" for path, s in zip(rows, FIXED * 99, strict=False)]
    (tmp_path / "voxforge.csv").write_text("file_name,label,split\n" + "\n".join(table) + "\n")
    assert "voxforge.csv" in voxforge.convention(tmp_path)
    assert [c.split for c in TASKS["voxforge"].index(tmp_path)][:3] == list(FIXED)


@pytest.mark.parametrize(
    ("name", "file", "old", "new", "reason"),
    [
        ("esc50", "ESC-50-master/meta/esc50.csv", "category", "kind", "column category"),
        ("esc50", "ESC-50-master/meta/esc50.csv", ",1,0,", ",9,0,", "line 2: fold '9'"),
        ("urbansound8k", "UrbanSound8K/metadata/UrbanSound8K.csv", ",siren", ",", "no class"),
        ("nsynth", "nsynth-test/examples.json", "}", "", "not valid JSON"),
        ("nsynth", "nsynth-test/examples.json", "instrument_family_str", "x", "has no instrument"),
        ("voxceleb1", "iden_split.txt", "3 id10001", "4 id10001", "line 5"),
    ],
)
def test_a_malformed_table_is_named(
    name: str, file: str, old: str, new: str, reason: str, tmp_path: Path
) -> None:
    TREES[name](tmp_path)
    content = (tmp_path / file).read_text()
    assert old in content
    (tmp_path / file).write_text(content.replace(old, new))
    with pytest.raises(TaskDataError, match=reason) as caught:
        TASKS[name].index(tmp_path)
    assert Path(file).name in str(caught.value)


def test_the_two_largest_sets_are_listed_quickly(tmp_path: Path) -> None:
    for split, count in (("train", 289205), ("valid", 12678), ("test", 4096)):
        folder = tmp_path / "nsynth" / f"nsynth-{split}"
        folder.mkdir(parents=True)
        note = {"instrument_family_str": "bass", "pitch": 1, "velocity": 25, "sample_rate": 16000}
        notes = {f"{split}-{i:06d}": note for i in range(count)}
        (folder / "examples.json").write_text(json.dumps(notes))
    vox = tmp_path / "voxceleb1"
    (vox / "wav").mkdir(parents=True)
    lines = [f"{1 + i % 3} id{10001 + i % 1251}/v{i % 3}/{i:05d}.wav" for i in range(153516)]
    (vox / "iden_split.txt").write_text("\n".join(lines))
    for name in ("nsynth", "voxceleb1"):
        start = time.process_time()  # a busy machine is not the task's fault
        clips = TASKS[name].index(tmp_path / name)
        assert time.process_time() - start < 20
        assert len(clips) == TASKS[name].n_clips


def test_the_data_folder_is_the_option_then_the_variable_then_the_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WAVEBYOL_DATA", str(tmp_path / "variable"))
    assert data_folder(tmp_path / "option") == tmp_path / "option"
    assert task_root(TASKS["esc50"]) == tmp_path / "variable" / "esc50"
    shared = task_root(TASKS["speech_commands_folds"])
    assert shared == tmp_path / "variable" / "speech_commands"
    monkeypatch.delenv("WAVEBYOL_DATA")
    assert data_folder() == Path.home() / ".cache" / "wavebyol_hear"


def test_a_part_of_esc50_has_its_official_folds(esc50_root: Path) -> None:
    clips = TASKS["esc50"].index(esc50_root)
    assert Counter(c.split for c in clips) == {f"fold{k:02d}": 12 for k in range(1, 6)}
    # The official file name repeats fold, recording and class number.
    for clip in clips:
        fold, recording, _, target = clip.clip_id.removesuffix(".wav").split("-")
        assert (f"fold0{fold}", f"{recording}/fold{fold}") == (clip.split, clip.group)
        assert TASKS["esc50"].classes[int(target)] == clip.label
    lack = completeness(TASKS["esc50"], clips, absent_files(clips, esc50_root))
    assert lack is not None
    assert lack.startswith("60 of 2000 clips are listed; 44 of 50 classes have no clip")


def test_speech_commands_without_lists(tmp_path: Path) -> None:
    TREES["speech_commands"](tmp_path)
    for name in ("validation_list.txt", "testing_list.txt"):
        (tmp_path / name).unlink()
    with pytest.raises(TaskDataError, match=r"validation_list\.txt.*speech_commands_folds"):
        TASKS["speech_commands"].index(tmp_path)
    clips = TASKS["speech_commands_folds"].index(tmp_path)
    assert len(clips) == 18
    assert {c.label for c in clips} == {"yes", "no", "zero"}
    speakers = {c.clip_id.split("/")[1].split("_")[0]: c.split for c in clips}
    assert all(speakers[c.clip_id.split("/")[1].split("_")[0]] == c.split for c in clips)
