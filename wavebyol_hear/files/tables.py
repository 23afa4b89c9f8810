"""CSV files as people make them: any usual encoding, delimiter and line ending."""

import codecs
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from wavebyol_hear.files.atomic import regular

DELIMITERS = ",;\t"
BYTE_ORDER_MARKS = {codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


class TableError(ValueError):
    """A table that cannot be used: one line with the file, the line number and the remedy."""


def read_table(
    path: str | Path, needed: Sequence[str], optional: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, str]]]:
    r"""Yield the line number and the named columns of each row of a CSV file with a header.

    UTF-8 with or without a byte order mark and UTF-16 with one are read; the delimiter is the
    comma, semicolon or tab that the header holds most of. Quoted fields may hold delimiters and
    line breaks. The names of columns are compared without case and surrounding space. Blank lines
    are passed over. The file is read row by row, in constant memory.

    Args:
        path: of the file.
        needed: columns that must be there.
        optional: columns that may be there; "" stands for a value that is not.

    Yields:
        The number of the row's last line, from 1 for the header, and the values without
        surrounding space, by the names in `needed` and `optional` that the file has.

    Raises:
        TableError: the file is no text, lacks a needed column or has a row of another length.
        OSError: the file cannot be read.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "labels.csv"
        >>> _ = path.write_text('Path;Label\r\n"a, b.wav";dog\r\n')
        >>> list(read_table(path, ("path", "label")))
        [(2, {'path': 'a, b.wav', 'label': 'dog'})]
    """
    rows = _rows(path)
    _, names = next(rows)
    absent = [name for name in needed if name not in names]
    if absent:
        shown = ", ".join(names)[:80] or "no header"
        raise TableError(f"{path}: lacks the column {', '.join(absent)} (it has {shown})")
    columns = {name: names.index(name) for name in (*needed, *optional) if name in names}
    for line, row in rows:
        if len(row) != len(names):
            raise TableError(
                f"{path}, line {line}: {len(row)} values for {len(names)} columns; quote values "
                "that hold the delimiter"
            )
        yield line, {name: row[i].strip() for name, i in columns.items()}


def header(path: str | Path) -> list[str]:
    """Return the names of a CSV file's columns, in lower case; errors are as of `read_table`."""
    return next(_rows(path))[1]


def _rows(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    """Yield the number of its last line and the values of each row: the columns' names first."""
    with open(path, "rb", opener=regular) as file:
        encoding = BYTE_ORDER_MARKS.get(file.read(2), "utf-8-sig")
    with open(path, newline="", encoding=encoding, opener=regular) as file:
        try:
            delimiter = max(DELIMITERS, key=file.readline().count)
            file.seek(0)
            rows = csv.reader(file, delimiter=delimiter, strict=True)
            yield 1, [name.strip().lower() for name in next(rows, [])]
            for row in rows:
                if any(row):
                    yield rows.line_num, row
        except UnicodeError as error:
            raise TableError(f"{path}: no text in UTF-8 or UTF-16; save it as UTF-8") from error
        except csv.Error as error:
            raise TableError(f"{path}: no CSV table ({error}); repair the file") from error
