"""The chart of what a protocol chose on validation clips, as inline SVG."""

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from benchmark.report.charts import line, svg, text
from benchmark.results.schema import Result

SETTINGS = {
    "strength": ("Choosing the regularisation", "weaker regularisation (C)"),
    "neighbours": ("Choosing the number of neighbours", "neighbours"),
    "learning_rate": ("Choosing the learning rate", "learning rate"),
}
"""What protocols choose on validation clips: a title, and the name of the axis."""


def setting(result: Result) -> str:
    """Return the name of what the protocol chooses on validation clips; "" where it does not."""
    names = {
        name for fold in result.folds for point in fold.get("validation") or [] for name in point
    }
    return next(iter(sorted(names - {"accuracy"})), "")


def choosing(result: Result) -> str:
    """Return the title of the chart that `validation` draws."""
    name = setting(result)
    return SETTINGS.get(name, (f"Choosing the {name.replace('_', ' ')}", ""))[0]


def curves(result: Result) -> list[list[tuple[float, float]]]:
    """Return of each fold the settings that were compared and their validation accuracies.

    A protocol that compares none has none.
    """
    found, name = [], setting(result)
    for fold in result.folds:
        points = fold.get("validation") or []
        if points and all({name, "accuracy"} <= set(p) and p[name] > 0 for p in points):
            found.append([(float(p[name]), float(p["accuracy"])) for p in points])
    return found


def validation(result: Result) -> str:
    """Return validation accuracy over what was chosen: each fold, their mean, and the choices.

    Args:
        result: for which `curves` has some.
    """
    folds = curves(result)
    xs = [math.log10(strength) for strength, _ in folds[0]]
    values = [accuracy for fold in folds for _, accuracy in fold]
    step = 5 if max(values) - min(values) < 30 else 10 if max(values) - min(values) < 60 else 20
    low = min(step * math.floor(min(values) / step), 100 - step)
    high = min(100, max(step * math.ceil(max(values) / step), low + step))
    left, top, wide, tall = 40.0, 12.0, 380.0, 220.0
    reach = max(xs) - min(xs) or 1.0

    def at(strength: float, accuracy: float) -> tuple[float, float]:
        x = left + wide * (math.log10(strength) - min(xs)) / reach
        return x, top + tall * (high - accuracy) / (high - low)

    parts = []
    for tick in range(low, high + 1, step):
        y = at(folds[0][0][0], tick)[1]
        parts.append(line(left, y, left + wide, y, "grid"))
        parts.append(text(left - 7, y + 4, str(tick), "end muted"))
    for power in range(math.ceil(min(xs) - 1e-9), math.floor(max(xs) + 1e-9) + 1):
        x = at(10.0**power, low)[0]
        parts.append(line(x, top + tall, x, top + tall + 4, "grid"))
        name = f"{10.0**power:g}" if power > -3 else f"1e\N{MINUS SIGN}{-power}"
        parts.append(text(x, top + tall + 17, name, "mid muted"))
    name = setting(result)
    axis = SETTINGS.get(name, ("", name.replace("_", " ")))[1]
    about = f"{axis} \N{RIGHTWARDS ARROW}"
    parts.append(text(left + wide, top + tall + 34, about, "end muted"))
    for fold in folds:
        parts.append(_path([at(*point) for point in fold], "thin" if len(folds) > 1 else "curve"))
    if len(folds) > 1 and len({len(fold) for fold in folds}) == 1:
        means = [float(np.mean([fold[i][1] for fold in folds])) for i in range(len(folds[0]))]
        drawn = [at(s, mean) for (s, _), mean in zip(folds[0], means, strict=True)]
        parts.append(_path(drawn, "curve"))
    for fold, told in zip(folds, result.folds, strict=False):
        for strength, accuracy in fold:
            if strength == told.get(name):
                x, y = at(strength, accuracy)
                about = (
                    f"{told['name']}: {axis} {strength:.2g}, {accuracy:.1f} % on validation clips"
                )
                parts.append(
                    f'<g><title>{escape(about)}</title><circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" '
                    'class="chosen"/></g>'
                )
    title = f"Validation accuracy of {result.model} on {result.task} by {axis}"
    return svg(left + wide + 14, top + tall + 42, title, parts)


def _path(points: Sequence[tuple[float, float]], kind: str) -> str:
    """Return a line through points."""
    listed = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f'<polyline points="{listed}" class="{kind}"/>'
