"""All tables of a report in their sections: scores, robustness, cost, published, provenance."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

from benchmark.data.clip import Task
from benchmark.report.leaderboard import Leaderboard, leaderboards, protocol_order
from benchmark.report.published import Figure
from benchmark.report.scores import (
    MODEL,
    hear_tables,
    model_cell,
    robustness_tables,
    score_table,
    task_table,
)
from benchmark.report.table import (
    NONE,
    Cell,
    Column,
    Section,
    Table,
    number,
    spread,
    text_table,
)
from benchmark.results.schema import Result, ResultKey

MIB = 2**20
COSTS: dict[str, tuple[Column, Callable[[Sequence[float]], float], float, int]] = {
    "parameters": (Column("Parameters", "millions"), max, 1e6, 2),
    "gflop_per_second": (Column("GFLOP", "per second of audio"), median, 1, 3),
    "real_time_factor": (Column("Speed", "times real time"), median, 1, 0),
    "peak_bytes": (Column("Peak memory", "MiB"), max, MIB, 0),
    "held_bytes": (Column("Before", "MiB held already"), max, MIB, 0),
    "gpu_bytes": (Column("GPU memory", "MiB, peak"), max, MIB, 0),
}
"""The column of each cost, how it is summarized over tasks, its unit, and the digits shown."""
COST = (
    "Medians over the tasks; for memory, maxima. Speed includes decoding: compare it only between "
    "runs on the same machine and tasks. Peak memory is that of the process, with interpreter and "
    "libraries: compare the increase over the memory held before."
)
BUSY = 0.1
"""Share of the cores used by other processes from which on a speed is marked."""
HEAR = (
    "Scores in HEAR's own metrics, as fractions; `python -m benchmark.leaderboard` compares those "
    "of heareval's default grid with the published leaderboard."
)
PUBLISHED = (
    "Published by others, not measured here, each with its own protocol and pretraining data: for "
    "orientation only, since they are not directly comparable with the tables above or with each "
    "other. Accuracy in percent."
)


def sections(
    boards: Sequence[Leaderboard],
    figures: Sequence[Figure],
    known: Mapping[str, Task],
    measures: Sequence[Result] = (),
) -> list[Section]:
    """Return all sections of a report that are not empty.

    `known` gives titles, licences and citations; `measures` are results in HEAR's own metrics.
    """
    parts = []
    for board in boards:
        tasks = [task_table(board, t, known.get(t)) for t in board.tasks if board.of_task(t)]
        scores = score_table(board)
        bare = [replace(scores, title="")]
        parts.append(Section(scores.title, board.protocol, bare, tasks, summary(board)))
    results = [entry.result for board in boards for entry in board.entries.values()] + [*measures]
    order = [*(boards[0].models if boards else ()), *sorted({r.model for r in results})]
    cost = replace(cost_table(results, list(dict.fromkeys(order))), title="")
    parts += [
        Section("HEAR scores", "hear", hear_tables(measures), (), HEAR),
        Section("Robustness", "robustness", list(robustness_tables(results))),
        Section("Cost of each model", "cost", [cost]),
        Section("Published figures", "published", list(published_tables(figures)), (), PUBLISHED),
        Section("Provenance", "provenance", list(provenance_tables(boards))),
    ]
    return [part for part in parts if part.tables]


def tables(results: Sequence[Result], failures: Mapping[ResultKey, str]) -> list[Table]:
    """Return scores, one table per protocol, robustness and cost."""
    boards = leaderboards(results, failures=failures)
    parts = [score_table(board) for board in boards]
    for protocol in protocol_order({key[2] for key in failures} - {b.protocol for b in boards}):
        rows = [[task, model, why] for (task, model, p), why in failures.items() if p == protocol]
        table = text_table([["Task", "Model", "Reason"], *rows])
        parts.append(replace(table, title=f"Protocol {protocol}: no result"))
    parts += robustness_tables(results)
    return parts + [cost_table(results, board.models) for board in boards[:1]]


def about(results: Sequence[Result]) -> str:
    """Return in one line what was measured, when, and by which revisions of the code."""
    names = ("model", "task", "protocol")
    counts = {name: len({getattr(result, name) for result in results}) for name in names}
    line = ", ".join(f"{n} {name}{'s' * (n != 1)}" for name, n in counts.items())
    days = sorted({day for r in results if (day := str(r.provenance.get("written", ""))[:10])})
    line += f", measured {' to '.join(dict.fromkeys((days[0], days[-1])))}" if days else ""
    revisions = sorted(set(map(revision, results)))
    more = f" and {len(revisions) - 4} more" if len(revisions) > 4 else ""
    return f"{line}. Code at revision {', '.join(revisions[:4])}{more}."


def revision(result: Result) -> str:
    """Return the code's revision, shortened as git does."""
    commit, plus, changed = str(result.provenance.get("git_revision", "unknown")).partition("+")
    return commit[:10] + (f" with {changed}" if plus else "")


def summary(board: Leaderboard) -> str:
    """Return in one line which models lead, and how far the baseline is behind."""
    if not board.means:
        return f"{board.protocol}: no model has a result on every task."
    first, *others = [model for model in board.models if board.ranks.get(model) == 1]
    mean = board.means[first]
    over = f"the mean over {len(board.tasks)} tasks" if board.tasks[1:] else board.tasks[0]
    line = f"{board.protocol}: {first} leads on {over} with {mean['value']:.1f} %"
    line += f" ({mean['low']:.1f} to {mean['high']:.1f})"
    line += f", tied with {', '.join(others)}" if others else ""
    if board.lead:
        gain = "{value:.1f} points ({low:.1f} to {high:.1f})".format(**board.lead)
        line += f", {gain} above the baseline {board.baseline}"
    return line + "."


def cost_table(results: Sequence[Result], order: Sequence[str]) -> Table:
    """Return parameters, arithmetic, speed and memory, one row per model that has a result."""
    costs = [r.provenance["cost"] for r in results if "cost" in r.provenance]
    shown = [n for n in COSTS if n != "gpu_bytes" or any(c.get(n) is not None for c in costs)]
    columns = [MODEL, Column("Dimensions"), *(COSTS[name][0] for name in shown)]
    columns += [Column("Clips per second"), Column("Device", numeric=False)]
    rows = []
    for model in order:
        # One embedding serves all protocols of a task, so each task counts once.
        own = list({r.task: r.provenance for r in results if r.model == model}.values())
        if not own:
            continue  # it has no result, and the table of scores says why
        sizes = {size for p in own if (size := p.get("embedding_size"))}
        spent = [p["cost"] for p in own if "cost" in p]
        speeds = sorted(p["clips_per_second"] for p in own if p.get("clips_per_second"))
        span = f"{speeds[0]:,.0f} to {speeds[-1]:,.0f}" if speeds[1:] else ""
        speed = number(median(speeds), more=span) if speeds else NONE
        row = [Cell(model), number(sizes.pop() if len(sizes) == 1 else None, 0)]
        row += [_cost(name, spent) for name in shown]
        row.append(_beside_load(speed, "Clips per second", spent))
        rows.append([*row, Cell("; ".join(sorted({_device(p) for p in own})))])
    counted = "; ".join(sorted({cost["counted"] for cost in costs}))
    caption = COST + f" GFLOP counts {counted}." * bool(counted)
    return Table("Cost of each model", columns, rows, caption, kind=("cost", "", ""))


def _cost(name: str, costs: Sequence[dict[str, Any]]) -> Cell:
    """Return one cost of a model over its tasks, or a dash with the reason."""
    column, over_tasks, unit, digits = COSTS[name]
    values = [cost[name] for cost in costs if cost.get(name) is not None]
    if name == "held_bytes" and values:  # before the run that had the highest peak
        values = [max(costs, key=lambda cost: cost["peak_bytes"] or 0)[name]]
    if values:
        cell = number(over_tasks(values) / unit, digits)
        return _beside_load(cell, column.name, costs) if name == "real_time_factor" else cell
    reasons = [why for cost in costs if (why := cost["missing"].get(name))]
    why = reasons[-1] if reasons else "measured by an earlier version; run the benchmark again"
    return replace(NONE, notes=(f"{column.name}: {why}",))


def _beside_load(cell: Cell, what: str, costs: Sequence[dict[str, Any]]) -> Cell:
    """Mark a speed that was measured while others used much of the processor."""
    share = max((cost.get("other_load") or 0.0 for cost in costs), default=0.0)
    if share < BUSY:
        return cell
    note = f"{what}: measured while other processes used {share:.0%} of the processor's cores"
    return replace(cell, notes=(*cell.notes, note))


def _device(provenance: dict[str, Any]) -> str:
    """Return where a result was measured."""
    machine = provenance.get("machine", {})
    cores = machine.get("cores", 0)
    name = f"{machine.get('device', 'unknown')}: {machine.get('processor', 'unknown')}"
    return name + f", {cores} core{'s' * (cores != 1)}" * bool(cores)


def published_tables(figures: Sequence[Figure]) -> Iterator[Table]:
    """Yield figures of others, one table per protocol."""
    protocols: dict[str, dict[tuple[str, str, str], dict[str, Cell]]] = {}
    for f in figures:
        rows = protocols.setdefault(f.protocol, {})
        row = rows.setdefault((f.model, f.pretraining, f.source), {})
        row[f.task] = spread(f.score, f.plus_minus)
    for protocol, rows in protocols.items():
        tasks = sorted({task for row in rows.values() for task in row})
        columns = [MODEL, *map(Column, tasks)]
        columns += [Column(name, numeric=False) for name in ("Pretraining", "Source")]
        cells = [
            [Cell(model), *(row.get(task, NONE) for task in tasks), Cell(data), Cell(source)]
            for (model, data, source), row in rows.items()
        ]
        yield Table(f"Published: {protocol}", columns, cells, kind=("published", protocol, ""))


def provenance_tables(boards: Sequence[Leaderboard]) -> Iterator[Table]:
    """Yield where each result comes from, one table per protocol and task."""
    names = ("Written", "Revision", "Precision", "Weights", "Data", "Packages")
    columns = [MODEL, *(Column(name, numeric=False) for name in names)]
    for board in boards:
        for task in board.tasks:
            rows = []
            for result in (entry.result for entry in board.of_task(task)):
                get = result.provenance.get
                packages = ", ".join(f"{k} {v}" for k, v in get("packages", {}).items())
                texts = [get("written", ""), revision(result), get("precision", "")]
                texts += [str(get(k, ""))[:12] for k in ("weights_hash", "data_hash")]
                rows.append([model_cell(result), *map(Cell, (*texts, packages))])
            title, kind = f"Protocol {board.protocol}, {task}", ("provenance", board.protocol, task)
            yield Table(title, columns, rows, kind=kind)
