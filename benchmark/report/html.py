"""Small pieces of HTML that all parts of the report share: tables that sort, marks and names."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from benchmark.report.board import Cell

THIN = "\N{THIN SPACE}"
MINUS = "\N{MINUS SIGN}"
NONE = "\N{EN DASH}"


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        head: its name, as HTML.
        text: whether it holds text, aligned left and sorted by the alphabet; else numbers.
        below: small print below the name, as HTML.
    """

    head: str
    text: bool = False
    below: str = ""


@dataclass(frozen=True)
class Entry:
    """A cell of a table.

    Attributes:
        shown: as HTML.
        value: sorted by; "" or None where there is no value, which comes last.
        wrap: whether its text may break over lines.
    """

    shown: str
    value: float | str | None = ""
    wrap: bool = False


def sorting_table(caption: str, columns: Sequence[Column], rows: Sequence[Sequence[Entry]]) -> str:
    """Return a table whose columns sort when their head is clicked or pressed.

    Args:
        caption: says what is shown, as HTML; "" where the text around says it.
        columns: the first names the rows.
        rows: as many entries as columns each.
    """
    heads = []
    for place, column in enumerate(columns):
        kind = "sorts name" if column.text else "sorts"
        kind += " sticky" if place == 0 else ""
        heads.append(
            f'<th scope="col" class="{kind}"><button type="button">{column.head}</button>'
            f"{small(column.below) if column.below else ''}</th>"
        )
    body = "".join(f"<tr>{_row(columns, row)}</tr>" for row in rows)
    # No <caption>: it would be as narrow as a table of two columns.
    told = f'<p class="note">{caption}</p>' if caption else ""
    return (
        f'{told}<div class="scroll"><table>'
        f"<thead><tr>{''.join(heads)}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _row(columns: Sequence[Column], row: Sequence[Entry]) -> str:
    """Return the cells of one row."""
    cells = []
    for place, (column, entry) in enumerate(zip(columns, row, strict=True)):
        kind = "name" if column.text else "sorts"
        kind += " wrap" if entry.wrap else ""
        kind += " sticky" if place == 0 else ""
        value = "" if entry.value is None else str(entry.value)
        tag = 'th scope="row"' if place == 0 else "td"
        data = f' data-value="{escape(value)}"' if value else ""
        cells.append(f'<{tag} class="{kind}"{data}>{entry.shown}</{tag.split()[0]}>')
    return "".join(cells)


def number(value: float | None, digits: int = 1, *, signed: bool = False, below: str = "") -> Entry:
    """Return a number as an entry, a dash where there is none.

    Args:
        value: finite, or None.
        digits: after the point.
        signed: whether a plus is written.
        below: small print below it, as HTML.
    """
    if value is None:
        return Entry(NONE)
    shown = f"{value:{'+' if signed else ''},.{digits}f}".replace(",", THIN).replace("-", MINUS)
    return Entry(shown + (small(below) if below else ""), value)


def count(value: int) -> str:
    """Return a whole number with its thousands apart."""
    return f"{value:,}".replace(",", THIN)


def small(content: str) -> str:
    """Return content as a small line of its own, below a value or a name."""
    return f'<span class="sub">{content}</span>'


def span(low: float, high: float, *, signed: bool = False) -> str:
    """Return an interval."""
    plus = "+" if signed else ""
    return f"{low:{plus}.1f} to {high:{plus}.1f}".replace("-", MINUS)


def chance(p: float | None) -> Entry:
    """Return a p value, which is never written as zero."""
    if p is None:
        return Entry(NONE)
    return Entry("&lt; 0.0001" if p < 1e-4 else f"{p:.4f}", p)


def model_name(model: str, *tags: str) -> str:
    """Return a model's import path with its package in soft ink, and tags behind it.

    Args:
        model: `module` or `module:weights`.
        tags: short words; "untrained" is a warning.
    """
    module, colon, weights = model.partition(":")
    package, dot, leaf = module.rpartition(".")
    shown = f'<span class="soft">{escape(package + dot)}</span>{escape(leaf + colon + weights)}'
    marks = "".join(
        f' <span class="tag{" warn" if tag == "untrained" else ""}">{tag}</span>' for tag in tags
    )
    return shown + marks


def mark(cell: Cell) -> str:
    """Return the mark of a significant difference to the baseline, with words for a reader."""
    if cell.verdict > 0:
        return '<span class="mark better" title="significantly above the baseline">▲</span>'
    if cell.verdict < 0:
        return '<span class="mark worse" title="significantly below the baseline">▼</span>'
    return ""
