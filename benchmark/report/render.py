"""One table of a report and the ways to write it: terminal, Markdown, LaTeX and CSV.

The page writes the same tables with its template. Whatever a result holds is text here: each
renderer escapes it, and characters that cannot be printed never reach a file or a terminal.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from textwrap import fill

from rich.box import Box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

DASH = "-"
MARKS = {1: "▲", -1: "▼", 0: ""}
"""Of a difference to the baseline that is significant."""


class TableError(ValueError):
    """Results that must not stand in one table; one line with what to do."""


@dataclass(frozen=True)
class Cell:
    """One entry of a table: a text, or a number with its interval."""

    text: str  #: as shown
    value: float | str | None = None  #: the number in full, or the text to sort by
    low: float | None = None  #: lower end of the 95 % interval
    high: float | None = None
    sign: bool = False  #: whether the interval is shown with signs
    digits: int = 1  #: of the interval, behind the point
    more: str = ""  #: small print, such as the mean over seeds
    mark: int = 0  #: 1 significantly above the baseline, -1 below, else 0
    tags: tuple[str, ...] = ()  #: short words such as "untrained"
    notes: tuple[str, ...] = ()  #: footnotes

    @property
    def interval(self) -> str:
        """The 95 % interval as text; "" where there is none."""
        if self.low is None or self.high is None:
            return ""
        plus = "+" if self.sign else ""
        return f"{self.low:{plus}.{self.digits}f} to {self.high:{plus}.{self.digits}f}"

    @property
    def below(self) -> str:
        """What stands in small print: the interval and more."""
        return "; ".join(part for part in (self.interval, self.more) if part)


NONE = Cell(DASH)


@dataclass(frozen=True)
class Column:
    """A column of a table."""

    name: str
    below: str = ""  #: small print of the head
    numeric: bool = True  #: whether it holds numbers, which stand to the right and sort downwards
    dots: bool = False  #: whether the page draws its values and intervals
    notes: tuple[str, ...] = ()  #: footnotes that hold for the whole column


@dataclass(frozen=True)
class Table:
    """Rows under columns, of which the first names the rows."""

    title: str  #: "" where the section's says it
    columns: Sequence[Column]
    rows: Sequence[Sequence[Cell]]
    caption: str = ""  #: how the table is to be read
    breaks: frozenset[int] = frozenset()  #: rows with a rule above, between groups of tied models
    facts: Sequence[tuple[str, str]] = ()  #: names and texts about what was measured
    kind: tuple[str, str, str] = ("", "", "")  #: of the lines in CSV, with protocol and task

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
    caption: str = ""  #: what holds for all of its tables


def text_table(rows: Sequence[Sequence[str]]) -> Table:
    """Return a table of plain texts, of which the first row is the head."""
    head, *body = rows
    columns = [Column(name, numeric=False) for name in head]
    return Table("", columns, [[Cell(text) for text in row] for row in body])


def clean(text: str) -> str:
    r"""Return a text on one line, with a replacement for what cannot be printed.

    Control characters would steer a terminal, and lone surrogates could not be written to a file.

    Example:
        >>> clean("a\tb\x1b[31m\n")
        'a b�[31m'
    """
    line = " ".join(text.split())
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in line)


def _grid(table: Table, escape: Callable[[str], str]) -> list[list[str]]:
    """Return the texts of all cells, the head first, with whatever comes from results escaped."""

    def head(column: Column) -> str:
        below = f" ({column.below})" if column.below else ""
        return f"{escape(clean(column.name + below))} {table.numbers(column)}".rstrip()

    def entry(cell: Cell) -> str:
        below = f" ({cell.below})" if cell.below else ""
        tags = f" ({', '.join(cell.tags)})" if cell.tags else ""
        text = escape(clean(cell.text + below + tags))
        return " ".join(part for part in (text, MARKS[cell.mark], table.numbers(cell)) if part)

    return [[head(c) for c in table.columns], *([entry(c) for c in row] for row in table.rows)]


def _document(table: Table, body: str, escape: Callable[[str], str], end: str) -> str:
    """Return the rows of a table as written, between its title, facts, caption and footnotes."""
    facts = [f"{name}: {escape(clean(text))}" for name, text in table.facts]
    notes = [f"[{i}] {escape(clean(text))}" for i, text in enumerate(table.notes, 1)]
    caption = escape(clean(table.caption))
    parts = (escape(clean(table.title)), end.join(facts), caption, body, end.join(notes))
    return "\n\n".join(part for part in parts if part)


WIDTH = 100
"""Of captions and notes on a terminal; tables are as wide as they are."""
LINES = Box("    \n    \n -- \n    \n    \n -- \n    \n    \n", ascii=True)
"""A rule below the head and between groups, and no other line."""


def to_text(table: Table) -> str:
    """Return a table with aligned columns for a terminal, in ASCII as far as names allow."""
    head, *body = _grid(table, str)
    rich = RichTable(box=LINES, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for index, (column, name) in enumerate(zip(table.columns, head, strict=True)):
        alone = column.numeric and not any(row[index].below for row in table.rows)
        rich.add_column(Text(name), justify="right" if alone else "left", no_wrap=True)
    for number, row in enumerate(body):
        if number in table.breaks:
            rich.add_section()
        rich.add_row(*map(Text, row))
    console = Console(file=io.StringIO(), width=100_000, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        console.print(rich)
    lines = [line.rstrip() for line in capture.get().splitlines()]
    text = _document(table, "\n".join(lines), lambda text: fill(text, WIDTH), "\n")
    return text.replace(MARKS[1], "+").replace(MARKS[-1], DASH)


def escape_markdown(text: str) -> str:
    r"""Return a text that Markdown shows as it is, in a table, too.

    Example:
        >>> print(escape_markdown("<b>|a_b| *x*"))
        \<b\>\|a_b\| \*x\*
    """
    return re.sub(r"([\\`*\[\]<>|~$#!&]|(?<![^\W_])_|_(?![^\W_]))", r"\\\1", text)


def to_markdown(table: Table, heading: str = "") -> str:
    """Return a table in Markdown, with its title as a paragraph or as a heading such as "### "."""
    head, *body = _grid(table, escape_markdown)
    rule = ["---:" if column.numeric else "---" for column in table.columns]
    lines = ["| " + " | ".join(row) + " |" for row in (head, rule, *body)]
    text = _document(table, "\n".join(lines), escape_markdown, "  \n")
    return heading * bool(table.title) + text


def report_markdown(sections: Iterable[Section]) -> str:
    """Return the sections of a report in Markdown."""
    parts = ["# Benchmark report"]
    for section in sections:
        parts += [f"## {escape_markdown(clean(section.title))}"]
        parts += [escape_markdown(clean(section.caption))] * bool(section.caption)
        parts += [to_markdown(table, "### ") for table in (*section.tables, *section.tasks)]
    return "\n\n".join(parts) + "\n"


LATEX = {c: f"\\{c}" for c in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "[": "{[}",
    "±": r"$\pm$",
    "\N{REPLACEMENT CHARACTER}": "?",
    MARKS[1]: r"$\blacktriangle$",
    MARKS[-1]: r"$\blacktriangledown$",
}


def to_latex(table: Table) -> str:
    """Return a table in LaTeX, for the packages booktabs and amssymb."""

    def escape(text: str) -> str:
        return "".join(LATEX.get(c, c) for c in text)

    # Marks and footnote numbers, too, are escaped here: "[" after a row's end would be an option.
    head, *body = [[escape(text) for text in row] for row in _grid(table, str)]
    kinds = "".join("r" if column.numeric else "l" for column in table.columns)
    lines = [rf"\begin{{tabular}}{{{kinds}}}", r"\toprule", " & ".join(head) + r" \\", r"\midrule"]
    for number, row in enumerate(body):
        lines += [r"\midrule"] * (number in table.breaks) + [" & ".join(row) + r" \\"]
    lines += [r"\bottomrule", r"\end{tabular}"]
    return _document(table, "\n".join(lines), escape, "\\\\\n")


CSV_COLUMNS = ("kind", "protocol", "task", "row", "column", "value", "low", "high", "text")


def to_csv(tables: Iterable[Table]) -> str:
    """Return tables as CSV, one line per cell, with numbers in full.

    A text that a spreadsheet would take for a formula begins with an apostrophe.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*CSV_COLUMNS, "mark", "tags", "notes"])
    for table in tables:
        for first, *row in table.rows:
            for column, cell in zip(table.columns[1:], row, strict=True):
                value = cell.value if isinstance(cell.value, int | float) else None
                texts = (*table.kind, first.text, column.name)
                notes = "; ".join((*first.notes, *column.notes, *cell.notes))
                numbers = ["" if x is None else x for x in (value, cell.low, cell.high)]
                text = "" if value is not None or cell.text == DASH else cell.text
                more = (text, cell.mark or "", ", ".join((*first.tags, *cell.tags)), notes)
                writer.writerow([*map(_neutral, texts), *numbers, *map(_neutral, more)])
    return file.getvalue()


def _neutral(text: object) -> object:
    """Return a text that no spreadsheet evaluates; numbers as they are."""
    if not isinstance(text, str):
        return text
    line = clean(text)
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line
