"""Figures that others published, each with its source and protocol; nothing here was measured."""

import csv
import math
from dataclasses import dataclass
from pathlib import Path

FIGURES = Path(__file__).with_name("published.csv")
COLUMNS = ("model", "pretraining", "protocol", "task", "score", "plus_minus", "source")


class PublishedError(ValueError):
    """A table of published figures that cannot be believed; one line with file and line."""


@dataclass(frozen=True)
class Figure:
    """One published score.

    Attributes:
        model: as its authors call it.
        pretraining: what it was pretrained on.
        protocol: how it was scored, such as "EVAR linear"; never one of ours.
        task: name of the task; "hear:..." where it is the HEAR challenge's variant.
        score: accuracy in percent.
        plus_minus: the deviation given with it, in points; None where none is given.
        source: where the figure stands.
    """

    model: str
    pretraining: str
    protocol: str
    task: str
    score: float
    plus_minus: float | None
    source: str


def read_published(path: Path = FIGURES) -> list[Figure]:
    """Read published figures from a CSV file, in its order.

    Args:
        path: of the file; its first line names the columns.

    Raises:
        PublishedError: a column or a source is absent, a number is none, or a cell comes twice.
        OSError: the file cannot be read.
    """
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise PublishedError(f"{path}: the first line must be {','.join(COLUMNS)}")
        figures: list[Figure] = []
        for row in reader:
            figures.append(_figure(row, f"{path}, line {reader.line_num}"))
    seen: set[tuple[str, str, str]] = set()
    for figure in figures:
        key = (figure.model, figure.protocol, figure.task)
        if key in seen:
            raise PublishedError(f"{path}: {' / '.join(key)} comes twice; keep one")
        seen.add(key)
    return figures


def _figure(row: dict[str, str], place: str) -> Figure:
    """Return one line as a figure."""
    if None in row or None in row.values():
        raise PublishedError(f"{place}: needs {len(COLUMNS)} columns")
    for name in ("model", "protocol", "task", "source"):
        if not row[name].strip():
            raise PublishedError(f"{place}: {name} is empty; a published figure needs one")
    try:
        score = float(row["score"])
        deviation = float(row["plus_minus"]) if row["plus_minus"] else None
    except ValueError as error:
        raise PublishedError(f"{place}: {error}; give numbers in percent") from None
    if not (math.isfinite(score) and 0 <= score <= 100):
        raise PublishedError(f"{place}: score is {score}; give a percentage")
    return Figure(
        row["model"],
        row["pretraining"],
        row["protocol"],
        row["task"],
        score,
        deviation,
        row["source"],
    )
