"""What models scored, as tables: all tasks of a protocol, one task, its classes, robustness."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

import numpy as np

from benchmark.data.clip import Task
from benchmark.data.corrupt import title_of
from benchmark.data.hear_catalogue import known_tasks
from benchmark.heareval.predict import protocol as heareval_protocol
from benchmark.report.leaderboard import LEVEL, Entry, Leaderboard, accuracy, protocol_order
from benchmark.report.published import PublishedRow
from benchmark.report.table import (
    MARKS,
    NONE,
    Cell,
    Column,
    Table,
    TableError,
    interval,
    number,
    p_value,
    spread,
)
from benchmark.results.schema import METRICS, Result
from benchmark.stats.metrics import confusion_matrix

MAX_CLASSES = 60
"""Maximum rows of a table by class, and maximum size of a confusion matrix."""
MAX_CONFUSIONS = 20
MODEL = Column("Model", numeric=False)
SCORES = "Accuracy in percent with 95 % bootstrap intervals over clips; the clips of a group "
SCORES += "(speaker, recording) are resampled together"
TESTED = (
    "In percent, with 95 % bootstrap intervals over clips. Precision, recall and F1 are averaged "
    "over classes; ± is the standard deviation. Differences to the baseline are in points, on the "
    "clips that both models were tested on, with the 95 % interval of the paired bootstrap and an "
    "exact p value (McNemar's test, or a sign-flip test where groups have several clips)."
)
COMPARED = (
    f"{MARKS[1]} significantly above, {MARKS[-1]} significantly below the baseline {{}}: exact "
    f"paired test on the same clips, level {LEVEL:g}, Holm's correction over the table. Models "
    "share a rank (=) if the paired bootstrap interval of their difference to the first of them "
    "contains 0"
)
CORRUPTED = (
    "Classifiers trained on clean clips and tested on corrupted ones: accuracy in percent, and the "
    "difference in points to the accuracy on the same clean clips, with 95 % intervals (paired for "
    "the difference)."
)


def model_cell(result: Result, baseline: str | None = None) -> Cell:
    """Return a model's name with tags for precision, missing training and the baseline."""
    precision = str(result.provenance.get("precision", ""))
    tags = [precision] * (precision not in ("", "fp32", "as loaded"))
    tags += ["untrained"] * result.untrained + ["baseline"] * (result.model == baseline)
    return replace(Cell(result.model), tags=tuple(tags))


def score_table(board: Leaderboard) -> Table:
    """Return one row per model and one column per task, the highest mean first."""
    baseline = board.baseline if len(board.models) > 1 else None
    names = {m: model_cell(e.result, baseline) for (_, m), e in reversed(board.entries.items())}
    ranks = [board.ranks.get(model, 0) for model in board.models]
    shared = {task: _shared_notes(board, task) for task in board.tasks}
    several = len(board.tasks) > 1
    columns = [MODEL, Column("Rank")]
    columns += [Column("Mean", f"{len(board.tasks)} tasks", dots=True)] * several
    for task in board.tasks:
        first = next((entry.result for entry in board.of_task(task)), None)
        below = f"{first.n_clips:,} clips, {len(first.classes):,} classes" if first else ""
        columns.append(Column(task, below, dots=True, notes=shared[task]))
    rows = []
    for model, n in zip(board.models, ranks, strict=True):
        rank = Cell(f"{n}{'=' * (ranks.count(n) > 1)}", n) if n else NONE
        row = [names.get(model, Cell(model)), rank]
        row += [interval(board.means.get(model))] * several
        rows.append([*row, *(_score(board, task, model, shared[task]) for task in board.tasks)])
    breaks = frozenset(i for i in range(1, len(ranks)) if ranks[i] != ranks[i - 1])
    caption = f"{SCORES}; {COMPARED.format(baseline)}." if baseline else f"{SCORES}."
    title, kind = f"Protocol {board.protocol}", ("overview", board.protocol, "")
    return Table(title, columns, rows, caption, breaks, kind=kind)


def _shared_notes(board: Leaderboard, task: str) -> tuple[str, ...]:
    """Return the notes that all results on a task have."""
    results = [entry.result for entry in board.of_task(task)]
    notes = results[0].notes if results else ()
    return tuple(note for note in notes if all(note in r.notes for r in results))


def _score(board: Leaderboard, task: str, model: str, shared: Collection[str]) -> Cell:
    """Return what a model scored on a task, without the notes that all models share."""
    entry = board.entries.get((task, model))
    if entry is None:
        return replace(NONE, notes=(f"{task}: {board.failures[task, model]}",))
    result, notes = entry.result, [note for note in entry.result.notes if note not in shared]
    if entry.reason:
        notes.append(f"{task}: not compared with the baseline: {entry.reason}")
    return interval(
        result.metrics["accuracy"],
        more=f"{result.seeds['count']} seeds {_seeds(result).text}" if result.seeds else "",
        mark=entry.mark,
        tags=("partial",) * bool(result.partial),
        notes=(*notes, *_lacking(result)),
    )


def _lacking(result: Result) -> Iterator[str]:
    """Yield notes on the clips that a result lacks."""
    if result.bad_clips:
        yield (
            f"{result.task}: {len(result.bad_clips):,} of {result.n_listed:,} clips could not be "
            f"used, the first: {result.bad_clips[0]['reason']}"
        )
    if result.partial:
        yield f"{result.task}: {result.n_clips:,} clips tested; {result.partial}"


def _seeds(result: Result) -> Cell:
    """Return the mean and deviation of the accuracy over seeds."""
    over = (result.seeds or {}).get("accuracy")
    return spread(over["mean"], over["deviation"]) if over else NONE


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
        row = [model_cell(result, board.baseline), _score(board, task, result.model, shared)]
        row += [interval(result.metrics[name]) for name in METRICS[1:]]
        over = [result.fold_mean.get(name, 0.0) for name in ("accuracy", "deviation")]
        row += [spread(*over) if result.folds[1:] else NONE] * folds + [_seeds(result)] * seeds
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


def _comparison(entry: Entry) -> list[Cell]:
    """Return the difference to the baseline, its p, and that p corrected."""
    comparison = entry.comparison
    if comparison is None:
        return [replace(NONE, notes=(entry.reason,) * bool(entry.reason)), NONE, NONE]
    fewer = comparison.n_clips < entry.result.n_clips
    notes = (f"{comparison.n_clips:,} clips shared with the baseline",) * fewer
    gain = interval(comparison.difference(), sign=True, mark=entry.mark, notes=notes)
    return [gain, p_value(comparison.p), p_value(entry.adjusted)]


def split_policy(result: Result) -> str:
    """Return in words how the clips were split, from the result's folds."""
    counts = {f"n_{part}" for part in ("train", "valid", "test")}
    if not result.folds or not all(counts <= fold.keys() for fold in result.folds):
        return "not stated"
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
        row = [Cell(name), *(interval(own[m]) for m in ("f1", "precision", "recall"))]
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
            names = Cell(result.classes[true]), Cell(result.classes[predicted])
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
                row = [model_cell(result), interval(result.metrics["accuracy"])]
                for scores in (result.corrupted.get(name, {}) for name in names):
                    row.append(interval(scores.get("metrics", {}).get("accuracy")))
                    row.append(interval(scores.get("difference"), sign=True))
                rows.append(row)
            title, kind = f"Robustness, protocol {protocol}, {task}", ("corrupted", protocol, task)
            yield Table(title, columns, rows, caption, kind=kind)
            caption = ""


def hear_tables(
    results: Sequence[Result],
    published: Sequence[PublishedRow] = (),
    tasks: Sequence[str] = (),
) -> list[Table]:
    """Return scores in HEAR's own measures, one table per protocol.

    Published rows, and columns of these tasks even where they have no result, belong to the
    protocol of heareval's default grid.

    Raises:
        TableError: two results for one cell.
    """
    default = heareval_protocol("default")
    return [
        _hear_table(
            version,
            [result for result in results if result.protocol == version],
            *((published, tasks) if version == default else ((), ())),
        )
        for version in sorted({r.protocol for r in results} | ({default} if tasks else set()))
    ]


def _hear_table(
    version: str,
    results: Sequence[Result],
    published: Sequence[PublishedRow],
    tasks: Sequence[str],
) -> Table:
    """Return one row per model, published ones last, and one column per task."""
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
        if result is None:
            return NONE
        tags = ("partial",) * bool(result.partial)
        notes = (*result.notes, *_lacking(result))
        return interval(result.metrics[result.metric], 3, tags=tags, notes=notes)

    rows = []
    for own in map(by_model.__getitem__, sorted(by_model, key=order)):
        name = model_cell(max(own.values(), key=lambda result: result.untrained))
        rows.append([name, *(score(own.get(task)) for task in tasks)])
    for row in published:
        if row.scores.keys() & set(tasks):
            name = replace(Cell(row.model), tags=("published",), notes=(row.source,))
            rows.append([name, *(number(row.scores.get(task), 3) for task in tasks)])
    title = f"Protocol {version}: first measure of each task, as a fraction"
    return Table(title, [MODEL, *columns], rows, kind=("hear", version, ""))
