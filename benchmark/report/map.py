"""The map of a task's embeddings as inline SVG: a dot a clip, coloured by its class."""

from html import escape

from benchmark.report.charts import COUNTED_CLASSES, LETTER, line, svg, text
from benchmark.results.schema import Result

SIDE = 360.0
EDGE = 8.0
PITCH = 16.0
LEGEND_ROWS = 23
MOST_NAMED = 60
"""Up to so many classes stand in a legend; of more the classes are named where a mouse points."""


def scatter(result: Result) -> str:
    """Return the map; the dots of a class and its name in the legend are one group.

    Args:
        result: that has a map.
    """
    found = result.map or {}
    by_class: dict[int, list[str]] = {}
    for x, y, label in zip(found["x"], found["y"], found["label"], strict=True):
        # A path of length zero with round ends is a dot, in a tenth of a circle's characters.
        dot = f"M{_at(x):.0f} {_at(-y):.0f}h0"
        by_class.setdefault(label, []).append(dot)
    named = len(by_class) <= MOST_NAMED
    width, shapes = SIDE, []
    for place, label in enumerate(sorted(by_class)):
        name = result.classes[label]
        told = f"{name}: {len(by_class[label])} clips"
        parts = [f'<title>{escape(told)}</title><path d="{"".join(by_class[label])}"/>']
        if named:
            column, row = divmod(place, LEGEND_ROWS)
            widest = max(len(result.classes[other]) for other in by_class)
            left = SIDE + 16 + column * (LETTER * widest + 28)
            top = EDGE + 6 + PITCH * row
            parts.append(f'<path d="M{left:.0f} {top:.0f}h0"/>')
            parts.append(text(left + 10, top + 4, name))
            width = max(width, left + 14 + LETTER * widest)
        shapes.append(f'<g class="shade{place % 3}" style="--hue:{_hue(place, len(by_class))}">')
        shapes.append("".join(parts) + "</g>")
    axes = [line(_at(0), 0, _at(0), SIDE, "grid"), line(0, _at(0), SIDE, _at(0), "grid")]
    height = max(SIDE, EDGE + PITCH * min(len(by_class), LEGEND_ROWS))
    title = f"Map of the embeddings of {result.model} on {result.task}"
    drawing = ["".join(axes), '<g class="map">', *shapes, "</g>"]
    return svg(width, height, title, drawing)


def map_told(result: Result) -> str:
    """Return how the map is to be read."""
    found = result.map or {}
    along, across = found["explained"]
    told = (
        f"first two principal components of {len(found['x'])} clips, which hold {along:.0f} and "
        f"{across:.0f} % of the variance; colour: class; point at a dot or a name to see its class"
    )
    few = len(set(found["label"])) <= COUNTED_CLASSES
    return told if few else told + ", as so many colours cannot all be told apart"


def _at(value: float) -> float:
    """Return a coordinate of [-1, 1] in pixels."""
    return SIDE / 2 + value * (SIDE / 2 - EDGE)


def _hue(place: int, classes: int) -> int:
    """Return an angle on the colour wheel."""
    return round(360 * place / classes)
