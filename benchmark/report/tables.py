"""What a report shows, as tables: scores by protocol and task, robustness, cost, provenance."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np

from benchmark.data.clip import Task
from benchmark.data.corrupt import title_of
from benchmark.data.hear_catalogue import known_tasks
from benchmark.report.leaderboard import (
    LEVEL,
    Entry,
    Leaderboard,
    accuracy,
    leaderboards,
    protocol_order,
)
from benchmark.report.published import Figure, PublishedRow
from benchmark.report.render import (
    MARKS,
    NONE,
    Cell,
    Column,
    Section,
    Table,
    TableError,
    text_table,
    to_markdown,
    to_text,
)
from benchmark.results.failures import ResultKey
from benchmark.results.schema import METRICS, Result
from benchmark.stats.metrics import confusion_matrix

MAX_CLASSES = 60
"""Rows of a table by class and sides of a confusion matrix; of more only the extremes are shown."""
MAX_CONFUSIONS = 20
MODEL = Column("Model", numeric=False)
MIB = 2**20
COSTS: dict[str, tuple[Column, Callable[[Sequence[float]], float], float, int]] = {
    "parameters": (Column("Parameters", "millions"), max, 1e6, 2),
    "gflop_per_second": (Column("GFLOP", "per second of audio"), median, 1, 3),
    "real_time_factor": (Column("Speed", "times real time"), median, 1, 0),
    "peak_bytes": (Column("Peak memory", "MiB"), max, MIB, 0),
    "held_bytes": (Column("Before", "MiB held already"), max, MIB, 0),
    "gpu_bytes": (Column("GPU memory", "MiB, peak"), max, MIB, 0),
}
"""Of each cost its column, what is taken of several tasks, the unit, and the digits shown."""
SCORES = "Accuracy in percent with its 95 % bootstrap interval over clips, those of one group "
SCORES += "(speaker, recording) resampled together"
TESTED = (
    "Percent, with 95 % bootstrap intervals over clips; precision, recall and F1 are means over "
    "classes, ± is the standard deviation. Differences to the baseline are in points on the clips "
    "that both were tested on, with the paired bootstrap's 95 % interval and an exact p "
    "(McNemar's; where groups have several clips, that of flipped signs)."
)
COMPARED = (
    f"{MARKS[1]} above, {MARKS[-1]} below the baseline {{}} by an exact paired test on the same "
    f"clips at {LEVEL:g} after Holm's correction over the table. Models share a rank (=) where the "
    "paired bootstrap interval of their difference to the first of the group holds 0"
)
CORRUPTED = (
    "Heads trained on clean clips, tested on corrupted ones: accuracy in percent, and the "
    "difference in points to the same clips when clean, with 95 % intervals (that of the "
    "difference is paired)."
)
COST = (
    "Medians over the tasks; of memory, the maximum. Speed counts decoding and embedding "
    "together: compare it only where machine and tasks are the same. Peak memory is the "
    "process's, with interpreter and libraries: compare what is above the memory held before."
)
HEAR = (
    "Scores in HEAR's own measures, as fractions; `python -m benchmark.leaderboard` sets those of "
    "heareval's default grid beside the published leaderboard."
)
PUBLISHED = (
    "Published by others, not measured here, each protocol and pretraining set their own: for "
    "orientation, as none is comparable, digit by digit, with a table above or with another below. "
    "Accuracy in percent."
)


def number(value: float | None, digits: int = 1, **more: Any) -> Cell:  # noqa: ANN401
    """Return a number as a cell, a dash where there is none."""
    if value is None:
        return NONE
    plus = "+" if more.get("sign") else ""
    return Cell(f"{value:{plus},.{digits}f}", value, digits=digits, **more)


def _interval(point: Mapping[str, float] | None, digits: int = 1, **more: Any) -> Cell:  # noqa: ANN401
    point = point or {}
    ends = {"low": point.get("low"), "high": point.get("high")}
    return number(point.get("value"), digits, **ends, **more)


def _spread(mean: float, deviation: float | None) -> Cell:
    return Cell(f"{mean:.1f}" + (f" ± {deviation:.1f}" if deviation is not None else ""), mean)


def _p(value: float | None) -> Cell:
    """Return a p value, which is never shown as zero."""
    text = "" if value is None else "<0.0001" if value < 1e-4 else f"{value:.4f}"
    return Cell(text, value) if text else NONE


def _text(text: object) -> Cell:
    return Cell(str(text), str(text))


def _model(result: Result, baseline: str | None = None) -> Cell:
    """Return a model's name with what a reader must know of it."""
    precision = str(result.provenance.get("precision", ""))
    tags = [precision] * (precision not in ("", "fp32", "as loaded"))
    tags += ["untrained"] * result.untrained + ["baseline"] * (result.model == baseline)
    return replace(_text(result.model), tags=tuple(tags))


def sections(
    boards: Sequence[Leaderboard],
    figures: Sequence[Figure],
    known: Mapping[str, Task],
    measures: Sequence[Result] = (),
) -> list[Section]:
    """Return all sections of a report that have something to show.

    Args:
        boards: one per protocol.
        figures: published by others.
        known: tasks by name, for titles, licences and citations.
        measures: results in HEAR's own measures.
    """
    parts = []
    for board in boards:
        tasks = [task_table(board, t, known.get(t)) for t in board.tasks if board.of_task(t)]
        scores = [replace(score_table(board), title="")]
        title = f"Protocol {board.protocol}"
        parts.append(Section(title, board.protocol, scores, tasks, summary(board)))
    protocols = protocol_order({r.protocol for r in measures})
    hear = [hear_table(p, [r for r in measures if r.protocol == p]) for p in protocols]
    results = [entry.result for board in boards for entry in board.entries.values()] + [*measures]
    order = [*(boards[0].models if boards else ()), *sorted({r.model for r in results})]
    cost = replace(cost_table(results, list(dict.fromkeys(order))), title="")
    parts += [
        Section("HEAR scores", "hear", hear, (), HEAR),
        Section("Robustness", "robustness", list(robustness_tables(results))),
        Section("Cost of each model", "cost", [cost]),
        Section("Published figures", "published", list(published_tables(figures)), (), PUBLISHED),
        Section("Provenance", "provenance", list(provenance_tables(boards))),
    ]
    return [part for part in parts if part.tables]


def tables(
    results: Sequence[Result],
    failures: Mapping[ResultKey, str] | None = None,
    *,
    markdown: bool = False,
) -> str:
    """Return scores, robustness and cost for a terminal or in Markdown, a table per protocol."""
    failures = failures or {}
    boards = leaderboards(results, failures=failures)
    parts = [score_table(board) for board in boards]
    for protocol in protocol_order({key[2] for key in failures} - {b.protocol for b in boards}):
        rows = [[task, model, why] for (task, model, p), why in failures.items() if p == protocol]
        table = text_table([["Task", "Model", "Reason"], *rows])
        parts.append(replace(table, title=f"Protocol {protocol}: no result"))
    parts += robustness_tables(results)
    parts += [cost_table(results, board.models) for board in boards[:1]]
    return "\n\n".join(map(to_markdown if markdown else to_text, parts))


def about(results: Sequence[Result]) -> str:
    """Return what was measured, when, and by which revisions of the code, in one line."""
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
    line = f"{board.protocol}: {first} leads on {over} with {mean.value:.1f} %"
    line += f" ({mean.low:.1f} to {mean.high:.1f})"
    line += f", tied with {', '.join(others)}" if others else ""
    if board.baseline in board.means and board.baseline != first:
        gain = mean.value - board.means[board.baseline].value
        line += f", {gain:.1f} points above the baseline {board.baseline}"
    return line + "."


def score_table(board: Leaderboard) -> Table:
    """Return one row per model and one column per task, the highest mean first."""
    baseline = board.baseline if len(board.models) > 1 else None
    names = {m: _model(e.result, baseline) for (_, m), e in reversed(board.entries.items())}
    ranks = [board.ranks.get(model, 0) for model in board.models]
    columns = [MODEL, Column("Rank")]
    cells = [
        [names.get(model, _text(model)) for model in board.models],
        [Cell(f"{n}{'=' * (ranks.count(n) > 1)}", n) if n else NONE for n in ranks],
    ]
    if len(board.tasks) > 1:
        columns.append(Column("Mean", f"{len(board.tasks)} tasks", dots=True))
        cells.append(
            [_interval(vars(m) if m else None) for m in map(board.means.get, board.models)]
        )
    for task in board.tasks:
        first = next((entry.result for entry in board.of_task(task)), None)
        below = f"{first.n_clips:,} clips, {len(first.classes):,} classes" if first else ""
        shared = _shared_notes(board, task)
        columns.append(Column(task, below, dots=True, notes=shared))
        keys = [(task, model) for model in board.models]
        cells.append(
            [
                _score(board.entries[key], shared)
                if key in board.entries
                else replace(NONE, notes=(f"{task}: {board.failures[key]}",))
                for key in keys
            ]
        )
    breaks = frozenset(i for i in range(1, len(ranks)) if ranks[i] != ranks[i - 1])
    caption = f"{SCORES}; {COMPARED.format(baseline)}." if baseline else f"{SCORES}."
    kind = ("overview", board.protocol, "")
    title = f"Protocol {board.protocol}"
    return Table(title, columns, list(zip(*cells, strict=True)), caption, breaks, kind=kind)


def _shared_notes(board: Leaderboard, task: str) -> tuple[str, ...]:
    """Return the notes that all results on a task have."""
    results = [entry.result for entry in board.of_task(task)]
    notes = results[0].notes if results else ()
    return tuple(note for note in notes if all(note in r.notes for r in results))


def _score(entry: Entry, shared: Collection[str]) -> Cell:
    """Return what a model scored on a task, without the notes that all models share."""
    result, notes = entry.result, [note for note in entry.result.notes if note not in shared]
    if result.bad_clips:
        notes.append(
            f"{result.task}: {len(result.bad_clips):,} of {result.n_listed:,} clips could not be "
            f"used, the first: {result.bad_clips[0]['reason']}"
        )
    if result.partial:
        notes.append(f"{result.task}: {result.n_clips:,} clips tested; {result.partial}")
    return _interval(
        result.metrics["accuracy"],
        more=f"{result.seeds['count']} seeds {_seeds(result).text}" if result.seeds else "",
        mark=entry.mark,
        tags=("partial",) * bool(result.partial),
        notes=tuple(notes),
    )


def _seeds(result: Result) -> Cell:
    """Return the mean and deviation of the accuracy over seeds."""
    over = (result.seeds or {}).get("accuracy")
    return _spread(over["mean"], over["deviation"]) if over else NONE


def _comparison(entry: Entry) -> list[Cell]:
    """Return the difference to the baseline, its p, and that p corrected."""
    comparison = entry.comparison
    if comparison is None:
        return [replace(NONE, notes=(entry.reason,) * bool(entry.reason)), NONE, NONE]
    low, high = comparison.interval()
    fewer = comparison.n_clips < entry.result.n_clips
    notes = (f"{comparison.n_clips:,} clips shared with the baseline",) * fewer
    gain = comparison.left - comparison.right
    difference = number(gain, sign=True, low=low, high=high, mark=entry.mark, notes=notes)
    return [difference, _p(comparison.p), _p(entry.adjusted)]


def task_table(board: Leaderboard, task: str, known: Task | None) -> Table:
    """Return all metrics of a task and the comparison with the baseline, best accuracy first."""
    entries, shared = board.of_task(task), _shared_notes(board, task)
    results = [entry.result for entry in entries]
    folds, seeds = any(r.folds[1:] for r in results), any(r.seeds for r in results)
    columns = [MODEL, Column("Accuracy", dots=True)]
    columns += [Column(name.capitalize()) for name in METRICS[1:]]
    columns += [Column("Mean of folds")] * folds + [Column("Mean of seeds")] * seeds
    columns += [Column("Difference", "points"), Column("p"), Column("p (Holm)"), Column("Clips")]
    rows = []
    for entry, result in zip(entries, results, strict=True):
        row = [_model(result, board.baseline), _score(entry, shared)]
        row += [_interval(result.metrics[name]) for name in METRICS[1:]]
        over = [result.fold_mean.get(name, 0.0) for name in ("accuracy", "deviation")]
        row += [_spread(*over) if result.folds[1:] else NONE] * folds + [_seeds(result)] * seeds
        rows.append([*row, *_comparison(entry), number(result.n_clips, 0)])
    tested = " / ".join(dict.fromkeys(f"{result.n_clips:,}" for result in results))
    facts = {
        "Clips tested": f"{tested} of {results[0].n_listed:,} listed",
        "Classes": f"{len(results[0].classes):,}",
        "Split": split_policy(results[0]),
        "Missing from the set": "; ".join(dict.fromkeys(r.partial for r in results if r.partial)),
        "Notes": " ".join(shared),
        "Citation": known.citation if known else "",
        "Licence": known.licence if known else "",
    }
    title, kind = f"{task}: {known.title}" if known else task, ("measured", board.protocol, task)
    shown = [(name, text) for name, text in facts.items() if text]
    return Table(title, columns, rows, TESTED, facts=shown, kind=kind)


def split_policy(result: Result) -> str:
    """Return in words how the clips were split, from the result's folds."""
    first, *more = result.folds
    if not more:
        sizes = [f"{first[f'n_{part}']:,}" for part in ("train", "valid", "test")]
        return "fixed: {} training, {} validation and {} test clips".format(*sizes)
    tested = sorted({fold["n_test"] for fold in result.folds})
    span = " to ".join(dict.fromkeys(f"{n:,}" for n in (tested[0], tested[-1])))
    return f"{len(result.folds)} folds of {span} test clips, every clip tested once"


def class_table(result: Result, baseline: Result | None) -> Table:
    """Return scores by class, highest F1 first, beside the baseline's F1."""
    clips = dict(zip(result.classes, np.bincount(result.labels()).tolist(), strict=False))
    base = baseline.by_class if baseline else {}
    order = sorted(result.by_class.items(), key=lambda item: -item[1]["f1"]["value"])
    half, caption = MAX_CLASSES // 2, "Percent, with 95 % intervals over clips."
    if len(order) > MAX_CLASSES:
        caption += f" The {half} highest and {half} lowest of {len(order):,} classes by F1."
        order = order[:half] + order[-half:]
    columns = [Column("Class", numeric=False), Column("F1", dots=True), Column("Precision")]
    columns += [Column("Recall"), Column("Clips")]
    columns += [Column("Baseline's F1"), Column("Difference")] * bool(base)
    rows = []
    for name, own in order:
        row = [_text(name), *(_interval(own[m]) for m in ("f1", "precision", "recall"))]
        row.append(number(clips.get(name, 0), 0))
        other = base[name]["f1"]["value"] if name in base else None
        gain = None if other is None else own["f1"]["value"] - other
        rows.append(row + [number(other), number(gain, sign=True)] * bool(base))
    return Table("Scores by class", columns, rows, caption)


def confusion_table(result: Result) -> Table:
    """Return the commonest confusions of a result."""
    counts = confusion_matrix(result.labels(), result.predicted(), len(result.classes))
    totals, wrong = counts.sum(axis=1), counts - np.diag(np.diag(counts))
    rows = []
    for index in np.argsort(-wrong, axis=None, kind="stable")[:MAX_CONFUSIONS].tolist():
        true, predicted = divmod(index, len(wrong))
        if n := int(wrong[true, predicted]):
            share = f"{100 * n / totals[true]:.0f} % of {totals[true]:,}"
            names = _text(result.classes[true]), _text(result.classes[predicted])
            rows.append([*names, number(n, 0, more=share)])
    columns = [Column("True class", numeric=False), Column("Predicted", numeric=False)]
    return Table("Commonest confusions", [*columns, Column("Clips", "of the true class")], rows)


def robustness_tables(results: Sequence[Result]) -> Iterator[Table]:
    """Yield scores on corrupted clips beside clean ones, one table per protocol and task."""
    corrupted = sorted((r for r in results if r.corrupted), key=lambda r: -accuracy(r))
    caption = CORRUPTED
    for protocol in protocol_order({r.protocol for r in corrupted}):
        for task in sorted({r.task for r in corrupted if r.protocol == protocol}):
            own = [r for r in corrupted if (r.protocol, r.task) == (protocol, task)]
            columns, rows = [MODEL, Column("Clean")], []
            names = list(dict.fromkeys(name for result in own for name in result.corrupted))
            for name in names:
                columns += [Column(name, title_of(name), dots=True), Column(f"{name} - clean")]
            for result in own:
                row = [_model(result), _interval(result.metrics["accuracy"])]
                for scores in (result.corrupted.get(name, {}) for name in names):
                    row.append(_interval(scores.get("metrics", {}).get("accuracy")))
                    row.append(_interval(scores.get("difference"), sign=True))
                rows.append(row)
            title, kind = f"Robustness, protocol {protocol}, {task}", ("corrupted", protocol, task)
            yield Table(title, columns, rows, caption, kind=kind)
            caption = ""


def hear_table(
    protocol: str,
    results: Sequence[Result],
    published: Sequence[PublishedRow] = (),
    tasks: Sequence[str] = (),
) -> Table:
    """Return scores in HEAR's own measures, one row per model and one column per task.

    Rows of others stand below ours, marked as published; `tasks` have a column even without result.
    """
    metrics: dict[str, str] = {}
    by_model: dict[str, dict[str, Result]] = {}
    for result in results:
        task = result.hear_task or result.task
        metrics[task] = result.metric
        if by_model.setdefault(result.model, {}).setdefault(task, result) is not result:
            raise TableError(f"two scores of {result.model} on {result.task}: keep one")
    tasks, known = list(dict.fromkeys([*tasks, *metrics])), known_tasks()
    columns = [
        Column(known[t].short, notes=(f"{known[t].short}: {known[t].line}",))
        if t in known
        else Column(t, metrics[t])
        for t in tasks
    ]

    def order(model: str) -> tuple[int, float, str]:
        values = [r.metrics[r.metric]["value"] for r in by_model[model].values()]
        return -len(values), -sum(values) / len(values), model

    def score(result: Result | None) -> Cell:
        return (
            _interval(result.metrics[result.metric], 3, notes=(*result.notes,)) if result else NONE
        )

    rows = []
    for own in map(by_model.__getitem__, sorted(by_model, key=order)):
        name = _model(max(own.values(), key=lambda result: result.untrained))
        rows.append([name, *(score(own.get(task)) for task in tasks)])
    for row in published:
        if row.scores.keys() & set(tasks):
            name = replace(_text(row.model), tags=("published",), notes=(row.source,))
            rows.append([name, *(number(row.scores.get(task), 3) for task in tasks)])
    title = f"Protocol {protocol}: first measure of each task, as a fraction"
    return Table(title, [MODEL, *columns], rows, kind=("hear", protocol, ""))


def cost_table(results: Sequence[Result], order: Sequence[str]) -> Table:
    """Return parameters, arithmetic, speed and memory, one row per model in this order."""
    costs = [r.provenance["cost"] for r in results if "cost" in r.provenance]
    shown = [n for n in COSTS if n != "gpu_bytes" or any(c.get(n) is not None for c in costs)]
    columns = [MODEL, Column("Dimensions"), *(COSTS[name][0] for name in shown)]
    columns += [Column("Clips per second"), Column("Device", numeric=False)]
    rows = []
    for model in order:
        # One embedding serves all protocols of a task, so each task counts once.
        own = list({r.task: r.provenance for r in results if r.model == model}.values())
        sizes = {size for p in own if (size := p.get("embedding_size"))}
        row = [_text(model), number(sizes.pop() if len(sizes) == 1 else None, 0)]
        row += [_cost(name, [p["cost"] for p in own if "cost" in p]) for name in shown]
        speeds = sorted(p["clips_per_second"] for p in own if p.get("clips_per_second"))
        span = f"{speeds[0]:,.0f} to {speeds[-1]:,.0f}" if speeds[1:] else ""
        row.append(number(median(speeds), more=span) if speeds else NONE)
        rows.append([*row, _text("; ".join(sorted({_device(p) for p in own})))])
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
        return number(over_tasks(values) / unit, digits)
    reasons = [why for cost in costs if (why := cost["missing"].get(name))]
    why = reasons[-1] if reasons else "measured by an earlier version; run the benchmark again"
    return replace(NONE, notes=(f"{column.name}: {why}",))


def _device(provenance: dict[str, Any]) -> str:
    """Return where a result was measured."""
    machine = provenance.get("machine", {})
    cores = machine.get("cores", 0)
    name = f"{machine.get('device', 'unknown')}: {machine.get('processor', 'unknown')}"
    return name + f", {cores} core{'s' * (cores != 1)}" * bool(cores)


def published_tables(figures: Sequence[Figure]) -> Iterator[Table]:
    """Yield figures of others, one table per protocol."""
    for protocol in dict.fromkeys(figure.protocol for figure in figures):
        rows: dict[tuple[str, str, str], dict[str, Cell]] = {}
        for f in figures:
            if f.protocol == protocol:
                row = rows.setdefault((f.model, f.pretraining, f.source), {})
                row[f.task] = _spread(f.score, f.plus_minus)
        tasks = sorted({task for row in rows.values() for task in row})
        columns = [MODEL, *map(Column, tasks)]
        columns += [Column(name, numeric=False) for name in ("Pretraining", "Source")]
        cells = [
            [_text(model), *(row.get(task, NONE) for task in tasks), _text(data), _text(source)]
            for (model, data, source), row in rows.items()
        ]
        yield Table(f"Published: {protocol}", columns, cells, kind=("published", protocol, ""))


def provenance_tables(boards: Sequence[Leaderboard]) -> Iterator[Table]:
    """Yield where each result comes from, one table per protocol and task."""
    columns = [MODEL]
    columns += [Column(name, numeric=False) for name in ("Written", "Revision", "Precision")]
    columns += [Column(name, numeric=False) for name in ("Weights", "Data", "Packages")]
    for board in boards:
        for task in board.tasks:
            rows = []
            for result in (entry.result for entry in board.of_task(task)):
                get = result.provenance.get
                packages = ", ".join(f"{k} {v}" for k, v in get("packages", {}).items())
                texts = [get("written", ""), revision(result), get("precision", "")]
                texts += [str(get(k, ""))[:12] for k in ("weights_hash", "data_hash")]
                rows.append([_model(result), *map(_text, (*texts, packages))])
            title, kind = f"Protocol {board.protocol}, {task}", ("provenance", board.protocol, task)
            yield Table(title, columns, rows, kind=kind)
