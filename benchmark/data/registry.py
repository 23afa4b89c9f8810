"""The tasks found by looking: every module of `benchmark.data.tasks` that has a `TASK`."""

import importlib
import os
import pkgutil
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from benchmark.data.clip import Clip, Task

DATA_VARIABLE = "WAVEBYOL_DATA"


def load_tasks() -> dict[str, Task]:
    """Import every task module and return its task by name, in the order of the names.

    Raises:
        ValueError: where a task's name is not its module's.
    """
    tasks = {}
    folder = Path(__file__).parent / "tasks"
    for found in sorted(pkgutil.iter_modules([str(folder)]), key=lambda module: module.name):
        task = getattr(importlib.import_module(f"benchmark.data.tasks.{found.name}"), "TASK", None)
        if task is None:
            continue
        if task.name != found.name:
            raise ValueError(
                f"benchmark/data/tasks/{found.name}.py holds the task {task.name!r}: "
                "give task and file one name"
            )
        tasks[task.name] = task
    return tasks


def data_folder(data_dir: str | Path | None = None) -> Path:
    """Return the folder that holds the data sets, one folder a task.

    Args:
        data_dir: as given on the command line; None looks at the variable WAVEBYOL_DATA and then
            at `~/.cache/wavebyol_hear`.
    """
    chosen = data_dir or os.environ.get(DATA_VARIABLE) or Path.home() / ".cache" / "wavebyol_hear"
    return Path(chosen).expanduser()


def task_root(task: Task, data_dir: str | Path | None = None) -> Path:
    """Return the folder of one task: `task.folder` or, without one, its name, in the data folder.

    Args:
        task: the task.
        data_dir: see `data_folder`.
    """
    return data_folder(data_dir) / (task.folder or task.name)


def completeness(task: Task, clips: Sequence[Clip], root: Path | None = None) -> str | None:
    """Say what a listing lacks of the complete official set, or None where nothing is missing.

    Args:
        task: whose official count and classes are the measure.
        clips: what `task.index` listed.
        root: with it, listed clips whose file is absent are counted too; each folder is read once.
    """
    missing = []
    if len(clips) != task.sample_counts:
        missing.append(f"{len(clips)} of {task.sample_counts} clips are listed")
    present = Counter(clip.label for clip in clips)
    absent = [label for label in task.classes if label not in present]
    if absent:
        shown = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
        missing.append(f"{len(absent)} of {len(task.classes)} classes have no clip ({shown})")
    unknown = sorted(set(present) - set(task.classes))
    if unknown:
        missing.append(f"labels outside the vocabulary: {', '.join(unknown[:5])}")
    if root is not None:
        gone = absent_files(clips, root)
        if gone:
            missing.append(f"{len(gone)} listed files are absent, the first is {gone[0]}")
    return "; ".join(missing) or None


def absent_files(clips: Sequence[Clip], root: Path) -> list[str]:
    """Return the paths of listed clips that are not there, with one listing a folder.

    Args:
        clips: what `task.index` listed.
        root: of the task.
    """
    listings: dict[str, set[str]] = {}
    gone = []
    for clip in clips:
        folder, name = os.path.split(clip.path)
        if folder not in listings:
            try:
                listings[folder] = set(os.listdir(root / folder))
            except OSError:
                listings[folder] = set()
        if name not in listings[folder]:
            gone.append(clip.path)
    return gone
