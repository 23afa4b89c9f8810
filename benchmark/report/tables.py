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
from benchmark.stats.metrics import confusion_matrix, seeds_text

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
    results = [entry.result for board in boards for entry in board.entries.values()]
    parts = []
    for board in boards:
        tasks = [task_table(board, t, known.get(t)) for t in board.tasks if board.of_task(t)]
        scores = [replace(score_table(board), title="")]
        title = f"Protocol {board.protocol}"
        parts.append(Section(title, board.protocol, scores, tasks, summary(board)))
    hear = [
        hear_table(protocol, [r for r in measures if r.protocol == protocol])
        for protocol in protocol_order({r.protocol for r in measures})
    ]
    results += measures
    order = [*(boards[0].models if boards else ()), *sorted({r.model for r in results})]
    cost = cost_table(results, list(dict.fromkeys(order)))
    parts += [
        Section("HEAR scores", "hear", hear, (), HEAR),
        Section("Robustness", "robustness", list(robustness_tables(results))),
        Section("Cost of each model", "cost", [replace(cost, title="")]),
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
    """Return one table of models by tasks for every protocol, for a terminal or in Markdown.

    Args:
        results: of any protocols.
        failures: why a (task, model, protocol) has no result.
        markdown: whether to write Markdown; otherwise aligned text.
    """
    failures = failures or {}
    boards = leaderboards(results, failures=failures) if results else []
    parts = [score_table(board) for board in boards]
    for protocol in protocol_order({key[2] for key in failures} - {b.protocol for b in boards}):
        rows = [
            [task, model, why] for (task, model, own), why in failures.items() if own == protocol
        ]
        table = text_table([["Task", "Model", "Reason"], *rows])
        parts.append(replace(table, title=f"Protocol {protocol}: no result"))
    return "\n\n".join(map(to_markdown if markdown else to_text, parts))


def more_tables(results: Sequence[Result], *, markdown: bool = False) -> list[str]:
    """Return the tables of robustness and cost that have something to show.

    Args:
        results: of any tasks and protocols.
        markdown: whether to write Markdown; otherwise aligned text.
    """
    if not results:
        return []
    parts = [*robustness_tables(results), cost_table(results, leaderboards(results)[0].models)]
    return list(map(to_markdown if markdown else to_text, parts))


def about(results: Sequence[Result]) -> str:
    """Return what was measured, when, and by which revisions of the code, in one line."""
    names = ("model", "task", "protocol")
    counts = {name: len({getattr(result, name) for result in results}) for name in names}
    line = ", ".join(f"{n} {name}{'s' * (n != 1)}" for name, n in counts.items())
    days = sorted({day for r in results if (day := str(r.provenance.get("written", ""))[:10])})
    line += f", measured {' to '.join(dict.fromkeys((days[0], days[-1])))}" if days else ""
    revisions = sorted({revision(result) for result in results})
    more = f" and {len(revisions) - 4} more" if len(revisions) > 4 else ""
    return f"{line}. Code at revision {', '.join(revisions[:4])}{more}."


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


def number(value: float | None, digits: int = 1, **more: Any) -> Cell:  # noqa: ANN401
    """Return a number as a cell, a dash where there is none."""
    return NONE if value is None else Cell(f"{value:,.{digits}f}", value, digits=digits, **more)


def _signed(value: float, **more: Any) -> Cell:  # noqa: ANN401
    return Cell(f"{value:+.1f}", value, **more, sign=True)


def _percent(interval: Mapping[str, float], **more: Any) -> Cell:  # noqa: ANN401
    return number(interval["value"], low=interval.get("low"), high=interval.get("high"), **more)


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


def score_table(board: Leaderboard) -> Table:
    """Return one row per model and one column per task, the highest mean first."""
    several = len(board.tasks) > 1
    columns = [MODEL, Column("Rank")]
    columns += [Column("Mean", f"{len(board.tasks)} tasks", dots=True)] * several
    shared = {task: _shared_notes(board, task) for task in board.tasks}
    for task in board.tasks:
        result = next((entry.result for entry in board.of_task(task)), None)
        below = f"{result.n_clips:,} clips, {len(result.classes):,} classes" if result else ""
        columns.append(Column(task, below, dots=True, notes=shared[task]))
    baseline = board.baseline if len(board.models) > 1 else None
    rows, ranks = [], [board.ranks.get(model, 0) for model in board.models]
    for model, rank in zip(board.models, ranks, strict=True):
        own = [e.result for (_, name), e in board.entries.items() if name == model]
        row = [_model(own[0], baseline) if own else _text(model)]
        row.append(Cell(f"{rank}{'=' * (ranks.count(rank) > 1)}", rank) if rank else NONE)
        if several:
            row.append(_percent(vars(board.means[model])) if model in board.means else NONE)
        for task in board.tasks:
            if (task, model) in board.entries:
                row.append(_score(board.entries[task, model], shared[task]))
            else:
                row.append(replace(NONE, notes=(f"{task}: {board.failures[task, model]}",)))
        rows.append(row)
    breaks = frozenset(i for i in range(1, len(ranks)) if ranks[i] != ranks[i - 1])
    caption = SCORES
    if baseline:
        caption += (
            f"; {MARKS[1]} above, {MARKS[-1]} below the baseline {baseline} by an exact "
            f"paired test on the same clips at {LEVEL:g} after Holm's correction over the table. "
            "Models share a rank (=) where the paired bootstrap interval of their difference to "
            "the first of the group holds 0"
        )
    kind = ("overview", board.protocol, "")
    return Table(f"Protocol {board.protocol}", columns, rows, f"{caption}.", breaks, kind=kind)


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
    seeds = result.seeds
    return _percent(
        result.metrics["accuracy"],
        more=f"{seeds['count']} seeds {seeds_text(seeds, 'accuracy')}" if seeds else "",
        mark=entry.mark,
        tags=("partial",) * bool(result.partial),
        notes=tuple(notes),
    )


def task_table(board: Leaderboard, task: str, known: Task | None) -> Table:
    """Return all metrics of a task and the comparison with the baseline, best accuracy first."""
    entries, shared = board.of_task(task), _shared_notes(board, task)
    folds = any(len(entry.result.folds) > 1 for entry in entries)
    seeds = any(entry.result.seeds for entry in entries)
    columns = [MODEL, Column("Accuracy", dots=True)]
    columns += [Column(name.capitalize()) for name in METRICS[1:]]
    columns += [Column("Mean of folds")] * folds + [Column("Mean of seeds")] * seeds
    columns += [Column("Difference", "points"), Column("p"), Column("p (Holm)"), Column("Clips")]
    rows = []
    for entry in entries:
        result = entry.result
        row = [_model(result, board.baseline), _score(entry, shared)]
        row += [_percent(result.metrics[name]) for name in METRICS[1:]]
        if folds:
            mean, deviation = (result.fold_mean.get(k, 0.0) for k in ("accuracy", "deviation"))
            row.append(Cell(f"{mean:.1f} ± {deviation:.1f}", mean) if result.folds[1:] else NONE)
        if seeds:
            over = result.seeds or {}
            text = seeds_text(over, "accuracy")
            row.append(Cell(text, over["accuracy"]["mean"]) if text else NONE)
        rows.append([*row, *_comparison(entry), number(result.n_clips, 0)])
    title = f"{task}: {known.title}" if known else task
    facts, kind = _facts(entries, shared, known), ("measured", board.protocol, task)
    return Table(title, columns, rows, TESTED, facts=facts, kind=kind)


def _comparison(entry: Entry) -> list[Cell]:
    """Return the difference to the baseline, its p, and that p corrected."""
    comparison = entry.comparison
    if comparison is None:
        why = (entry.reason,) * bool(entry.reason)
        return [replace(NONE, notes=why), NONE, NONE]
    low, high = comparison.interval()
    why = (f"{comparison.n_clips:,} clips shared with the baseline",)
    why *= comparison.n_clips < entry.result.n_clips
    gain = comparison.left - comparison.right
    difference = _signed(gain, low=low, high=high, mark=entry.mark, notes=why)
    return [difference, _p(comparison.p), _p(entry.adjusted)]


def _facts(
    entries: Sequence[Entry], notes: Sequence[str], known: Task | None
) -> list[tuple[str, str]]:
    """Return what a reader must know before the numbers of a task."""
    results = [entry.result for entry in entries]
    tested = " / ".join(dict.fromkeys(f"{result.n_clips:,}" for result in results))
    facts = {
        "Clips tested": f"{tested} of {results[0].n_listed:,} listed",
        "Classes": f"{len(results[0].classes):,}",
        "Split": split_policy(results[0]),
        "Missing from the set": "; ".join(dict.fromkeys(r.partial for r in results if r.partial)),
        "Notes": " ".join(notes),
        "Citation": known.citation if known else "",
        "Licence": known.licence if known else "",
    }
    return [(name, text) for name, text in facts.items() if text]


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
    """Return scores by class, highest F1 first, beside the baseline's F1.

    Args:
        result: whose classes are shown.
        baseline: of the same task; None for the baseline itself.
    """
    clips = dict(zip(result.classes, np.bincount(result.labels()).tolist(), strict=False))
    other = baseline.by_class if baseline else {}
    order = sorted(result.by_class, key=lambda name: -result.by_class[name]["f1"]["value"])
    half, caption = MAX_CLASSES // 2, "Percent, with 95 % intervals over clips."
    if len(order) > MAX_CLASSES:
        caption += f" The {half} highest and {half} lowest of {len(order):,} classes by F1."
        order = order[:half] + order[-half:]
    columns = [Column("Class", numeric=False), Column("F1", dots=True), Column("Precision")]
    columns += [Column("Recall"), Column("Clips")]
    columns += [Column("Baseline's F1"), Column("Difference")] * bool(other)
    rows = []
    for name in order:
        own = result.by_class[name]
        row = [_text(name), *(_percent(own[m]) for m in ("f1", "precision", "recall"))]
        row.append(number(clips.get(name, 0), 0))
        if name in other:
            base = other[name]["f1"]["value"]
            row += [number(base), _signed(own["f1"]["value"] - base)]
        rows.append(row + [NONE] * (len(columns) - len(row)))
    return Table("Scores by class", columns, rows, caption)


def confusion_table(result: Result) -> Table:
    """Return the commonest confusions of a result."""
    counts = confusion_matrix(result.labels(), result.predicted(), len(result.classes))
    totals, wrong = counts.sum(axis=1), counts - np.diag(np.diag(counts))
    rows = []
    for place in np.argsort(-wrong, axis=None, kind="stable")[:MAX_CONFUSIONS].tolist():
        true, predicted = divmod(place, len(wrong))
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
            names = list(dict.fromkeys(name for result in own for name in result.corrupted))
            columns = [MODEL, Column("Clean")]
            for name in names:
                columns += [Column(name, title_of(name), dots=True), Column(f"{name} - clean")]
            rows = []
            for result in own:
                row = [_model(result), _percent(result.metrics["accuracy"])]
                for name in names:
                    scores = result.corrupted.get(name)
                    change = scores["difference"] if scores else {}
                    row += [_percent(scores["metrics"]["accuracy"]) if scores else NONE]
                    ends = {end: change.get(end) for end in ("low", "high")}
                    row += [_signed(change["value"], **ends) if scores else NONE]
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

    Args:
        protocol: of the results.
        results: in HEAR's measures.
        published: rows of others, marked as such, below ours.
        tasks: that have a column even without a result.

    Raises:
        TableError: two results for one cell.
    """
    by_key: dict[tuple[str, str], Result] = {}
    for result in results:
        key = (result.hear_task or result.task, result.model)
        if by_key.setdefault(key, result) is not result:
            raise TableError(f"two scores of {result.model} on {result.task}: keep one")
    tasks, known = list(dict.fromkeys([*tasks, *(task for task, _ in by_key)])), known_tasks()
    metrics = {task: result.metric for (task, _), result in by_key.items()}
    columns = [MODEL]
    for task in tasks:
        one = known.get(task)
        columns.append(
            Column(one.short, notes=(f"{one.short}: {one.line}",))
            if one
            else Column(task, metrics[task])
        )

    def order(model: str) -> tuple[int, float, str]:
        own = [r.metrics[r.metric]["value"] for (_, name), r in by_key.items() if name == model]
        return -len(own), -sum(own) / len(own), model

    rows = []
    for model in sorted({model for _, model in by_key}, key=order):
        own = [by_key.get((task, model)) for task in tasks]
        name = _model(max(filter(None, own), key=lambda result: result.untrained))
        rows.append([name, *(_measure(result) if result else NONE for result in own)])
    for row in published:
        if row.scores.keys() & set(tasks):
            name = replace(_text(row.model), tags=("published",), notes=(row.source,))
            rows.append([name, *(number(row.scores.get(task), 3) for task in tasks)])
    title = f"Protocol {protocol}: first measure of each task, as a fraction"
    return Table(title, columns, rows, kind=("hear", protocol, ""))


def _measure(result: Result) -> Cell:
    """Return a result's ranking measure, with its interval where it has one."""
    point = result.metrics[result.metric]
    ends = {"low": point.get("low"), "high": point.get("high")}
    return number(point["value"], 3, **ends, notes=tuple(result.notes))


def cost_table(results: Sequence[Result], order: Sequence[str]) -> Table:
    """Return parameters, arithmetic, speed and memory, one row per model.

    Args:
        results: of any tasks and protocols.
        order: of the models.
    """
    costs = [r.provenance["cost"] for r in results if "cost" in r.provenance]
    on_gpu = any(cost.get("gpu_bytes") is not None for cost in costs)
    shown = [name for name in COSTS if name != "gpu_bytes" or on_gpu]
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
        own = [figure for figure in figures if figure.protocol == protocol]
        tasks = sorted({figure.task for figure in own})
        columns = [MODEL, *map(Column, tasks)]
        columns += [Column(name, numeric=False) for name in ("Pretraining", "Source")]
        rows = []
        for key in dict.fromkeys((f.model, f.pretraining, f.source) for f in own):
            scores = {f.task: f for f in own if (f.model, f.pretraining, f.source) == key}
            cells = [Cell(f.text, f.score) if (f := scores.get(task)) else NONE for task in tasks]
            rows.append([_text(key[0]), *cells, *map(_text, key[1:])])
        title, kind = f"Published: {protocol}", ("published", protocol, "")
        yield Table(title, columns, rows, kind=kind)


def provenance_tables(boards: Sequence[Leaderboard]) -> Iterator[Table]:
    """Yield where each result comes from, one table per protocol and task."""
    names = ("Written", "Revision", "Precision", "Weights", "Data", "Packages")
    columns = [MODEL, *(Column(name, numeric=False) for name in names)]
    for board in boards:
        for task in board.tasks:
            rows = []
            for entry in board.of_task(task):
                source = entry.result.provenance
                packages = ", ".join(f"{k} {v}" for k, v in source.get("packages", {}).items())
                hashes = [str(source.get(k, ""))[:12] for k in ("weights_hash", "data_hash")]
                texts = [source.get("written", ""), revision(entry.result)]
                texts += [source.get("precision", ""), *hashes, packages]
                rows.append([_model(entry.result), *map(_text, texts)])
            title, kind = f"Protocol {board.protocol}, {task}", ("provenance", board.protocol, task)
            yield Table(title, columns, rows, kind=kind)


def revision(result: Result) -> str:
    """Return the code's revision, shortened as git does."""
    commit, plus, changed = str(result.provenance.get("git_revision", "unknown")).partition("+")
    return commit[:10] + (f" with {changed}" if plus else "")
