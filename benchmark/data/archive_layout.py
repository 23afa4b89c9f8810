"""Reading the files of an official archive: its top folder, its tables, its lists."""

import csv
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmark.data.clip import Clip, Task, TaskDataError, missing_data
from wavebyol_hear.files.atomic import regular


def locate(task: Task, root: Path, *markers: str) -> str:
    """Return what precedes the archive's own paths: "" or its top folder with a slash."""
    for prefix in (f"{task.top}/", ""):
        if any((root / (prefix + marker)).exists() for marker in markers):
            return prefix
    raise missing_data(task, root / task.top / markers[0], f"{markers[0]} is absent")


@contextmanager
def _text(path: Path) -> Iterator[None]:
    """Raise TaskDataError where a file read inside is no text, e.g. because it was packed."""
    try:
        yield
    except (UnicodeDecodeError, csv.Error) as error:
        raise TaskDataError(f"{path}: no UTF-8 text ({error}); fetch the file again") from error


def read_table(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the line number and the named columns of each row of a CSV file with a header."""
    with _text(path), open(path, newline="", encoding="utf-8-sig", opener=regular) as table:
        reader = csv.DictReader(table)
        absent = [name for name in columns if name not in (reader.fieldnames or ())]
        if absent:
            raise TaskDataError(f"{path}: lacks the column {', '.join(absent)}; restore the file")
        for row in reader:
            line = reader.line_num
            for name in columns:
                if not row[name]:
                    raise TaskDataError(f"{path}, line {line}: no {name}; repair the line")
            yield line, row


def read_lines(path: Path) -> list[str]:
    """Return the lines of a UTF-8 text file that are not blank, without surrounding space."""
    with _text(path), open(path, encoding="utf-8-sig", opener=regular) as lines:
        return [stripped for line in lines if (stripped := line.strip())]


def read_json(path: Path) -> dict[str, Any]:
    """Return the object of a JSON file."""
    try:
        with open(path, "rb", opener=regular) as file:
            content = json.load(file)
    except (ValueError, RecursionError) as error:
        raise TaskDataError(f"{path}: no valid JSON ({error}); fetch the file again") from error
    if not isinstance(content, dict):
        raise TaskDataError(f"{path}: holds no JSON object; fetch the file again")
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


def fold_name(path: Path, line: int, value: str, folds: int) -> str:
    """Return "fold01" for "1" and so on."""
    if not value.isdecimal() or not 1 <= int(value) <= folds:
        raise TaskDataError(f"{path}, line {line}: fold {value!r} is not 1 to {folds}; repair it")
    return f"fold{int(value):02d}"


def clips_of_folds(
    table: Path, folder: str, *, name: str, label: str, recording: str, folds: int
) -> list[Clip]:
    """Return the clips of a table with published folds; the group is the recording in its fold.

    The folds are the protocol: a recording that they split across two of them is a group in each,
    and no reason to refuse the set.

    Args:
        table: a CSV file with the columns named next and `fold`.
        folder: of the clips relative to the task's root, ending in a slash or empty; "{fold}" in it
            stands for the fold's number.
        name: column of the file names, which are the clips' ids.
        label: column of the labels.
        recording: column of the recordings that the clips were cut from.
        folds: number of folds.

    Raises:
        TaskDataError: where the table is malformed.
    """
    return [
        Clip(
            clip_id=row[name],
            path=folder.format(fold=row["fold"]) + listed_path(table, row[name]),
            label=row[label],
            split=fold_name(table, line, row["fold"], folds),
            group=f"{row[recording]}/fold{row['fold']}",
        )
        for line, row in read_table(table, (name, "fold", label, recording))
    ]


def subfolders(folder: Path) -> list[str]:
    """Return the names of the folders in a folder, sorted, without hidden ones; [] if absent."""
    if not folder.is_dir():
        return []
    with os.scandir(folder) as entries:
        return sorted(e.name for e in entries if not e.name.startswith(".") and e.is_dir())


def sound_files(folder: Path) -> list[str]:
    """Return the names of the WAV files in a folder, sorted; [] if absent.

    macOS's `._name` shadows and other hidden files are left out.
    """
    names = os.listdir(folder) if folder.is_dir() else []
    return sorted(name for name in names if name.lower().endswith(".wav") and name[0] != ".")
