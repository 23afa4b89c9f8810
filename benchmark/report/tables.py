"""Results as tables of models by tasks, one table a protocol, for the terminal and in Markdown."""

from collections.abc import Iterable, Mapping, Sequence

from benchmark.report.text_table import DASH, Notes, aligned, in_markdown
from benchmark.results.schema import Result
from benchmark.stats.metrics import seeds_text


class TableError(ValueError):
    """Results that must not stand in one table."""


def tables(
    results: Sequence[Result],
    missing: Mapping[tuple[str, str, str], str] | None = None,
    *,
    metric: str = "accuracy",
    markdown: bool = False,
) -> str:
    """Return one table for every protocol among the results.

    Args:
        results: of any protocols.
        missing: why a (task, model, protocol) has no result; task and model get a column and a
            row all the same.
        metric: one of the results' metrics.
        markdown: whether to write Markdown; otherwise aligned text.
    """
    lacking: dict[str, dict[tuple[str, str], str]] = {}
    for (task, model, protocol), why in (missing or {}).items():
        lacking.setdefault(protocol, {})[task, model] = why
    parts = []
    for protocol in in_order({result.protocol for result in results} | lacking.keys()):
        chosen = [result for result in results if result.protocol == protocol]
        reasons = lacking.get(protocol, {})
        if chosen:
            parts.append(table(chosen, reasons, metric=metric, markdown=markdown))
        else:
            lines = [f"{task}, {model}: {why}" for (task, model), why in reasons.items()]
            parts.append("\n".join([f"Protocol {protocol}: no result", "", *lines]))
    return "\n\n".join(parts)


def in_order(protocols: Iterable[str]) -> list[str]:
    """Return protocols by name and version, the linear probe before all others."""
    return sorted(protocols, key=lambda protocol: (not protocol.startswith("linear-"), protocol))


def table(
    results: Sequence[Result],
    missing: Mapping[tuple[str, str], str] | None = None,
    *,
    metric: str = "accuracy",
    markdown: bool = False,
) -> str:
    """Return the table of one protocol: a row a model, a column a task, and their mean.

    A cell is the value with its 95 % interval, in percent, and of several seeds the mean with its
    deviation, the value before being the first seed's. A dash stands where there is no result,
    with its reason below; the mean is over all tasks of the table or not given.

    Args:
        results: of one protocol.
        missing: why a (task, model) has no result.
        metric: one of the results' metrics.
        markdown: whether to write Markdown; otherwise aligned text.

    Raises:
        TableError: results of two protocols, two results for one cell, or none at all.
    """
    missing = missing or {}
    protocols = sorted({result.protocol for result in results})
    if len(protocols) != 1:
        raise TableError(f"a table has one protocol, not {len(protocols)}: {', '.join(protocols)}")
    cells: dict[tuple[str, str], Result] = {}
    for result in results:
        if cells.setdefault((result.task, result.model), result) is not result:
            raise TableError(f"two results of {result.model} on {result.task}: keep one")
    places = [*cells, *missing]
    tasks = list(dict.fromkeys(task for task, _ in places))
    models = list(dict.fromkeys(model for _, model in places))
    notes = Notes()
    rows = [["model", *tasks] + (["mean"] if len(tasks) > 1 else [])]
    for model in models:
        untrained = any(cell.untrained for (_, name), cell in cells.items() if name == model)
        row = [f"{model} (untrained)" if untrained else model]
        for task in tasks:
            found = cells.get((task, model))
            why = f"{task}, {model}: {missing.get((task, model), 'not run')}"
            row.append(_cell(found, metric, notes) if found else f"{DASH} {notes.mark(why)}")
        if len(tasks) > 1:
            values = [
                cells[t, model].metrics[metric]["value"] for t in tasks if (t, model) in cells
            ]
            whole = len(values) == len(tasks)
            row.append(f"{sum(values) / len(values):.1f}" if whole else DASH)
        rows.append(row)
    title = f"Protocol {protocols[0]}: {metric} in percent (95 % interval over clips, groups whole)"
    body = in_markdown(rows) if markdown else aligned(rows)
    end = "  \n" if markdown else "\n"
    footnotes = end.join(notes.lines())
    return f"{title}\n\n{body}" + (f"\n\n{footnotes}" if footnotes else "")


def _cell(result: Result, metric: str, notes: Notes) -> str:
    """Return value, interval and marks of one result."""
    interval = result.metrics[metric]
    text = f"{interval['value']:.1f} ({interval['low']:.1f}-{interval['high']:.1f})"
    if result.seeds and metric in result.seeds:
        text += f", {result.seeds['count']} seeds {seeds_text(result.seeds, metric)}"
    if result.partial:
        why = f"{result.task}: partial, {result.n_clips} clips tested; {result.partial}"
        text += f" partial {notes.mark(why)}"
    if result.bad_clips:
        why = (
            f"{result.task}, {result.model}: {len(result.bad_clips)} of {result.n_listed} clips "
            f"could not be used, the first: {result.bad_clips[0]['reason']}"
        )
        text += f" {notes.mark(why)}"
    for note in result.notes:
        text += f" {notes.mark(note)}"
    return text
