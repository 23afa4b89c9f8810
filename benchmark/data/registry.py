"""All tasks, discovered: those of every module of `benchmark.data.tasks` with `TASK` or `TASKS`."""

import contextlib
import difflib
import importlib
import os
import pkgutil
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from benchmark.data.clip import Clip, Task, TaskDataError

DATA_VARIABLE = "WAVEBYOL_DATA"
POINTER = b"version https://git-lfs.github.com/spec/"
"""How a file begins that Git LFS left in place of the content."""
LARGEST_POINTER = 1024


def load_tasks() -> dict[str, Task]:
    """Import every task module and return its tasks by name, in the order of the names."""
    tasks: dict[str, Task] = {}
    folder = Path(__file__).parent / "tasks"
    for info in pkgutil.iter_modules([str(folder)]):
        module = importlib.import_module(f"benchmark.data.tasks.{info.name}")
        own = getattr(module, "TASKS", None) or tuple(filter(None, [getattr(module, "TASK", None)]))
        if own and own[0].name != info.name:
            raise ValueError(
                f"benchmark/data/tasks/{info.name}.py holds the task {own[0].name!r}: "
                "give task and file one name"
            )
        for task in own:
            if task.name in tasks:
                raise ValueError(f"two tasks are called {task.name!r}: rename one")
            tasks[task.name] = task
    return dict(sorted(tasks.items()))


def unknown(kind: str, name: str, known: Collection[str], listed: Iterable[str] = ()) -> str:
    """Return the message of a name that is not known, with the nearest one and all there are.

    Where `listed` is not empty, it stands for the known names.

    Example:
        >>> unknown("task", "ESC-50", ["esc50", "notes"])
        "unknown task 'ESC-50' (did you mean esc50?): the tasks are esc50, notes"
    """
    return (
        f"unknown {kind} {name!r}{near(name, known)}: the {kind}s are {', '.join(listed or known)}"
    )


def near(name: str, known: Collection[str]) -> str:
    """Return a question that names what a name is close to; "" where it is close to nothing."""
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.75)
    return f" (did you mean {close[0]}?)" if close else ""


def data_folder(data_dir: str | Path | None = None) -> Path:
    """Return the folder that holds the data sets, one folder per set."""
    chosen = data_dir or os.environ.get(DATA_VARIABLE) or "~/.cache/wavebyol_hear"
    try:
        return Path(chosen).expanduser()
    except RuntimeError as error:
        raise TaskDataError(f"{chosen}: {error}; set HOME, or give --data-dir") from error


def task_root(task: Task, data_dir: str | Path | None = None) -> Path:
    """Return the folder of one task in the data folder.

    It is `task.folder` or, without one, the task's name; where that is absent and the archive was
    unpacked next to it, the archive's own top folder.
    """
    folder = data_folder(data_dir)
    root = folder / (task.folder or task.name)
    if not root.exists() and task.top and (folder / task.top).is_dir():
        return folder / task.top
    return root


def list_clips(task: Task, root: Path) -> list[Clip]:
    """List the clips below a task's root, their files' names as the disk writes them.

    Lists and archives differ in capitals, as after a copy through a disk that does not tell them
    apart.

    Raises:
        TaskDataError: as of the task's `index`.
    """
    clips = task.index(root)
    there: dict[str, set[str]] = {}
    lowered: dict[str, dict[str, str]] = {}
    for number, clip in enumerate(clips):
        folder, name = os.path.split(clip.path)
        if folder not in there:
            there[folder] = set()
            with contextlib.suppress(OSError):
                there[folder] = set(os.listdir(f"{root}/{folder}"))
            # A name in small letters that several files share stands for none of them.
            alike = Counter(map(str.lower, there[folder]))
            lowered[folder] = {n.lower(): n for n in there[folder] if alike[n.lower()] == 1}
        if name not in there[folder]:
            real = lowered[folder].get(name.lower(), name)
            clips[number] = replace(clip, path=f"{folder}/{real}" if folder else real)
    return clips


def completeness(task: Task, clips: Sequence[Clip], root: Path | None = None) -> str | None:
    """Say what a listing lacks of the complete official set, or None where nothing is missing."""
    missing = []
    if len(clips) != task.n_clips:
        missing.append(f"{len(clips)} of {task.n_clips} clips are listed")
    several = task.labels or {}
    present = Counter(label for clip in clips for label in several.get(clip.clip_id, (clip.label,)))
    absent = [label for label in task.classes if label not in present]
    if absent:
        shown = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
        missing.append(f"{len(absent)} of {len(task.classes)} classes have no clip ({shown})")
    unknown = sorted(set(present) - set(task.classes))
    if unknown:
        missing.append(f"labels outside the vocabulary: {', '.join(unknown[:5])}")
    gone = absent_files(clips, root) if root is not None else []
    if gone:
        missing.append(f"{len(gone)} listed files are absent, the first is {gone[0]}")
    return "; ".join(missing) or None


def absent_files(clips: Sequence[Clip], root: Path) -> list[str]:
    """Return the paths of listed clips without content, with one listing per folder.

    These are files that are not there, links that lead nowhere (git-annex), pointers that Git LFS
    left in place of the content, and what is no regular file.
    """
    listings: dict[str, set[str]] = {}
    gone = []
    for clip in clips:
        folder, name = os.path.split(clip.path)
        if folder not in listings:
            listings[folder] = set()
            with contextlib.suppress(OSError), os.scandir(f"{root}/{folder}") as entries:
                listings[folder] = {e.name for e in entries if e.is_file() and not _is_pointer(e)}
        if name not in listings[folder]:
            gone.append(clip.path)
    return gone


def _is_pointer(entry: os.DirEntry[str]) -> bool:
    """Return whether a file is Git LFS's pointer to a content that was not fetched."""
    try:
        if entry.stat().st_size > LARGEST_POINTER:
            return False
        with open(entry.path, "rb") as file:
            return file.read(len(POINTER)) == POINTER
    except OSError:
        return False  # reading it will say what is wrong
