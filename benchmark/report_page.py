"""The report as one HTML page that needs nothing else: no font, no script, no picture from afar."""

import statistics
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from benchmark.published import Figure
from benchmark.records import Task
from benchmark.report_board import LEVEL, Board
from benchmark.report_html import (
    NONE,
    Column,
    Entry,
    count,
    mark,
    model_name,
    number,
    sorting_table,
    span,
)
from benchmark.report_task import task_id, task_section
from benchmark.results import Result

HERE = Path(__file__).parent
POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'"
"""What the browser may load: what is in the page, and nothing else."""
KNOWN_COSTS = ("embedding_size", "encoder_calls", "resamples", "clips_per_second")


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
    sections += [_cost(results), _published(figures), _provenance(results)]
    links = "".join(
        f'<a href="#{escape(board.protocol)}">Protocol {escape(board.protocol)}</a>'
        for board in boards
    )
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
    revisions = sorted({_revision(r) for r in results})
    code = ", ".join(f"<code>{escape(revision)}</code>" for revision in revisions[:4])
    code += f" and {len(revisions) - 4} more" if len(revisions) > 4 else ""
    return f'<p>{told}{when}.</p><p class="note">Code at revision {code}.</p>'


def _revision(result: Result) -> str:
    """Return the code's revision, shortened as git does."""
    commit, plus, changed = str(result.provenance.get("git_revision", "unknown")).partition("+")
    return commit[:10] + (f" with {changed}" if plus else "")


def _protocol(board: Board, known: Mapping[str, Task]) -> str:
    """Return the table of one protocol and its tasks."""
    partial = sorted({task for (task, _), cell in board.cells.items() if cell.result.partial})
    notes = "Accuracy in percent with its 95 % bootstrap interval over clips. "
    if board.baseline and len(board.models) > 1:
        notes += (
            f'<span class="better">▲</span> above and <span class="worse">▼</span> below the '
            f"baseline, {escape(board.baseline)}, by McNemar's exact test on the same clips at "
            f"{LEVEL:g} after Holm's correction over all comparisons of this table. "
        )
    if partial:
        notes += f"Measured on part of the set: {escape(', '.join(partial))}. "
    name = escape(board.protocol)
    tasks = "".join(task_section(board, task, known) for task in board.tasks)
    return (
        f'<section><h2 id="{name}">Protocol {name}</h2>{_overview(board, notes)}'
        f"<h3>Tasks</h3>{tasks}</section>"
    )


def _overview(board: Board, caption: str) -> str:
    """Return the table of models by tasks."""
    columns = [Column("Model", text=True)]
    for task in board.tasks:
        result = board.of_task(task)[0].result
        tag = ' <span class="tag warn">partial</span>' if result.partial else ""
        about = f"{count(result.n_clips)} clips, {count(len(result.classes))} classes"
        columns.append(Column(f'{escape(task)}{tag}<span class="sub">{about}</span>'))
    several = len(board.tasks) > 1
    if several:
        about = f"of {len(board.tasks)} tasks"
        columns.append(Column(f'Mean<span class="sub">{about}</span>'))
    rows = []
    for model in board.models:
        cells = [board.cells.get((task, model)) for task in board.tasks]
        tags = ["baseline"] if model == board.baseline else []
        tags += ["untrained"] if any(cell and cell.result.untrained for cell in cells) else []
        row = [Entry(model_name(model, *tags), model)]
        for task, cell in zip(board.tasks, cells, strict=True):
            if cell is None:
                row.append(Entry(NONE))
                continue
            accuracy = cell.result.metrics["accuracy"]
            link = (
                f'<a href="#{escape(task_id(board, task))}" class="value">'
                f"{accuracy['value']:.1f}</a>"
            )
            row.append(Entry(link + mark(cell) + _under(accuracy), accuracy["value"]))
        if several:
            mean = board.means.get(model)
            shown = NONE
            if mean:
                under = _under({"low": mean.low, "high": mean.high})
                shown = f'<span class="value">{mean.value:.1f}</span>{under}'
            row.append(Entry(shown, mean.value if mean else None))
        rows.append(row)
    return sorting_table(caption, columns, rows)


def _under(interval: Mapping[str, float]) -> str:
    """Return an interval as the small line below a value."""
    return f'<span class="sub">{span(interval["low"], interval["high"])}</span>'


def _cost(results: Sequence[Result]) -> str:
    """Return what each model costs, and whatever else its results' provenance counts."""
    models = sorted({result.model for result in results})
    extra = sorted({name for result in results for name in _counted(result)})
    columns = [Column("Model", text=True), Column("Dimensions"), Column("Clips per second")]
    columns += [Column("Lowest to highest")]
    columns += [Column(escape(name.replace("_", " ").capitalize())) for name in extra]
    columns += [Column("Device", text=True)]
    rows = []
    for model in models:
        own = [result for result in results if result.model == model]
        sizes = {size for r in own if (size := r.provenance.get("embedding_size"))}
        # One embedding serves all protocols of a task, so each task counts once.
        by_task = {r.task: r.provenance.get("clips_per_second") or 0.0 for r in own}
        speeds = sorted(speed for speed in by_task.values() if speed > 0)
        reach = f"{speeds[0]:,.0f} to {speeds[-1]:,.0f}".replace(",", " ") if speeds[1:] else NONE
        devices = sorted({_device(result) for result in own})
        row = [
            Entry(model_name(model), model),
            number(max(sizes), 0) if len(sizes) == 1 else Entry(NONE),
            number(statistics.median(speeds), 0) if speeds else Entry(NONE),
            Entry(reach, speeds[0] if speeds else None),
        ]
        for name in extra:
            values = [found[name] for r in own if name in (found := _counted(r))]
            row.append(number(statistics.median(values), 3 if max(values) < 1 else 1))
        rows.append([*row, Entry(escape("; ".join(devices)), devices[0], wrap=True)])
    caption = (
        "Medians over the tasks measured. Clips per second count decoding and embedding together, "
        "on the machine named, so compare them only where machine and tasks are the same."
    )
    return (
        f'<section><h2 id="cost">Cost of each model</h2>'
        f"{sorting_table(caption, columns, rows)}</section>"
    )


def _counted(result: Result) -> dict[str, float]:
    """Return the numbers of a provenance that have no column of their own."""
    return {
        name: float(value)
        for name, value in result.provenance.items()
        if isinstance(value, int | float) and name not in KNOWN_COSTS
    }


def _device(result: Result) -> str:
    """Return where a result was measured."""
    machine = result.provenance.get("machine", {})
    cores = machine.get("cores")
    processor = machine.get("processor", "unknown")
    return f"{machine.get('device', 'unknown')}: {processor}" + (f", {cores} cores" * bool(cores))


def _published(figures: Sequence[Figure]) -> str:
    """Return published figures, a table a protocol, marked as nothing that was measured here."""
    if not figures:
        return ""
    parts = []
    for protocol in dict.fromkeys(figure.protocol for figure in figures):
        chosen = [figure for figure in figures if figure.protocol == protocol]
        tasks = sorted({figure.task for figure in chosen})
        columns = [Column("Model", text=True), Column("Pretraining", text=True)]
        columns += [Column(escape(task)) for task in tasks]
        columns += [Column("Source", text=True)]
        rows = []
        places = dict.fromkeys((f.model, f.pretraining, f.source) for f in chosen)
        for model, pretraining, source in places:
            own = {f.task: f for f in chosen if (f.model, f.source) == (model, source)}
            row = [Entry(escape(model), model), Entry(escape(pretraining), pretraining)]
            row += [_figure_entry(own.get(task)) for task in tasks]
            rows.append([*row, Entry(escape(source), source)])
        caption = f"Published, not measured. Protocol: {escape(protocol)}. Accuracy in percent."
        parts.append(sorting_table(caption, columns, rows))
    return (
        '<section><h2 id="published">Published figures <span class="tag warn">published, not '
        "measured</span></h2><p>From others' papers and repositories, each under its own protocol "
        "and on its own pretraining data. They are for orientation: none is comparable, digit by "
        f"digit, with a table above or with another below.</p>{''.join(parts)}</section>"
    )


def _figure_entry(figure: Figure | None) -> Entry:
    """Return a published score with its deviation, where it has one."""
    if figure is None:
        return Entry(NONE)
    deviation = "" if figure.plus_minus is None else f" ± {figure.plus_minus:.1f}"
    return Entry(f'{figure.score:.1f}<span class="soft">{deviation}</span>', figure.score)


def _provenance(results: Sequence[Result]) -> str:
    """Return where each result comes from, folded away."""
    columns = [
        Column(name, text=True)
        for name in (
            "Model",
            "Task",
            "Protocol",
            "Written",
            "Revision",
            "Weights",
            "Data",
            "Packages",
        )
    ]
    rows = []
    for result in sorted(results, key=lambda r: (r.model, r.task, r.protocol)):
        told = result.provenance
        packages = ", ".join(f"{k} {v}" for k, v in told.get("packages", {}).items())
        plain = [result.task, result.protocol, str(told.get("written", ""))]
        row = [Entry(model_name(result.model), result.model)]
        row += [Entry(escape(value), value) for value in [*plain, _revision(result)]]
        for name in ("weights_hash", "data_hash"):
            value = str(told.get(name, ""))
            row.append(Entry(f"<code>{escape(value[:12])}</code>", value))
        rows.append([*row, Entry(escape(packages), packages, wrap=True)])
    table = sorting_table("One line a result; hashes are cut to 12 digits.", columns, rows)
    return (
        '<section><h2 id="provenance">Provenance</h2><details><summary>Revision, hashes and '
        f'packages of {len(results)} results</summary><div class="inside">{table}</div></details>'
        "</section>"
    )
