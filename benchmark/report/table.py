"""A table of a report: cells with intervals, marks and footnotes.

`benchmark.report.render` and the template of the page write it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from benchmark.data.clip import BenchmarkError

DASH = "-"
MARKS = {1: "▲", -1: "▼", 0: ""}
"""Marks of differences to the baseline: significantly above, significantly below, neither."""


class TableError(BenchmarkError):
    """Results that cannot be shown in one table; one line with the remedy."""


@dataclass(frozen=True)
class Cell:
    """One entry of a table: a text, or a number with its interval."""

    text: str  #: as shown
    value: float | None = None  #: the number in full
    low: float | None = None  #: lower end of the 95 % interval
    high: float | None = None
    below: str = ""  #: small print: the interval, and more such as the mean over seeds
    mark: int = 0  #: 1 significantly above the baseline, -1 below, else 0
    tags: tuple[str, ...] = ()  #: short words such as "untrained"
    notes: tuple[str, ...] = ()  #: footnotes


NONE = Cell(DASH)


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str
    below: str = ""  #: small print of the head
    numeric: bool = True  #: whether it holds numbers, which stand to the right and sort downwards
    dots: bool = False  #: whether the page draws its values and intervals
    notes: tuple[str, ...] = ()  #: footnotes of the whole column


@dataclass(frozen=True)
class Table:
    """Rows under columns, of which the first names the rows."""

    title: str  #: "" where the title of the section is enough
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""  #: how the table is to be read
    breaks: frozenset[int] = frozenset()  #: rows with a rule above, between groups of tied models
    facts: Sequence[tuple[str, str]] = ()  #: names and values, such as number of clips and split
    kind: tuple[str, str, str] = ("", "", "")  #: kind, protocol and task of its lines in CSV

    @cached_property
    def notes(self) -> list[str]:
        """All footnotes, in the order in which they are first referred to."""
        parts: list[Cell | Column] = [*self.columns, *(cell for row in self.rows for cell in row)]
        return list(dict.fromkeys(note for part in parts for note in part.notes))

    def numbers(self, part: Cell | Column) -> str:
        """Return the footnotes of a cell or column as numbers in brackets."""
        notes = self.notes
        return " ".join(f"[{notes.index(note) + 1}]" for note in part.notes)


@dataclass(frozen=True)
class Section:
    """Tables under one heading."""

    title: str
    anchor: str  #: of links to it
    tables: Sequence[Table]
    tasks: Sequence[Table] = ()  #: one per task, which the page folds away with its figures
    caption: str = ""  #: common to all of its tables


def text_table(rows: Sequence[Sequence[str]]) -> Table:
    """Return a table of plain texts, of which the first row is the head."""
    head, *body = rows
    columns = [Column(name, numeric=False) for name in head]
    return Table("", columns, [[Cell(text) for text in row] for row in body])


def number(value: float | None, digits: int = 1, **rest: Any) -> Cell:  # noqa: ANN401
    """Return a number as a cell, a dash where there is none."""
    return interval(None if value is None else {"value": value}, digits, **rest)


def interval(
    point: Mapping[str, float] | None,
    digits: int = 1,
    *,
    sign: bool = False,
    more: str = "",
    **rest: Any,  # noqa: ANN401
) -> Cell:
    """Return a value with the interval it has, and more in small print; a dash where it is None."""
    if not point:
        return NONE
    plus, low, high = "+" if sign else "", point.get("low"), point.get("high")
    ends = " to ".join(f"{end:{plus}.{digits}f}" for end in (low, high) if end is not None)
    below = "; ".join(part for part in (ends, more) if part)
    return Cell(f"{point['value']:{plus},.{digits}f}", point["value"], low, high, below, **rest)


def spread(mean: float, deviation: float | None) -> Cell:
    """Return a mean with its standard deviation."""
    return Cell(f"{mean:.1f}" + (f" ± {deviation:.1f}" if deviation is not None else ""), mean)


def p_value(value: float | None) -> Cell:
    """Return a p value, which is never shown as zero."""
    text = "" if value is None else "<0.0001" if value < 1e-4 else f"{value:.4f}"
    return Cell(text, value) if text else NONE


def clean(text: str) -> str:
    r"""Return a text on one line, with unprintable characters replaced.

    Control characters could control a terminal, and lone surrogates cannot be written to a file.

    Example:
        >>> clean("a\tb\x1b[31m\n")
        'a b�[31m'
    """
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)
