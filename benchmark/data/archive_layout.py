"""Reading the tables, lists and audio folders of an official archive."""

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from benchmark.data.clip import Clip, Task, TaskDataError, missing_data
from wavebyol_hear.files import tables
from wavebyol_hear.files.atomic import regular

LARGEST_JSON = 1 << 30  # bytes above which a file is no task's


def top_of(task: Task, root: Path) -> str:
    """Return the archive's own top folder, with a slash, where it lies in the root; else ""."""
    return f"{task.top}/" if task.top and (root / task.top).is_dir() else ""


def existing(task: Task, root: Path, *names: str, hint: str = "") -> Path:
    """Return the first of some files or folders that exists; the error names the first one."""
    for path in (root / name for name in names):
        if path.exists():
            return path
    raise missing_data(task, root / names[0], f"{names[0]} is absent{hint}")


def read_table(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the line number and the named columns of each row of a CSV file; none is empty."""
    try:
        for line, row in tables.read_table(path, columns):
            for name in columns:
                if not row[name]:
                    raise TaskDataError(f"{path}, line {line}: no {name}; repair the line")
            yield line, row
    except tables.TableError as error:
        raise TaskDataError(f"{error}; fetch the file again") from error


def read_lines(path: Path) -> list[str]:
    """Return the lines of a UTF-8 text file that are not blank, without surrounding space."""
    try:
        with open(path, encoding="utf-8-sig", opener=regular) as lines:
            return [stripped for line in lines if (stripped := line.strip())]
    except UnicodeDecodeError as error:
        raise TaskDataError(f"{path}: no text in UTF-8 ({error}); fetch the file again") from error


def read_json(path: Path) -> dict[str, Any]:
    """Return the object of a JSON file."""
    if path.stat().st_size > LARGEST_JSON:
        raise TaskDataError(f"{path}: is larger than {LARGEST_JSON} bytes; fetch it again")
    try:
        with open(path, "rb", opener=regular) as file:
            content = json.load(file)
    except (ValueError, RecursionError) as error:
        raise TaskDataError(f"{path}: is not valid JSON ({error}); fetch it again") from error
    if not isinstance(content, dict):
        raise TaskDataError(f"{path}: holds no JSON object; fetch it again")
    return content


def listed_path(table: Path, text: str) -> str:
    r"""Return a path in a list as this program writes paths: no `./` before it, no backslash.

    Example:
        >>> listed_path(Path("list.txt"), r".\yes\1.wav")
        'yes/1.wav'
    """
    path = text.replace("\\", "/")
    while path.startswith("./"):
        path = path[2:].lstrip("/")
    if path.startswith("/") or path[1:2] == ":" or ".." in path.split("/"):
        raise TaskDataError(f"{table}: {text!r} leads out of the task's folder; fix the list")
    return path


def clips_of_folds(
    table: Path, folder: str, *, name: str, label: str, recording: str, folds: int
) -> list[Clip]:
    """Return the clips of a table with published folds; the group is the recording in its fold.

    The folds are the protocol: a recording that they split across two of them is a group in each,
    and no reason to refuse the set. The table has a column `fold`, and those that `name`, `label`
    and `recording` are called; in `folder`, which ends in a slash, "{fold}" is the fold's number.
    """
    clips = []
    for line, row in read_table(table, (name, "fold", label, recording)):
        fold = row["fold"]
        if not fold.isdecimal() or not 1 <= int(fold) <= folds:
            raise TaskDataError(f"{table}, line {line}: fold {fold!r} is not 1 to {folds}; fix it")
        path = folder.format(fold=fold) + listed_path(table, row[name])
        group = f"{row[recording]}/fold{fold}"
        clips.append(Clip(row[name], path, row[label], f"fold{int(fold):02d}", group))
    return clips


def subfolders(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, sorted, without hidden ones; [] if absent."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if not e.name.startswith(".") and e.is_dir())


def wav_files(root: Path, folders: str) -> list[str]:
    """Return the WAV files in the folders that match a pattern, relative to the root, sorted.

    macOS's `._name` shadows and other hidden files and folders are left out.
    """
    paths: list[str] = []
    for folder in sorted(root.glob(folders)):
        inside = folder.relative_to(root).as_posix()
        if folder.is_dir() and "/." not in f"/{inside}":
            names = sorted(n for n in os.listdir(folder) if n.lower().endswith(".wav"))
            paths += [f"{inside}/{name}" for name in names if name[0] != "."]
    return paths
