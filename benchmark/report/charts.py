"""Charts of one result as inline SVG, coloured by the page's own style."""

from collections.abc import Sequence
from html import escape

import numpy as np

from benchmark.results.schema import Result
from benchmark.stats.metrics import confusion_matrix

MOST_CLASSES = 60
"""A matrix of more classes is not legible; the commonest confusions are listed instead."""
COUNTED_CLASSES = 20
"""Up to so many classes the counts are written into the cells."""
DARK_SHARE = 0.73
"""Of a cell's shade; black reads better below it, white above it."""
MOST_BARS = 30
LETTER = 6.2
"""Width of an average letter at 11 pixels, in pixels."""


def svg(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    """Return a drawing of a size in pixels that says in words what it shows."""
    return (
        f'<svg role="img" aria-label="{escape(title)}" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}">{"".join(parts)}</svg>'
    )


def text(x: float, y: float, content: str, kind: str = "", more: str = "") -> str:
    """Return a text at a place; kind is its style, with "end" or "mid" for its anchor."""
    return f'<text x="{x:.1f}" y="{y:.1f}" class="{kind}" {more}>{escape(content)}</text>'


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> str:
    """Return a straight line."""
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{kind}"/>'


def confusion(result: Result) -> str:
    """Return the confusion matrix: rows are true classes, shade is a cell's share of its row.

    Args:
        result: of at most `MOST_CLASSES` classes.
    """
    counts = confusion_matrix(result.labels(), result.predicted(), len(result.classes))
    size = len(counts)
    side = 30.0 if size <= COUNTED_CLASSES else max(11.0, 620.0 / size)
    letter = 5.1 if side < 14 else LETTER
    gutter = letter * max(len(label) for label in result.classes) + 14
    # Labels above the columns lean by 60 degrees: they rise by sin 60 of their length and reach to
    # the right by cos 60 of it, past the matrix where the label is long and its column far right.
    rise = 0.87 * gutter + 4
    reach = max(
        letter * len(label) / 2 + 14 - (size - place - 0.5) * side
        for place, label in enumerate(result.classes)
    )
    kind = "small" if side < 14 else ""
    parts = []
    for place, label in enumerate(result.classes):
        middle = place * side + side / 2
        x = gutter + middle
        turn = f'transform="rotate(-60 {x:.1f} {rise - 6:.1f})"'
        parts.append(text(x, rise - 6, label, kind, turn))
        parts.append(text(gutter - 7, rise + middle + 4, label, f"end {kind}"))
    totals = counts.sum(axis=1)
    for row, column in np.argwhere(counts).tolist():
        count, total = int(counts[row, column]), int(totals[row])
        share = count / total
        x, y = gutter + column * side, rise + row * side
        told = f"{result.classes[row]} taken for {result.classes[column]}: {count} of {total}"
        if row == column:
            told = f"{result.classes[row]} right: {count} of {total}"
        parts.append(
            f'<g><title>{escape(told)}</title><rect x="{x + 0.5:.1f}" y="{y + 0.5:.1f}" '
            f'width="{side - 1:.1f}" height="{side - 1:.1f}" class="cell" '
            f'fill-opacity="{0.08 + 0.92 * share:.2f}"/>'
        )
        if size <= COUNTED_CLASSES:
            shade = "mid on-cell" if share > DARK_SHARE else "mid on-faint"
            parts.append(text(x + side / 2, y + side / 2 + 4, str(count), shade))
        parts.append("</g>")
    frame = f'x="{gutter:.1f}" y="{rise:.1f}" width="{size * side:.1f}" height="{size * side:.1f}"'
    parts.append(f'<rect {frame} class="frame"/>')
    title = f"Confusion matrix of {result.model} on {result.task}, {size} classes"
    return svg(gutter + size * side + max(reach, 2), rise + size * side + 2, title, parts)


def confused(result: Result, most: int = 20) -> list[tuple[str, str, int, int]]:
    """Return the commonest confusions: true class, class given, clips, clips of the true class."""
    counts = confusion_matrix(result.labels(), result.predicted(), len(result.classes))
    totals = counts.sum(axis=1)
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    rows, columns = np.unravel_index(order, wrong.shape)
    return [
        (result.classes[r], result.classes[c], int(wrong[r, c]), int(totals[r]))
        for r, c in zip(rows.tolist(), columns.tolist(), strict=True)
        if wrong[r, c]
    ]


def bar_classes(result: Result, baseline: Result | None) -> list[str]:
    """Return the classes to draw, most ahead of the baseline first.

    Of more than `MOST_BARS` classes those furthest ahead and furthest behind are taken; without a
    baseline the order is by F1.
    """
    f1 = {label: values["f1"]["value"] for label, values in result.by_class.items()}
    other = baseline.by_class if baseline else {}
    gain = {
        label: value - (other[label]["f1"]["value"] if label in other else 0.0)
        for label, value in f1.items()
    }
    order = sorted(gain, key=lambda label: -gain[label])
    if len(order) <= MOST_BARS:
        return order
    return order[: MOST_BARS // 2] + order[-MOST_BARS // 2 :]


def f1_bars(result: Result, baseline: Result | None) -> str:
    """Return F1 by class as bars with intervals, above the baseline's.

    Args:
        result: whose classes are drawn.
        baseline: of the same task; None draws the result alone.
    """
    classes = bar_classes(result, baseline)
    other = baseline.by_class if baseline else {}
    gutter = LETTER * max(len(label) for label in classes) + 14
    wide, pitch, top = 240.0, 26.0, 20.0
    bottom = top + pitch * len(classes)

    def at(value: float) -> float:
        return gutter + wide * value / 100

    parts = []
    for tick in (0, 25, 50, 75, 100):
        parts.append(line(at(tick), top - 2, at(tick), bottom, "grid"))
        parts.append(text(at(tick), top - 7, str(tick), "mid muted"))
    if other:
        parts.append(text(at(100) + 88, top - 7, "difference", "end muted"))
    for place, label in enumerate(classes):
        y = top + pitch * place + 4
        f1 = result.by_class[label]["f1"]
        told = f"{label}: F1 {f1['value']:.1f} ({f1['low']:.1f} to {f1['high']:.1f})"
        thick = 9 if other else 14
        shapes = [_bar(at(0), y, at(f1["value"]) - at(0), thick, "bar")]
        middle = y + thick / 2
        shapes.append(line(at(f1["low"]), middle, at(f1["high"]), middle, "whisker"))
        parts.append(text(gutter - 7, y + 12, label, "end"))
        parts.append(text(at(100) + 34, y + 12, f"{f1['value']:.1f}", "end"))
        if label in other:
            base = other[label]["f1"]["value"]
            told += f"; baseline {base:.1f}"
            shapes.append(_bar(at(0), y + 10, at(base) - at(0), 6, "base"))
            parts.append(text(at(100) + 88, y + 12, _signed(f1["value"] - base), "end"))
        parts.append(f"<g><title>{escape(told)}</title>{''.join(shapes)}</g>")
    title = f"F1 by class of {result.model} on {result.task}, in percent"
    return svg(at(100) + 92, bottom + 4, title, parts)


def _bar(x: float, y: float, width: float, height: float, kind: str) -> str:
    """Return a bar, a hair wide at least so that a zero is seen to be drawn."""
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0.8):.1f}" height="{height}" '
        f'class="{kind}"/>'
    )


def _signed(value: float) -> str:
    """Return a difference with its sign; a typographic minus is as wide as the plus."""
    return f"{value:+.1f}".replace("-", "\N{MINUS SIGN}")
