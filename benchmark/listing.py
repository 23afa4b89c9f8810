"""What `python -m benchmark.run --list` says of every task: counts, split, sources, presence."""

from collections.abc import Iterable
from pathlib import Path

from benchmark.data.clip import Task, TaskDataError
from benchmark.data.registry import completeness, task_root


def describe(task: Task, data_dir: Path | None = None) -> str:
    """Return a task's facts and what of it is present, as lines.

    Args:
        task: to describe.
        data_dir: folder of the data sets; None takes the default.
    """
    split = "folds, each tested once" if task.split_policy == "folds" else "train, valid, test"
    lines = [
        f"{task.name}: {task.title}",
        f"  {task.n_clips} clips, {len(task.classes)} classes, split: {split}",
        f"  licence: {task.licence}",
        f"  source: {task.source}",
        f"  {presence(task, task_root(task, data_dir))}",
    ]
    if task.note:
        lines.insert(2, f"  note: {task.note}")
    return "\n".join(lines)


def presence(task: Task, root: Path) -> str:
    """Return what of a task lies below its root; nothing is rendered or downloaded for it."""
    if not root.is_dir():
        return f"absent: {root} is no folder; put there {task.layout}"
    try:
        clips = task.index(root)
    except TaskDataError as error:
        return f"absent: {error}"
    lack = completeness(task, clips, root)
    return f"partial in {root}: {lack}" if lack else f"complete in {root}"


def catalogue(tasks: Iterable[Task], data_dir: Path | None = None) -> str:
    """Return the description of all tasks, a blank line between two."""
    return "\n\n".join(describe(task, data_dir) for task in tasks)
