"""The report as Markdown and as CSV, from the same boards as the page."""

import csv
import io
from collections.abc import Iterator, Sequence

import numpy as np

from benchmark.report.board import LEVEL, Board, Cell
from benchmark.report.cost_table import SHOWN, cost_table, model_costs
from benchmark.report.published import Figure
from benchmark.report.robust_table import robust_tables
from benchmark.report.tables import tables
from benchmark.results.schema import METRICS, Result

COLUMNS = (
    *("kind", "protocol", "task", "model", "metric", "value", "low", "high", "plus_minus"),
    *("n_clips", "n_listed", "partial", "untrained", "baseline", "difference"),
    *("difference_low", "difference_high", "p", "p_holm", "seeds", "seeds_mean"),
    *("seeds_deviation", "written", "git_revision", "source", "corruption"),
)


def markdown(boards: Sequence[Board], figures: Sequence[Figure]) -> str:
    """Return the tables as Markdown.

    Args:
        boards: one a protocol.
        figures: published by others; in tables of their own.
    """
    parts = ["# Benchmark report"]
    for board in boards:
        parts.append(f"## Protocol {board.protocol}")
        lacking = {(*place, board.protocol): why for place, why in board.gaps.items()}
        results = [cell.result for cell in board.cells.values()]
        parts.append(tables(results, lacking, markdown=True))
        compared = [(place, cell) for place, cell in sorted(board.cells.items()) if cell.comparison]
        if compared:
            parts.append(
                f"Differences to the baseline, {board.baseline}, on the same clips, in points with "
                "95 % intervals (paired bootstrap); exact p after Holm's correction over "
                f"all lines; * below {LEVEL:g}."
            )
            head = ["| task | model | difference | 95 % interval | p (Holm) |"]
            head.append("| --- | --- | ---: | ---: | ---: |")
            parts.append("\n".join(head + [_line(*place, cell) for place, cell in compared]))
    results = [cell.result for board in boards for cell in board.cells.values()]
    robust = robust_tables(results, markdown=True)
    parts += ["## Robustness", robust] if robust else []
    parts += ["## Cost of each model", cost_table(results, markdown=True)]
    if figures:
        parts.append("## Published figures\n\nPublished by others, not measured here.")
        lines = ["| model | pretraining | protocol | task | accuracy | source |"]
        lines.append("| --- | --- | --- | --- | ---: | --- |")
        for f in figures:
            deviation = "" if f.plus_minus is None else f" ± {f.plus_minus:.1f}"
            lines.append(
                f"| {f.model} | {f.pretraining} | {f.protocol} | {f.task} "
                f"| {f.score:.1f}{deviation} | {f.source} |"
            )
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def _line(task: str, model: str, cell: Cell) -> str:
    """Return one comparison as a line of a Markdown table."""
    low, high, difference = _difference(cell)
    star = " *" if cell.verdict else ""
    return (
        f"| {task} | {model} | {difference:+.1f}{star} | {low:+.1f} to {high:+.1f} "
        f"| {cell.adjusted:.2g} |"
    )


def _difference(cell: Cell) -> tuple[float, float, float]:
    """Return low, high and value of the difference to the baseline."""
    found = cell.comparison
    if found is None:
        raise ValueError(f"{cell.result.model} on {cell.result.task} was compared with nothing")
    low, high = np.percentile(found.resampled, [2.5, 97.5])
    return float(low), float(high), found.left - found.right


def comma_separated(boards: Sequence[Board], figures: Sequence[Figure]) -> str:
    """Return all numbers as CSV: a line a metric, a cost, and a published figure.

    The comparison with the baseline stands on the lines of accuracy.
    """
    file = io.StringIO()
    writer = csv.DictWriter(file, COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    for board in boards:
        for _, cell in sorted(board.cells.items()):
            for metric in METRICS:
                writer.writerow(_measured(board, cell, metric))
            for name in cell.result.corrupted:
                writer.writerows(_corrupted(cell.result, name))
    results = [cell.result for board in boards for cell in board.cells.values()]
    for cost in model_costs(results):
        for name in SHOWN:
            row = {"kind": "cost", "model": cost.model, "metric": name}
            writer.writerow(row | {"value": getattr(cost, name)})
    for f in figures:
        writer.writerow(
            {
                "kind": "published",
                "protocol": f.protocol,
                "task": f.task,
                "model": f.model,
                "metric": "accuracy",
                "value": f.score,
                "plus_minus": "" if f.plus_minus is None else f.plus_minus,
                "source": f.source,
            }
        )
    return file.getvalue()


def _measured(board: Board, cell: Cell, metric: str) -> dict[str, object]:
    """Return the line of one metric."""
    result = cell.result
    row: dict[str, object] = {
        "kind": "measured",
        "protocol": result.protocol,
        "task": result.task,
        "model": result.model,
        "metric": metric,
        **result.metrics[metric],
        "n_clips": result.n_clips,
        "n_listed": result.n_listed,
        "partial": result.partial or "",
        "untrained": result.untrained,
        "written": result.provenance.get("written", ""),
        "git_revision": result.provenance.get("git_revision", ""),
    }
    if result.seeds and metric in result.seeds:
        over = result.seeds[metric]
        row |= {"seeds": result.seeds["count"], "seeds_mean": over["mean"]}
        row |= {"seeds_deviation": over["deviation"]}
    if metric == "accuracy" and cell.comparison is not None:
        low, high, difference = _difference(cell)
        row |= {"baseline": board.baseline, "difference": difference, "difference_low": low}
        row |= {"difference_high": high, "p": cell.comparison.p, "p_holm": cell.adjusted}
    return row


def _corrupted(result: Result, name: str) -> Iterator[dict[str, object]]:
    """Yield the lines of one corruption; its difference is to the same clips when clean."""
    found = result.corrupted[name]
    for metric in METRICS:
        row: dict[str, object] = {
            "kind": "corrupted",
            "protocol": result.protocol,
            "task": result.task,
            "model": result.model,
            "metric": metric,
            **found["metrics"][metric],
            "n_clips": found["n_clips"],
            "corruption": name,
        }
        if metric == "accuracy":
            lost = found["difference"]
            row |= {"difference": lost["value"], "difference_low": lost["low"]}
            row |= {"difference_high": lost["high"], "p": lost["p"]}
        yield row
