"""Figures of one result as SVG in the page's colors: confusion matrix, validation curve, map."""

import colorsys
import io
import math
import re
from typing import Any
from xml.etree import ElementTree

import matplotlib
import numpy as np
from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import PathPatch
from matplotlib.path import Path

from benchmark.report.table import clean
from benchmark.results.schema import Result
from benchmark.stats.metrics import confusion_matrix

COUNTED_CLASSES = 20
"""Maximum number of classes for which counts are written into the cells of a matrix."""
NAMED_CLASSES = 60
"""Maximum number of classes for which a map has a legend."""
COLORS = {
    "#010203": "ink",
    "#020301": "soft",
    "#030102": "rule",
    "#020103": "accent",
    "#010302": "base",
}
"""Placeholder colors, which become the page's CSS variables and so follow the color scheme."""
INK, SOFT, RULE, ACCENT, BASE = COLORS
CELL = "#3f7fd6"
"""Color of a full cell of a matrix; text on it is legible in both color schemes."""
SETTINGS = {
    "strength": ("the regularization", "weaker regularization (C)"),
    "neighbours": ("the number of neighbors", "neighbors"),
}
"""Names of the hyperparameters that are chosen on validation clips, for titles and axes."""
ElementTree.register_namespace("", "http://www.w3.org/2000/svg")
ElementTree.register_namespace("xlink", "http://www.w3.org/1999/xlink")
STYLE: Any = {
    "svg.fonttype": "none",
    "text.parse_math": False,
    "path.simplify": False,
    "axes.formatter.use_mathtext": False,
    "font.size": 8,
    "text.color": INK,
    "axes.edgecolor": RULE,
    "axes.labelcolor": SOFT,
    "xtick.color": RULE,
    "ytick.color": RULE,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "grid.color": RULE,
    "legend.frameon": False,
    "legend.handletextpad": 0.2,
    "lines.markersize": 4,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


@rc_context(STYLE)
def confusion(result: Result) -> Markup:
    """Return the confusion matrix: rows are true classes, shade is a cell's share of its row."""
    counts = confusion_matrix(result.labels(), result.predicted(), len(result.classes))
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    shades = np.empty((*counts.shape, 4))
    shades[..., :3] = to_rgb(CELL)
    shades[..., 3] = np.where(counts > 0, 0.08 + 0.62 * shares, 0)
    size = len(counts)
    side = 0.34 if size <= COUNTED_CLASSES else max(0.15, 7 / size)
    figure, axes = _axes(size * side, size * side)
    axes.imshow(shades, interpolation="none", aspect="auto")
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(True)
    for index, name in enumerate(map(clean, result.classes)):  # texts cost half as much as ticks
        axes.text(index, -0.5 - 0.1 / side, name, rotation=60, rotation_mode="anchor")
        axes.text(-0.5 - 0.05 / side, index, name, ha="right", va="center_baseline")
    for row, column in np.argwhere(counts).tolist() if size <= COUNTED_CLASSES else ():
        axes.text(column, row, f"{counts[row, column]}", ha="center", va="center")
    return _svg(figure, result, f"Confusion matrix, {size} classes,")


def _setting(result: Result) -> str:
    """Return the name of what the protocol chose on validation clips; "" where it chose nothing."""
    points = [point for fold in result.folds for point in fold.get("validation") or []]
    return min({name for point in points for name in point} - {"accuracy"}, default="")


def choice(result: Result) -> tuple[str, str]:
    """Return what the protocol chose on validation clips, in words and as an axis."""
    name = _setting(result).replace("_", " ")
    return SETTINGS.get(_setting(result), (f"the {name}", name))


def curves(result: Result) -> list[np.ndarray]:
    """Return setting and accuracy `[n, 2]` of each fold that has a validation curve."""
    name, folds = _setting(result), [fold.get("validation") for fold in result.folds]
    return [
        np.array([(point[name], point["accuracy"]) for point in points], dtype=np.float64)
        for points in folds
        if points and all({name, "accuracy"} <= set(p) and p[name] > 0 for p in points)
    ]


@rc_context(STYLE)
def validation(result: Result) -> Markup:
    """Return validation accuracy over the hyperparameter: each fold, the mean, and the choices."""
    folds, label = curves(result), choice(result)[1]
    figure, axes = _axes(4.2, 2.6)
    for points in folds:
        axes.plot(*points.T, color=BASE if folds[1:] else ACCENT, linewidth=1 if folds[1:] else 2)
    if folds[1:] and len({points.shape for points in folds}) == 1:
        axes.plot(*np.mean(folds, axis=0).T, color=ACCENT, linewidth=2)
    ring: Any = {"mfc": "none", "mec": ACCENT, "ms": 6, "clip_on": False, "gid": "chosen"}
    for points, fold in zip(folds, result.folds, strict=False):
        axes.plot(*points[points[:, 0] == fold.get(_setting(result))].T, "o", **ring)
    values = np.concatenate(folds)[:, 1]
    margin = max(2.0, 0.1 * float(np.ptp(values)))
    limits = max(0, values.min() - margin), min(100, values.max() + margin)
    axes.set(ylim=limits, xscale="log", xlabel=label, ylabel="% of validation clips")
    axes.minorticks_off()
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    axes.grid(axis="y")
    return _svg(figure, result, f"Validation accuracy by {label}")


@rc_context(STYLE)
def scatter(result: Result) -> Markup:
    """Return the map of the embeddings; the dots of a class are one group, titled by its name."""
    points = result.map or {}
    xy, labels = np.stack([points["x"], points["y"]], axis=1), np.array(points["label"])
    present, handles = np.unique(labels).tolist(), []
    figure, axes = _axes(4.2, 4.2)
    axes.axhline(0, color=RULE, linewidth=0.8)
    axes.axvline(0, color=RULE, linewidth=0.8)
    for index, label in enumerate(present):
        # A stroke of no length with round ends is a dot, in a tenth of a circle's characters.
        vertices = np.repeat(xy[labels == label], 2, axis=0)
        dots = Path(vertices, [Path.MOVETO, Path.LINETO] * (len(vertices) // 2))
        color = colorsys.hls_to_rgb(index / len(present), (0.5, 0.4, 0.6)[index % 3], 0.65)
        name = clean(result.classes[label])
        patch = PathPatch(dots, ec=color, fc="none", linewidth=4, capstyle="round")
        patch.set_gid(f"dots {name}: {len(vertices) // 2} clips")
        axes.add_patch(patch)
        handles.append(Line2D([], [], color=color, marker="o", linestyle="", label=name))
    axes.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    if len(present) <= NAMED_CLASSES:
        columns = math.ceil(len(present) / 24)
        axes.legend(handles=handles, loc="upper left", bbox_to_anchor=(1, 1), ncols=columns)
    return _svg(figure, result, "Map of the embeddings")


def unwhitened(model: str) -> list[str]:
    """Return the names under which the same model without whitening may have results."""
    module, colon, weights = model.partition(":")
    separator = "&" if "?" in model else "?"
    return [f"{model}{separator}whiten=false", f"{module}.unwhitened{colon}{weights}"]


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    """Return axes of a size in inches, to which the drawing grows by its labels."""
    figure = Figure((width, height))
    return figure, figure.add_axes((0, 0, 1, 1))


def _svg(figure: Figure, result: Result, title: str) -> Markup:
    """Return a figure as SVG for the page, with the page's colors and unique ids."""
    title = f"{title} of {clean(result.model)} on {clean(result.task)} under {result.protocol}"
    matplotlib.rcParams["svg.hashsalt"] = title
    file = io.StringIO()
    figure.savefig(file, format="svg", transparent=True, bbox_inches="tight")
    root = ElementTree.fromstring(file.getvalue())
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
        name = parent.attrib.pop("id", "")
        if name.startswith("dots "):
            parent.set("class", "dots")
            ElementTree.SubElement(parent, "{http://www.w3.org/2000/svg}title").text = name[5:]
        elif name == "chosen":
            parent.set("class", name)
        elif parent.tag.endswith(("}clipPath", "}path")) and name:
            parent.set("id", name)
        for attribute, value in parent.attrib.items():
            for color, variable in COLORS.items():
                value = value.replace(color, f"var(--{variable})")
            if attribute == "d":  # one digit is enough
                value = re.sub(r"[-\d.e]+", lambda number: f"{float(number[0]):.1f}", value)
            elif attribute == "style":  # letters are the page's
                value = re.sub(r"font-family:[^;]*;?", "", value)
            parent.set(attribute, value)
    root.attrib |= {"role": "img", "aria-label": title}
    return Markup(ElementTree.tostring(root, encoding="unicode"))
