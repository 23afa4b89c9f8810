"""The ways to write a table of a report: terminal, Markdown, LaTeX and CSV.

The HTML page is a template over the same tables. Each writer escapes the text of results, and
replaces unprintable characters.
"""

import csv
import io
import re
from collections.abc import Callable, Iterable, Sequence
from textwrap import fill

from rich.box import Box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from benchmark.report.table import DASH, MARKS, Cell, Column, Section, Table, clean


def _grid(table: Table, escape: Callable[[str], str]) -> list[list[str]]:
    """Return the escaped texts of all cells, the head first."""

    def shown(part: Column | Cell, text: str, tags: Sequence[str] = (), mark: int = 0) -> str:
        small = "".join(f" ({each})" for each in (part.below, ", ".join(tags)) if each)
        texts = escape(clean(text + small)), MARKS[mark], table.numbers(part)
        return " ".join(text for text in texts if text)

    head = [shown(column, column.name) for column in table.columns]
    return [head, *([shown(c, c.text, c.tags, c.mark) for c in row] for row in table.rows)]


def _document(table: Table, body: str, escape: Callable[[str], str], end: str) -> str:
    """Return the written rows of a table with its title, facts, caption and footnotes."""
    facts = [f"{name}: {escape(clean(text))}" for name, text in table.facts]
    notes = [f"[{i}] {escape(clean(text))}" for i, text in enumerate(table.notes, 1)]
    caption = escape(clean(table.caption))
    parts = (escape(clean(table.title)), end.join(facts), caption, body, end.join(notes))
    return "\n\n".join(part for part in parts if part)


WIDTH = 100
"""Columns of captions and notes on a terminal; tables may be wider."""
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
    r"""Return a text that Markdown shows unchanged, also in a table.

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

    # Marks and footnote numbers are escaped too: "[" after the end of a row would be an option.
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

    A text that a spreadsheet would evaluate as a formula is prefixed with an apostrophe.
    """
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([*CSV_COLUMNS, "mark", "tags", "notes"])
    for table in tables:
        for first, *row in table.rows:
            for column, cell in zip(table.columns[1:], row, strict=True):
                texts = (*table.kind, first.text, column.name)
                notes = "; ".join((*first.notes, *column.notes, *cell.notes))
                numbers = ["" if x is None else x for x in (cell.value, cell.low, cell.high)]
                text = "" if cell.value is not None or cell.text == DASH else cell.text
                more = (text, cell.mark or "", ", ".join((*first.tags, *cell.tags)), notes)
                writer.writerow([*map(_neutral, texts), *numbers, *map(_neutral, more)])
    return file.getvalue()


def _neutral(text: object) -> object:
    """Return a text that no spreadsheet evaluates; numbers as they are."""
    if not isinstance(text, str):
        return text
    line = clean(text)
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line
