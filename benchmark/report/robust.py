"""The part of the report's page that says what scores lose when the sound is spoilt."""

from collections.abc import Sequence
from html import escape

from benchmark.data.corrupt import title_of
from benchmark.report.html import (
    NONE,
    Column,
    Entry,
    model_name,
    number,
    small,
    sorting_table,
    span,
)
from benchmark.report.robust_table import by_table, corruptions_of
from benchmark.results.schema import Result


def robustness(results: Sequence[Result]) -> str:
    """Return the section of corrupted clips, a table a protocol and task; "" where there are none.

    Args:
        results: of any tasks and protocols.
    """
    parts = []
    for (protocol, task), own in by_table(results).items():
        names = corruptions_of(own)
        columns = [Column("Model", text=True), Column("Clean")]
        columns += [Column(escape(name), below=escape(title_of(name))) for name in names]
        rows = [_row(result, names) for result in own]
        table = sorting_table("", columns, rows)
        parts.append(f"<h3>{escape(task)}, protocol {escape(protocol)}</h3>{table}")
    if not parts:
        return ""
    return (
        '<section><h2 id="robustness">Robustness</h2><p class="note">Heads trained on clean clips, '
        "tested on corrupted ones. Accuracy in percent; below it the difference in points to the "
        "same clips when clean, with its 95 % interval by paired bootstrap over clips.</p>"
        f"{''.join(parts)}</section>"
    )


def _row(result: Result, names: Sequence[str]) -> list[Entry]:
    """Return a model's accuracy when clean and under each corruption."""
    row = [
        Entry(model_name(result.model), result.model),
        number(result.metrics["accuracy"]["value"]),
    ]
    for name in names:
        found = result.corrupted.get(name)
        if found is None:
            row.append(Entry(NONE))
            continue
        lost, accuracy = found["difference"], found["metrics"]["accuracy"]["value"]
        told = number(lost["value"], signed=True).shown
        below = small(f"{told} ({span(lost['low'], lost['high'], signed=True)})")
        row.append(Entry(number(accuracy).shown + below, accuracy))
    return row
