"""The report as one self-contained HTML page: no external font, script or image."""

import math
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape
from tqdm import tqdm

from benchmark.report import plots
from benchmark.report.leaderboard import Leaderboard
from benchmark.report.scores import MAX_CLASSES, class_table, confusion_table
from benchmark.report.table import DASH, Cell, Column, Section, Table, clean
from benchmark.results.schema import Result

FOLDER = Path(__file__).parent


def page(
    sections: Sequence[Section],
    boards: Sequence[Leaderboard],
    *,
    about: str = "",
    bad_files: Sequence[str] = (),
) -> str:
    """Return the page: the sections, with figures and scores by class of all results.

    It begins with a line about what was measured, and a line on each file that was skipped.
    """
    by_protocol = {board.protocol: board for board in boards}
    environment = Environment(
        autoescape=True,
        finalize=lambda x: clean(x) if isinstance(x, str) and not isinstance(x, Markup) else x,
        loader=FileSystemLoader(FOLDER),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"typeset": _typeset, "breakable": _breakable}
    total = sum(len(board.entries) for board in boards)
    with tqdm(total=total, desc="figures", unit="result", delay=2, leave=False) as bar:

        def panels(table: Table) -> list[dict[str, Any]]:
            _, protocol, task = table.kind
            shown = []
            for panel in _panels(by_protocol[protocol], task):
                shown.append(panel)
                bar.update()
            return shown

        return environment.get_template("report.html").render(
            style=Markup((FOLDER / "report.css").read_text(encoding="utf-8")),
            script=Markup((FOLDER / "report.js").read_text(encoding="utf-8")),
            sections=sections,
            boards=boards,
            about=about,
            bad_files=bad_files,
            anchor=lambda table: "--".join(table.kind[1:]),
            axis_of=_axis,
            panels=panels,
            position=_position,
            sort_key=_sort_key,
        )


def _panels(board: Leaderboard, task: str) -> Iterator[dict[str, Any]]:
    """Yield model, figures and tables of each result on a task, best first."""
    results = {entry.result.model: entry.result for entry in board.of_task(task)}
    baseline = results.get(board.baseline or "")
    for model, result in results.items():
        yield {
            "model": model,
            "wide": len(result.classes) > plots.COUNTED_CLASSES,
            "figures": list(_figures(result, results)),
            "tables": [
                class_table(result, None if baseline is result else baseline),
                confusion_table(result),
            ],
        }


def _figures(result: Result, results: dict[str, Result]) -> Iterator[tuple[str, str, Markup]]:
    """Yield title, caption and drawing of each figure of a result.

    `results` of all models on the task are searched for the same model without whitening, whose map
    is shown instead.
    """
    if len(result.classes) <= MAX_CLASSES:
        caption = "rows: true class, columns: predicted class, shade: share of the row's clips"
        yield "Confusion matrix, in clips", caption, plots.confusion(result)
    if folds := plots.curves(result):
        several = "thin lines: folds; thick line: their mean; rings: chosen values"
        caption = several if folds[1:] else "ring: chosen value"
        yield f"Choosing {plots.choice(result)[0]}", caption, plots.validation(result)
    plain = next((r for r in map(results.get, plots.unwhitened(result.model)) if r and r.map), None)
    if (shown := plain or result).map:
        along, across = shown.map["explained"]
        caption = (
            f"first two principal components of {len(shown.map['x']):,} clips, which explain "
            f"{along:.0f} and {across:.0f} % of the variance; color: class"
        )
        caption += f"; embeddings without whitening ({shown.model})" if plain else ""
        yield "Map of the embeddings", caption, plots.scatter(shown)


def _axis(table: Table, index: int) -> tuple[int, int] | None:
    """Return the range of a column's dots, in steps of five; None for a column without dots."""
    cells = [row[index] for row in table.rows]
    ends = [x for c in cells for x in (c.value, c.low, c.high) if x is not None]
    if not table.columns[index].dots or not ends:
        return None
    return 5 * math.floor(min(ends) / 5), 5 * math.ceil(max(ends) / 5)


def _sort_key(cell: Cell) -> float | str:
    """Return what the page sorts by: the number, or else the text."""
    if cell.value is not None:
        return cell.value
    return "" if cell.text == DASH else cell.text


def _position(cell: Cell, axis: tuple[int, int]) -> Markup:
    """Return where a value and its interval stand on an axis, as CSS variables in percent."""
    value, (start, end) = cell.value or 0.0, axis
    points = {"low": cell.low, "at": value, "high": cell.high}
    percent = {
        name: 100 * ((value if x is None else x) - start) / (end - start or 1)
        for name, x in points.items()
    }
    return Markup(";".join(f"--{name}:{x:.1f}%" for name, x in percent.items()))


def _typeset(text: str, column: Column) -> Markup:
    """Return a cell's text with real minus signs in numbers, and breaks in names."""
    minus = escape(clean(text).replace("-", "\N{MINUS SIGN}"))
    return minus if column.numeric else _breakable(text)


def _breakable(text: str) -> Markup:
    """Return a name that may be broken behind its separators."""
    return Markup("<wbr>").join(re.split(r"(?<=[./_:])", clean(text)))
