"""`--list` says of every task what it is, where it is from and what of it is present."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.data.clip import Clip, TaskDataError
from benchmark.data.listing import describe, presence, task_table
from benchmark.data.registry import list_clips, load_tasks
from tests.synth import TREES

TASKS = load_tasks()


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A data folder with a small tree of every task, and its listing."""
    folder = tmp_path_factory.mktemp("data")
    for name, make in TREES.items():
        make(folder / (TASKS[name].folder or name))
    return folder, "\n\n".join(describe(task, folder) for task in TASKS.values())


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_listed_with_all_its_facts(name: str, listed: tuple[Path, str]) -> None:
    task, (folder, text) = TASKS[name], listed
    (block,) = [part for part in text.split("\n\n") if part.startswith(f"{name}: ")]
    assert task.title in block
    assert f"{task.n_clips} clips, {len(task.classes)} classes" in block
    assert ("each tested once" if task.split_policy == "folds" else "train, valid, test") in block
    assert f"licence: {task.licence}" in block
    for source in task.sources:
        assert source.url in block
        assert source.checksum in block
    assert task.note in block
    root = folder / (task.folder or name)
    if name == "notes":
        assert "absent" in block  # not rendered for a listing
    else:
        there = len(task.index(root))
        assert f"partial in {root}: {there} of {task.n_clips} clips are listed" in block


@pytest.mark.parametrize("name", TASKS)
def test_an_absent_task_says_what_to_put_where(name: str, tmp_path: Path) -> None:
    text = describe(TASKS[name], tmp_path)
    root = tmp_path / (TASKS[name].folder or name)
    assert f"absent: {root} is not a folder; put there {TASKS[name].layout}" in text
    assert not list(tmp_path.iterdir())


def test_the_table_has_a_row_per_task_and_the_command_that_fetches_what_is_absent(
    tmp_path: Path,
) -> None:
    text = task_table(TASKS.values(), tmp_path)
    # Lines on which a long title or state goes on begin with the first column empty.
    rows = {line.split()[0]: line for line in text.splitlines() if line[1:2].strip()}
    assert set(TASKS) <= set(rows)
    for name, task in TASKS.items():
        assert f"{task.n_clips:,}" in rows[name]
        assert (
            "the first run renders it" in rows[name] if name == "notes" else "absent" in rows[name]
        )
    assert "python -m benchmark.download esc50" in " ".join(text.split())


def test_a_folder_that_may_not_be_read_is_said_and_the_others_go_on(tmp_path: Path) -> None:
    def closed(root: Path) -> list[Clip]:
        raise PermissionError(13, "Permission denied")

    (tmp_path / "esc50").mkdir()
    task = replace(TASKS["esc50"], index=closed)
    assert presence(task, tmp_path / "esc50").startswith("unreadable: ")


def test_a_complete_task_is_complete_only_with_all_its_files(tmp_path: Path) -> None:
    clips = [Clip(f"{i}", f"{i}.wav", label, "fold01", "") for i, label in enumerate("ab")]
    task = replace(TASKS["esc50"], classes=("a", "b"), n_clips=2, index=lambda root: list(clips))
    for clip in clips:
        (tmp_path / clip.path).touch()
    assert presence(task, tmp_path).startswith("there: all ")
    (tmp_path / "1.wav").unlink()
    assert presence(task, tmp_path).startswith("partial in")


def test_capitals_of_a_list_may_differ_from_those_of_the_files(tmp_path: Path) -> None:
    listed = ("audio/A.WAV", "audio/b.wav", "audio/C.wav", "audio/d.wav")
    clips = [Clip(path, path, "a", "fold01", "") for path in listed]
    task = replace(TASKS["esc50"], index=lambda root: list(clips))
    (tmp_path / "audio").mkdir()
    for name in ("a.wav", "B.wav", "c.wav", "C.WAV"):  # two that may be meant by C.wav
        (tmp_path / "audio" / name).touch()
    found = list_clips(task, tmp_path)
    assert [c.path for c in found] == ["audio/a.wav", "audio/B.wav", "audio/C.wav", "audio/d.wav"]
    assert [c.clip_id for c in found] == list(listed)


@pytest.mark.parametrize("name", ["esc50", "speech_commands_folds", "nsynth"])
def test_a_missing_task_says_the_command_that_fetches_it(name: str, tmp_path: Path) -> None:
    folder = TASKS[name].folder or name
    with pytest.raises(TaskDataError, match=f"run python -m benchmark.download {folder}, or"):
        list_clips(TASKS[name], tmp_path / "absent")
