"""Scores on corrupted clips beside those on clean ones, one table a protocol and task."""

from collections.abc import Sequence

from benchmark.data.corrupt import title_of
from benchmark.report.text_table import DASH, aligned, in_markdown
from benchmark.results.schema import Result

ABOUT = (
    "Heads trained on clean clips, tested on corrupted ones: accuracy in percent and, in brackets, "
    "the difference in points to the same clips when clean with its paired 95 % interval"
)


def corruptions_of(results: Sequence[Result]) -> list[str]:
    """Return the names of all corruptions among results, in the order they were asked for."""
    return list(dict.fromkeys(name for result in results for name in result.corrupted))


def by_table(results: Sequence[Result]) -> dict[tuple[str, str], list[Result]]:
    """Return the results with corruptions by protocol and task, best clean accuracy first."""
    found: dict[tuple[str, str], list[Result]] = {}
    order = sorted(results, key=lambda r: (r.protocol, r.task, -r.metrics["accuracy"]["value"]))
    for result in order:
        if result.corrupted:
            found.setdefault((result.protocol, result.task), []).append(result)
    return found


def robust_tables(results: Sequence[Result], *, markdown: bool = False) -> str:
    """Return a row a model and a column a corruption; "" where nothing was corrupted.

    Args:
        results: of any tasks and protocols.
        markdown: whether to write Markdown; otherwise aligned text.
    """
    parts = []
    for (protocol, task), own in by_table(results).items():
        names = corruptions_of(own)
        rows = [["model", "clean", *names]]
        for result in own:
            clean = f"{result.metrics['accuracy']['value']:.1f}"
            rows.append([result.model, clean, *[_cell(result, name) for name in names]])
        body = in_markdown(rows) if markdown else aligned(rows)
        meant = "; ".join(f"{name} = {title_of(name)}" for name in names)
        parts.append(f"Robustness, protocol {protocol}, {task}\n\n{body}\n\n{meant}")
    return "\n\n".join([ABOUT, *parts]) if parts else ""


def _cell(result: Result, name: str) -> str:
    """Return accuracy and difference under a corruption."""
    if name not in result.corrupted:
        return DASH
    found = result.corrupted[name]
    lost = found["difference"]
    return (
        f"{found['metrics']['accuracy']['value']:.1f} "
        f"({lost['value']:+.1f}: {lost['low']:+.1f} to {lost['high']:+.1f})"
    )
