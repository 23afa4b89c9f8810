"""The output of `python -m benchmark.run --list`: a table of all tasks, or details of some."""

import sys
from collections.abc import Iterable
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from benchmark.data.clip import Task, TaskDataError
from benchmark.data.registry import absent_files, completeness, list_clips, task_root

WIDTH = 160  # columns of a table that is not for a terminal


def presence(task: Task, root: Path) -> str:
    """Return whether the data of a task is there; nothing is rendered or downloaded."""
    try:
        if not root.is_dir():
            return f"absent: {root} is not a folder; put there {task.layout}"
        clips = list_clips(task, root)
        lack = completeness(task, clips, absent_files(clips, root))
    except TaskDataError as error:
        return f"absent: {error}"
    except OSError as error:
        return f"unreadable: {root} ({error.strerror}); correct its permissions"
    if lack:
        return f"partial in {root}: {lack}"
    return f"there: all {len(clips)} files are in {root} (not opened)"


def describe(task: Task, data_dir: Path | None = None) -> str:
    """Return the description of a task and the state of its data, as lines."""
    split = "folds, each tested once" if task.split_policy == "folds" else "train, valid, test"
    lines = [
        f"{task.name}: {task.title}",
        *([f"note: {task.note}"] if task.note else []),
        f"{task.n_clips} clips, {len(task.classes)} classes, split: {split}",
        f"licence: {task.licence}",
        f"source: {task.source}",
        presence(task, task_root(task, data_dir)),
    ]
    return "\n  ".join(lines)


def task_table(tasks: Iterable[Task], data_dir: Path | None = None) -> str:
    """Return a table with one row per task and the state of its data, as wide as the terminal."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for i, head in enumerate(("task", "title", "clips", "classes", "split", "state")):
        table.add_column(head, no_wrap=i == 0)
    for task in tasks:
        state = presence(task, task_root(task, data_dir))
        if state.startswith("absent"):
            state = f"absent: {task.download_command or task.layout}"
        numbers = f"{task.n_clips:,}", f"{len(task.classes):,}"
        table.add_row(task.name, task.title, *numbers, task.split_policy, state)
    width = None if sys.stdout.isatty() else WIDTH
    console = Console(width=width, markup=False, emoji=False, highlight=False, color_system=None)
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())
