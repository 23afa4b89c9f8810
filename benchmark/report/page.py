"""The report as one HTML page that needs nothing else: no font, no script, no picture from afar."""

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from benchmark.data.clip import Task
from benchmark.report.board import LEVEL, Board, Cell
from benchmark.report.cost import cost
from benchmark.report.html import (
    NONE,
    Column,
    Entry,
    count,
    mark,
    model_name,
    small,
    sorting_table,
    span,
)
from benchmark.report.published import Figure
from benchmark.report.robust import robustness
from benchmark.report.sections import provenance, published, revision
from benchmark.report.task import task_id, task_section
from benchmark.results.schema import Result
from benchmark.stats.metrics import seeds_text

HERE = Path(__file__).parent
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""What the browser may load: what is in the page, and nothing else."""


def page(boards: Sequence[Board], figures: Sequence[Figure], known: Mapping[str, Task]) -> str:
    """Return the page.

    Args:
        boards: one a protocol, at least one.
        figures: published by others; shown apart.
        known: tasks by name, for titles, licences and citations.
    """
    results = [cell.result for board in boards for cell in board.cells.values()]
    style = (HERE / "report.css").read_text(encoding="utf-8")
    script = (HERE / "report.js").read_text(encoding="utf-8")
    sections = [_protocol(board, known) for board in boards]
    sections += [robustness(results), cost(results), published(figures), provenance(results)]
    links = "".join(
        f'<a href="#{escape(board.protocol)}">Protocol {escape(board.protocol)}</a>'
        for board in boards
    )
    links += '<a href="#robustness">Robustness</a>' if any(r.corrupted for r in results) else ""
    links += '<a href="#cost">Cost</a>'
    links += '<a href="#published">Published figures</a>' if figures else ""
    links += '<a href="#provenance">Provenance</a>'
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>WaveBYOL-HEAR: benchmark report</title><style>\n{style}</style></head>\n<body>"
        f"<header><h1>Benchmark report</h1>{_lead(results)}<nav>{links}</nav></header>\n"
        f"<main>{''.join(sections)}</main>\n<script>\n{script}</script></body></html>\n"
    )


def _lead(results: Sequence[Result]) -> str:
    """Return what was measured, when, and by which revision of the code."""
    numbers = (
        (len({r.model for r in results}), "model"),
        (len({r.task for r in results}), "task"),
        (len({r.protocol for r in results}), "protocol"),
    )
    told = ", ".join(f"{n} {what}{'s' * (n != 1)}" for n, what in numbers)
    days = sorted({day for r in results if (day := str(r.provenance.get("written", ""))[:10])})
    when = f", measured {days[0]}" if days else ""
    when += f" to {days[-1]}" if len(days) > 1 else ""
    revisions = sorted({revision(r) for r in results})
    code = ", ".join(f"<code>{escape(revision)}</code>" for revision in revisions[:4])
    code += f" and {len(revisions) - 4} more" if len(revisions) > 4 else ""
    return f'<p>{told}{when}.</p><p class="note">Code at revision {code}.</p>'


def _protocol(board: Board, known: Mapping[str, Task]) -> str:
    """Return the table of one protocol and its tasks."""
    partial = sorted({task for (task, _), cell in board.cells.items() if cell.result.partial})
    notes = "Accuracy in percent with its 95 % bootstrap interval over clips, groups whole. "
    if board.baseline and len(board.models) > 1:
        notes += (
            f'<span class="better">▲</span> above and <span class="worse">▼</span> below the '
            f"baseline, {escape(board.baseline)}, by an exact paired test on the same clips at "
            f"{LEVEL:g} after Holm's correction over all comparisons of this table. "
        )
    if partial:
        notes += f"Measured on part of the set: {escape(', '.join(partial))}. "
    name = escape(board.protocol)
    tasks = "".join(task_section(board, task, known) for task in board.tasks if board.of_task(task))
    return (
        f'<section><h2 id="{name}">Protocol {name}</h2>{_overview(board, notes)}{_gaps(board)}'
        f"<h3>Tasks</h3>{tasks}</section>"
    )


def _gaps(board: Board) -> str:
    """Return why dashes stand in the table, the models of one reason together."""
    by_reason: dict[tuple[str, str], list[str]] = {}
    for (task, model), why in board.gaps.items():
        by_reason.setdefault((task, why), []).append(model)
    listed = "".join(
        f"<li>{escape(task)}, {escape(', '.join(models))}: {escape(why)}</li>"
        for (task, why), models in by_reason.items()
    )
    if not listed:
        return ""
    return f'<p class="note">{NONE} has no result:</p><ul class="note">{listed}</ul>'


def _overview(board: Board, caption: str) -> str:
    """Return the table of models by tasks."""
    columns = [Column("Model", text=True)]
    for task in board.tasks:
        columns.append(_column(board, task))
    several = len(board.tasks) > 1
    if several:
        columns.append(Column("Mean", below=f"of {len(board.tasks)} tasks"))
    rows = []
    for model in board.models:
        cells = [board.cells.get((task, model)) for task in board.tasks]
        tags = ["baseline"] if model == board.baseline else []
        tags += ["untrained"] if any(cell and cell.result.untrained for cell in cells) else []
        row = [Entry(model_name(model, *tags), model)]
        for task, cell in zip(board.tasks, cells, strict=True):
            row.append(_entry(board, task, model, cell))
        if several:
            mean = board.means.get(model)
            shown = NONE
            if mean:
                under = _under({"low": mean.low, "high": mean.high})
                shown = f'<span class="value">{mean.value:.1f}</span>{under}'
            row.append(Entry(shown, mean.value if mean else None))
        rows.append(row)
    return sorting_table(caption, columns, rows)


def _column(board: Board, task: str) -> Column:
    """Return the column of a task."""
    cells = board.of_task(task)
    if not cells:
        return Column(escape(task), below="no result")
    result = cells[0].result
    tag = ' <span class="tag warn">partial</span>' if result.partial else ""
    about = f"{count(result.n_clips)} clips, {count(len(result.classes))} classes"
    return Column(escape(task) + tag, below=about)


def _entry(board: Board, task: str, model: str, cell: Cell | None) -> Entry:
    """Return what a model scored on a task, or a dash that says why it did not."""
    if cell is None:
        return Entry(f'<span title="{escape(board.gaps[task, model])}">{NONE}</span>')
    accuracy = cell.result.metrics["accuracy"]
    shown = (
        f'<a href="#{escape(task_id(board, task))}" class="value">{accuracy["value"]:.1f}</a>'
        f"{mark(cell)}{_under(accuracy)}"
    )
    if cell.result.seeds:
        mean = seeds_text(cell.result.seeds, "accuracy")
        shown += small(f"{cell.result.seeds['count']} seeds: {mean}")
    return Entry(shown, accuracy["value"])


def _under(interval: Mapping[str, float]) -> str:
    """Return an interval as the small line below a value."""
    return small(span(interval["low"], interval["high"]))
