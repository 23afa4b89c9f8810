"""One task of a report: what was tested, the comparison, and the charts of every model."""

from collections.abc import Mapping
from html import escape

import numpy as np

from benchmark.data.clip import Task
from benchmark.report.board import Board, Cell
from benchmark.report.charts import (
    MOST_BARS,
    MOST_CLASSES,
    bar_classes,
    confused,
    confusion,
    f1_bars,
)
from benchmark.report.curves import choosing, curves, validation
from benchmark.report.html import (
    NONE,
    Column,
    Entry,
    chance,
    count,
    mark,
    model_name,
    number,
    small,
    sorting_table,
    span,
)
from benchmark.report.map import map_told, scatter
from benchmark.results.schema import Result
from benchmark.stats.metrics import seeds_text


def task_id(board: Board, task: str) -> str:
    """Return the anchor of a task under one protocol."""
    return f"{board.protocol}--{task}"


def task_section(board: Board, name: str, known: Mapping[str, Task]) -> str:
    """Return a task that opens: facts, comparison, and one panel of charts a model.

    Args:
        board: of one protocol.
        name: of the task.
        known: tasks by name, for title, licence and citation; others go without.
    """
    cells = board.of_task(name)
    best = cells[0].result
    task = known.get(name)
    title = escape(f"{name}: {task.title}" if task else name)
    accuracy = best.metrics["accuracy"]["value"]
    tags = ' <span class="tag warn">partial</span>' if any(c.result.partial for c in cells) else ""
    summary = (
        f'<span class="title">{title}</span>{tags}<span class="soft">'
        f"{count(best.n_clips)} clips, {len(best.classes)} classes; "
        f"best {accuracy:.1f} %, {escape(best.model)}</span>"
    )
    anchor = escape(task_id(board, name))
    options = "".join(
        f'<option value="{place}">{escape(cell.result.model)}</option>'
        for place, cell in enumerate(cells)
    )
    base = board.cells.get((name, board.baseline or ""))
    panels = "".join(
        f'<div data-panel="{place}">{_panel(cell, base.result if base else None)}</div>'
        for place, cell in enumerate(cells)
    )
    return (
        f'<details id="{anchor}"><summary>{summary}</summary><div class="inside">'
        f"{_facts(cells, task)}{_comparison(board, cells)}"
        f'<p><label>Charts of <select data-models autocomplete="off">{options}</select></label></p>'
        f"{panels}</div></details>"
    )


def split_policy(result: Result) -> str:
    """Return in words how the clips were split, from the result's folds."""
    folds = result.folds
    if len(folds) == 1:
        fold = folds[0]
        return (
            f"fixed: {count(fold['n_train'])} training, {count(fold['n_valid'])} validation and "
            f"{count(fold['n_test'])} test clips"
        )
    sizes = sorted({fold["n_test"] for fold in folds})
    tested = count(sizes[0]) if len(sizes) == 1 else f"{count(sizes[0])} to {count(sizes[-1])}"
    return f"{len(folds)} folds of {tested} test clips, every clip tested once"


def _facts(cells: list[Cell], task: Task | None) -> str:
    """Return what a reader must know before the numbers."""
    result = cells[0].result
    tested = " / ".join(dict.fromkeys(count(cell.result.n_clips) for cell in cells))
    facts = {
        "Clips tested": f"{tested} of {count(result.n_listed)} listed",
        "Classes": count(len(result.classes)),
        "Split": split_policy(result),
        "Protocol": result.protocol,
        "Missing from the set": "; ".join(
            dict.fromkeys(cell.result.partial for cell in cells if cell.result.partial)
        ),
        "Clips not used": "; ".join(
            f"{cell.result.model}: {len(cell.result.bad_clips)}, the first: "
            f"{cell.result.bad_clips[0]['reason']}"
            for cell in cells
            if cell.result.bad_clips
        ),
        "Notes": "\n".join(dict.fromkeys(note for cell in cells for note in cell.result.notes)),
        "Citation": task.citation if task else "",
        "Licence": task.licence if task else "",
    }
    listed = "".join(
        f"<dt>{name}</dt><dd>{escape(value)}</dd>" for name, value in facts.items() if value
    )
    return f"<dl>{listed}</dl>"


def _comparison(board: Board, cells: list[Cell]) -> str:
    """Return the table of models against the baseline."""
    columns = [Column("Model", text=True), Column("Accuracy"), Column("Mean of folds")]
    several = any(cell.result.seeds for cell in cells)
    columns += [Column("F1"), *[Column("Mean of seeds")] * several]
    columns += [Column("Difference"), Column("p"), Column("p (Holm)")]
    rows = []
    for cell in cells:
        result, found = cell.result, cell.comparison
        accuracy = result.metrics["accuracy"]
        folds = NONE
        if len(result.folds) > 1:
            folds = f"{result.fold_mean['accuracy']:.1f} ± {result.fold_mean['deviation']:.1f}"
        tags = ["baseline"] if result.model == board.baseline else []
        tags += ["untrained"] if result.untrained else []
        row = [
            Entry(model_name(result.model, *tags), result.model),
            number(accuracy["value"], below=span(accuracy["low"], accuracy["high"])),
            Entry(folds, result.fold_mean.get("accuracy")),
            number(result.metrics["f1"]["value"]),
            *[_seeds(result)] * several,
        ]
        if found is None:
            row += [Entry(NONE)] * 3
        else:
            low, high = np.percentile(found.resampled, [2.5, 97.5])
            under = small(span(low, high, signed=True))
            gain = number(found.left - found.right, signed=True)
            row.append(Entry(gain.shown + mark(cell) + under, gain.value))
            row += [chance(found.p), chance(cell.adjusted)]
        rows.append(row)
    caption = (
        "Percent, with 95 % intervals over clips, those of one group (speaker, recording) drawn "
        "together. F1 is the mean over classes; ± is the deviation over folds. Differences to the "
        "baseline are in points, with the paired bootstrap's 95 % interval and an exact p "
        "(McNemar's; where groups have several clips, that of flipped signs), on the clips that "
        "both were tested on."
    )
    if several:
        caption += (
            " Mean of seeds: accuracy over runs that differ in their seed alone, with its "
            "deviation; all else is of the first seed."
        )
    reasons = "; ".join(dict.fromkeys(f"{c.result.model}: {c.why}" for c in cells if c.why))
    shared = "; ".join(
        f"{c.result.model}: {count(c.comparison.n_clips)}"
        for c in cells
        if c.comparison and c.comparison.n_clips < c.result.n_clips
    )
    notes = f'<p class="note">Not compared: {escape(reasons)}.</p>' if reasons else ""
    notes += (
        f'<p class="note">Clips shared with the baseline: {escape(shared)}.</p>' if shared else ""
    )
    return sorting_table(caption, columns, rows) + notes


def _seeds(result: Result) -> Entry:
    """Return mean and deviation of the accuracy over seeds, and how many there were."""
    if result.seeds is None:
        return Entry(NONE)
    shown = seeds_text(result.seeds, "accuracy") + small(f"{result.seeds['count']} seeds")
    return Entry(shown, result.seeds["accuracy"]["mean"])


def _panel(cell: Cell, baseline: Result | None) -> str:
    """Return the charts of one model."""
    result = cell.result
    other = baseline if baseline is not None and baseline.model != result.model else None
    figures = [_confusions(result)]
    keys = '<span class="key bar"></span>this model, with its 95 % interval'
    if other:
        keys += f'<br><span class="key base"></span>baseline, {escape(other.model)}'
    drawn, held = len(bar_classes(result, other)), len(result.by_class)
    if drawn < held:
        by = "difference" if other else "F1"
        keys += f"<br>the {MOST_BARS // 2} highest and lowest by {by}, of {held} classes"
    figures.append(_figure("F1 by class, in percent", keys, f1_bars(result, other)))
    folds = curves(result)
    if folds:
        about = "accuracy on validation clips, in percent; "
        about += "thin: each fold, thick: their mean, rings: choices" * (len(folds) > 1)
        about += "ring: the choice" * (len(folds) == 1)
        figures.append(_figure(choosing(result), about, validation(result)))
    if result.map:
        figures.append(_figure("Map of the embeddings", map_told(result), scatter(result)))
    return f"<h3>{model_name(result.model)}</h3>" + f'<div class="charts">{"".join(figures)}</div>'


def _confusions(result: Result) -> str:
    """Return the confusion matrix, or of very many classes the commonest confusions."""
    if len(result.classes) <= MOST_CLASSES:
        told = "rows: true class; columns: class given; shade: share of the row's clips"
        return _figure("Confusion matrix, in clips", told, confusion(result))
    columns = [Column("True class", text=True), Column("Class given", text=True)]
    columns += [Column("Clips"), Column("Of")]
    rows = [
        [Entry(escape(true), true), Entry(escape(given), given), number(n, 0), number(total, 0)]
        for true, given, n, total in confused(result)
    ]
    told = f"a matrix of {count(len(result.classes))} classes cannot be read: its largest cells"
    return _figure("Commonest confusions", told, sorting_table("", columns, rows))


def _figure(title: str, told: str, drawing: str) -> str:
    """Return a figure with its title and the words to read it by."""
    caption = f"<figcaption><strong>{title}</strong><span>{told}</span></figcaption>"
    return f'<figure>{caption}<div class="scroll">{drawing}</div></figure>'
