"""Lists of paths: one on each line, between NULs, or in a column of a CSV file."""

import codecs
import os
from collections.abc import Iterable, Iterator

from wavebyol_hear.files.stores import is_remote
from wavebyol_hear.files.tables import TableError, header, read_table

COLUMNS = ("path", "file", "filename", "file_name", "filepath", "file_path", "audio", "wav")


def listed_paths(path: str) -> Iterator[str]:
    """Yield the paths of a list, one on each line, or between NULs as `find -print0` writes.

    Raises:
        OSError: the list cannot be read.
    """
    with open(path, "rb") as file:
        if file.peek(3).startswith(codecs.BOM_UTF8):
            file.read(3)
        nul = b"\0" in file.peek(1 << 16)
        for line in _split(file, b"\0" if nul else b"\n"):
            text = line if nul else line.removesuffix(b"\r")
            if text:
                yield _resolved(path, os.fsdecode(text))


def column_paths(path: str, column: str) -> Iterator[tuple[str, str]]:
    """Yield the path in each row of a CSV file, and what is wrong, or "".

    The column "" stands for the first of `COLUMNS` that is there.

    Raises:
        TableError: there is no such column, or the file is damaged.
        OSError: it cannot be read.
    """
    names, there = [column.strip().lower()] if column else COLUMNS, header(path)
    name = next((name for name in names if name in there), None)
    if name is None:
        raise TableError(
            f"{path}: lacks the column {names[0]} (it has {', '.join(there)[:80]}); name the "
            "column of the paths with --path-column"
        )
    for line, row in read_table(path, (name,)):
        if row[name]:
            yield _resolved(path, row[name]), ""
        else:
            yield path, f"line {line} has no {name}"


def _resolved(table: str, text: str) -> str:
    """Return a path of a list: a URL, relative to the list's folder, or to the current one."""
    if is_remote(text):
        return text
    beside = os.path.join(os.path.dirname(table), text)
    return beside if os.path.lexists(beside) or not os.path.lexists(text) else text


def _split(file: Iterable[bytes], separator: bytes) -> Iterator[bytes]:
    """Yield the pieces of a file between separators."""
    rest = b""
    for block in file:
        *whole, rest = (rest + block).split(separator)
        yield from whole
    yield rest
