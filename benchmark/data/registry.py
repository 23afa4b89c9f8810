"""All tasks, from `benchmark.data.tasks` and from the user's labels, and their clips."""

import contextlib
import difflib
import importlib
import os
import pkgutil
import re
import stat
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from benchmark.data.clip import Clip, Corpus, Task, TaskDataError, missing_data
from benchmark.data.hear_folder import HearTask, hear_source, read_task
from benchmark.data.split import make_folds
from wavebyol_hear.files.labels import read_labels
from wavebyol_hear.files.tables import TableError

DATA_VARIABLE = "WAVEBYOL_DATA"
POINTER = b"version https://git-lfs.github.com/spec/"
"""Start of the pointer files that Git LFS leaves in place of the content."""
LARGEST_POINTER = 1024
BAD_SHARE = 0.01  # share of listed clips that may be unusable before the data counts as partial


def load_tasks() -> dict[str, Task]:
    """Import every task module and return its tasks by name, in the order of the names."""
    tasks: dict[str, Task] = {}
    for info in pkgutil.iter_modules([str(Path(__file__).parent / "tasks")]):
        module = importlib.import_module(f"benchmark.data.tasks.{info.name}")
        own: tuple[Task, ...] = getattr(module, "TASKS", None) or (module.TASK,)
        if own[0].name != info.name:
            raise ValueError(
                f"benchmark/data/tasks/{info.name}.py holds the task {own[0].name!r}: "
                "give task and file one name"
            )
        for task in own:
            if task.name in tasks:
                raise ValueError(f"two tasks are called {task.name!r}: rename one")
            tasks[task.name] = task
    return dict(sorted(tasks.items()))


def own_tasks(sources: Sequence[Path]) -> list[Task]:
    """Return a task for each table of labels and each folder of classes."""
    tasks = [own_task(source) for source in sources]
    for i, task in enumerate(tasks):
        if task.name in [other.name for other in tasks[:i]]:
            raise TaskDataError(f"{sources[i]}: another source is called {task.name}; rename one")
    return tasks


def own_task(source: Path) -> Task:
    """Return the task of a table of labels or of class folders, named after it; see `read_labels`.

    The paths of its clips do not depend on the data folder.
    """
    try:
        labeled = read_labels(source)
    except TableError as error:
        raise TaskDataError(str(error)) from error
    except OSError as error:
        raise TaskDataError(f"{source}: cannot be read ({error.strerror})") from error
    root, clips = labeled.root.resolve(), []
    for file in labeled.files:
        path = os.path.relpath(_without_parents(root / file.path), root)
        clips.append(Clip(file.path, Path(path).as_posix(), file.labels[0], file.split, file.group))
    name = re.sub(r"[^\w.-]+", "_", source.resolve().stem if source.is_file() else root.name)
    return Task(
        name=f"{name}_labels" if name in load_tasks() else name,
        title=f"{source.name}, {len(clips)} labeled clips",
        licence="not stated",
        citation="",
        sources=(),
        layout="the files that the table names",
        classes=labeled.classes,
        split_policy="fixed" if labeled.fixed else "folds",
        n_clips=len(clips),
        clip_seconds=None,
        index=lambda _: clips,
        folder=str(root),
        note=labeled.note,
        labels={file.path: file.labels for file in labeled.files} if labeled.multilabel else None,
        labels_file=source.resolve(),
    )


def _without_parents(path: Path) -> Path:
    """Return a path without `..`, which after a link leads elsewhere than the text suggests."""
    return Path(os.path.realpath(path.parent), path.name) if ".." in path.parts else path


def unknown(kind: str, name: str, known: Collection[str], listed: Iterable[str] = ()) -> str:
    """Return the error message for an unknown name, with the nearest and all known names.

    If `listed` is not empty, it is printed instead of the known names.

    Example:
        >>> unknown("task", "ESC-50", ["esc50", "notes"])
        "unknown task 'ESC-50' (did you mean esc50?): the tasks are esc50, notes"
    """
    return (
        f"unknown {kind} {name!r}{near(name, known)}: the {kind}s are {', '.join(listed or known)}"
    )


def near(name: str, known: Collection[str]) -> str:
    """Return "did you mean ...?" with the nearest known name, or ""."""
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.75)
    return f" (did you mean {close[0]}?)" if close else ""


def data_folder(data_dir: str | Path | None = None) -> Path:
    """Return the folder that holds the data sets, one folder per set."""
    chosen = data_dir or os.environ.get(DATA_VARIABLE) or "~/.cache/wavebyol_hear"
    try:
        return Path(chosen).expanduser()
    except RuntimeError as error:
        raise TaskDataError(f"{chosen}: {error}; set HOME, or give --data-dir") from error


def task_root(data: Corpus, data_dir: str | Path | None = None) -> Path:
    """Return the folder of a data set, or that of its archive if it was unpacked next to it."""
    folder = data_folder(data_dir)
    root = folder / (data.folder or data.name)
    if not root.exists() and data.top and (folder / data.top).is_dir():
        return folder / data.top
    return root


@dataclass(frozen=True)
class TaskClips:
    """A task and its clips."""

    task: Task
    clips: list[Clip]  #: that the task lists
    root: Path  #: of the task's data
    partial: str | None = None  #: what the data lacks of the official set
    hear: HearTask | None = None  #: the task folder where it is one of HEAR's


def read_clips(
    task: Task | Path, data_dir: Path | None = None, *, allow_partial: bool = False
) -> TaskClips:
    """List the clips of a task, or of a HEAR task folder, and check them before any work.

    Raises:
        TaskDataError: the data is missing or malformed, or partial and this is not allowed, or the
            listed clips do not form a valid split.
    """
    if isinstance(task, Path):
        hear = read_task(task)
        record = hear_source(hear)
        return TaskClips(record, record.index(task), task, hear=hear)
    root = task_root(task, data_dir)
    clips = list_clips(task, root)
    absent = absent_files(clips, root)
    lack = completeness(task, clips, absent if len(absent) > BAD_SHARE * len(clips) else ())
    if lack and not allow_partial:
        raise missing_data(task, root, f"{lack} (--allow-partial evaluates on what is there)")
    # Checked before embedding; and again after it, for the clips that could be read.
    splits, groups = (np.array([getattr(c, name) for c in clips]) for name in ("split", "group"))
    make_folds(task.split_policy, splits, groups)
    return TaskClips(task, clips, root, lack)


def list_clips(task: Task, root: Path) -> list[Clip]:
    """List the clips below the root of a task, with file names as they are on the disk.

    They may differ from the lists in upper and lower case, for example after a copy through a
    case-insensitive file system.
    """
    clips = task.index(root)
    there: set[str] = set()
    for folder in dict.fromkeys(os.path.dirname(clip.path) for clip in clips):
        with contextlib.suppress(OSError):
            there.update(os.path.join(folder, name) for name in os.listdir(root / folder))
    strange = [row for row, clip in enumerate(clips) if clip.path not in there]
    # A lower-case name that several files share is ambiguous and not used.
    alike = Counter(path.lower() for path in there if strange)
    real = {path.lower(): path for path in there if alike[path.lower()] == 1}
    for row in strange:
        path = real.get(clips[row].path.lower(), clips[row].path)
        clips[row] = replace(clips[row], path=path)
    return clips


def absent_files(clips: Sequence[Clip], root: Path) -> list[str]:
    """Return the paths of listed clips without content.

    These are missing files, broken links (git-annex), pointer files of Git LFS, and anything that
    is not a regular file.
    """
    return [clip.path for clip in clips if not _has_content(f"{root}/{clip.path}")]


def _has_content(path: str) -> bool:
    """Return whether a path is a regular file and not a pointer file of Git LFS."""
    try:
        status = os.stat(path)
        regular = stat.S_ISREG(status.st_mode)
        if not regular or status.st_size > LARGEST_POINTER:
            return regular
        with open(path, "rb") as file:
            return file.read(len(POINTER)) != POINTER
    except PermissionError:
        return True  # reading it will say what is wrong
    except (OSError, ValueError):
        return False


def completeness(task: Task, clips: Sequence[Clip], absent: Sequence[str] = ()) -> str | None:
    """Return what is missing from the complete official set, or None."""
    missing = []
    if len(clips) != task.n_clips:
        missing.append(f"{len(clips)} of {task.n_clips} clips are listed")
    several = task.labels or {}
    present = Counter(label for clip in clips for label in several.get(clip.clip_id, (clip.label,)))
    unseen = [label for label in task.classes if label not in present]
    if unseen:
        shown = ", ".join(unseen[:5]) + (", ..." if len(unseen) > 5 else "")
        missing.append(f"{len(unseen)} of {len(task.classes)} classes have no clip ({shown})")
    unknown = sorted(set(present) - set(task.classes))
    if unknown:
        missing.append(f"labels outside the vocabulary: {', '.join(unknown[:5])}")
    if absent:
        count = f"{len(absent)} of {len(clips)} listed files are absent"
        missing.append(f"{count}, the first is {absent[0]}")
    return "; ".join(missing) or None
