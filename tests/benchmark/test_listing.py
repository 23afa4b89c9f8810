"""`--list` says of every task what it is, where it is from and what of it is present."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.data.clip import Clip
from benchmark.data.registry import load_tasks
from benchmark.listing import catalogue, describe, presence
from tests.synth import TREES

TASKS = load_tasks()


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A data folder with a small tree of every task, and its listing."""
    folder = tmp_path_factory.mktemp("data")
    for name, make in TREES.items():
        make(folder / (TASKS[name].folder or name))
    return folder, catalogue(TASKS.values(), folder)


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
    assert f"absent: {root} is no folder; put there {TASKS[name].layout}" in text
    assert not list(tmp_path.iterdir())


def test_a_complete_task_is_complete_only_with_all_its_files(tmp_path: Path) -> None:
    clips = [Clip(f"{i}", f"{i}.wav", label, "fold01", "") for i, label in enumerate("ab")]
    task = replace(
        TASKS["esc50"], classes=("a", "b"), n_clips=2, index=lambda root: list(clips)
    )
    for clip in clips:
        (tmp_path / clip.path).touch()
    assert presence(task, tmp_path) == f"complete in {tmp_path}"
    (tmp_path / "1.wav").unlink()
    assert presence(task, tmp_path).startswith("partial in")
