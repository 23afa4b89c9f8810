"""The 19 tasks of HEAR, and the task folders that names on the command line refer to.

Names, metrics, splits and sizes are those of https://hearbenchmark.com/hear-tasks.html; folders are
named `<name>-<version>-<mode>` there, so a task is known by a pattern that leaves the version open.
"""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from benchmark.data.clip import TaskDataError

PREFIX = "hear:"
TABLE = Path(__file__).with_name("hear_tasks.csv")
LINE = "{title}; {embedding}, {prediction}, {split}, {clips} clips of {seconds} s, {metric}"
SOURCE = "https://hearbenchmark.com/hear-tasks.html"


@dataclass(frozen=True)
class KnownTask:
    """One of the 19 tasks, as HEAR lists it."""

    name: str  #: ours, as in `--tasks hear:<name>`
    short: str  #: ours, for the head of a column
    folders: str  #: pattern of the names of its folders
    line: str  #: title, kind, split, size and first metric, in words

    def among(self, folders: Sequence[str]) -> list[str]:
        """Return those of some names of folders that are the task's."""
        return [folder for folder in folders if fnmatchcase(folder, self.folders)]


def known_tasks() -> dict[str, KnownTask]:
    """Return the 19 tasks by name."""
    with TABLE.open(encoding="utf-8", newline="") as table:
        return {
            row["name"]: KnownTask(row["name"], row["short"], row["folders"], LINE.format(**row))
            for row in csv.DictReader(table)
        }


def known_name(folder: str) -> str | None:
    """Return the name of the task that a folder, such as `esc50-v2.0.0-full`, holds in full."""
    return next((task.name for task in known_tasks().values() if task.among([folder])), None)


def task_folders(hear_dir: Path) -> tuple[Path, list[str]]:
    """Return where the task folders are, `tasks` below `hear_dir` or itself, and their names.

    HEAR's archives unpack to `hear-<version>/tasks`, which may lie below `hear_dir` too.
    """
    if not hear_dir.is_dir():
        raise TaskDataError(
            f"{hear_dir}: no such folder; unpack HEAR's tasks there ({SOURCE}) or give --hear-dir"
        )
    inside = [hear_dir / "tasks", *sorted(hear_dir.glob("hear-*/tasks"), reverse=True)]
    folder = next((folder for folder in inside if folder.is_dir()), hear_dir)
    return folder, sorted(path.parent.name for path in folder.glob("*/task_metadata.json"))


def resolve(names: Sequence[str], hear_dir: Path) -> tuple[list[Path], dict[str, str]]:
    """Return the task folders that names refer to, and for names without a folder the reason.

    A name is "all", one of the 19, the first part of a folder's name, or all of it.
    """
    folder, there = task_folders(hear_dir)
    known = known_tasks()
    chosen: dict[str, None] = {}
    absent: dict[str, str] = {}
    for name in names:
        if name in ("all", *there):
            matches = there if name == "all" else [name]
        elif name in known:
            matches = known[name].among(there)
        else:
            matches = [one for one in there if one.startswith(f"{name}-")]
        if not matches:
            meant = "" if name == "all" else f"{known[name].folders if name in known else name} "
            absent[name] = (
                f"{folder}: holds no task folder {meant}with a task_metadata.json; "
                f"unpack it there ({SOURCE})"
            )
        chosen |= dict.fromkeys(matches)
    return [folder / one for one in chosen], absent


def catalogue(hear_dir: Path) -> str:
    """Return the 19 tasks and the folders that are there, a line each."""
    there = task_folders(hear_dir)[1] if hear_dir.is_dir() else []
    lines = [f"HEAR tasks, as {PREFIX}NAME in --tasks; looked in {hear_dir}, source {SOURCE}"]
    for task in known_tasks().values():
        matches = task.among(there)
        state = f"present: {', '.join(matches)}" if matches else "absent"
        lines.append(f"  {PREFIX}{task.name}: {task.line}; {state}")
    others = [one for one in there if known_name(one) is None]
    return "\n".join(lines + [f"  {PREFIX}{one}: a folder of its own" for one in others])
