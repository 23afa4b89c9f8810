"""Figures that others published, each with its source and protocol; nothing here was measured."""

import csv
import math
from dataclasses import dataclass
from pathlib import Path

from benchmark.data.hear_catalogue import known_tasks

FIGURES = Path(__file__).with_name("published.csv")
LEADERBOARD = Path(__file__).parents[1] / "heareval" / "leaderboard.csv"
COLUMNS = ("model", "pretraining", "protocol", "task", "score", "plus_minus", "source")


class PublishedError(ValueError):
    """A table of published figures that cannot be believed; one line with file and line."""


@dataclass(frozen=True)
class Figure:
    """One published accuracy in percent, with the deviation given with it, in points.

    `protocol` says how it was scored, such as "EVAR linear", and is never one of ours; `task` is
    "hear:..." where it is the HEAR challenge's variant.
    """

    model: str
    pretraining: str
    protocol: str
    task: str
    score: float
    plus_minus: float | None
    source: str

    @property
    def text(self) -> str:
        """The score with its deviation."""
        return f"{self.score:.1f}" + (
            f" ± {self.plus_minus:.1f}" if self.plus_minus is not None else ""
        )


def read_published(path: Path = FIGURES) -> list[Figure]:
    """Read published figures from a CSV file, in its order.

    Args:
        path: of the file; its first line names the columns.

    Raises:
        PublishedError: a column or a source is absent, a score is no percentage, or a cell comes
            twice.
        OSError: the file cannot be read.
    """
    figures: dict[tuple[str, str, str], Figure] = {}
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if tuple(reader.fieldnames or ()) != COLUMNS:
            raise PublishedError(f"{path}: the first line must be {','.join(COLUMNS)}")
        for row in reader:
            figure = _figure(row, f"{path}, line {reader.line_num}")
            key = (figure.model, figure.protocol, figure.task)
            if figures.setdefault(key, figure) is not figure:
                raise PublishedError(f"{path}: {' / '.join(key)} comes twice; keep one")
    return list(figures.values())


def _figure(row: dict[str, str], line: str) -> Figure:
    """Return one line as a figure."""
    if None in row or None in row.values():
        raise PublishedError(f"{line}: needs {len(COLUMNS)} columns")
    for name in ("model", "protocol", "task", "source"):
        if not row[name].strip():
            raise PublishedError(f"{line}: {name} is empty; a published figure needs one")
    try:
        score = float(row["score"])
        deviation = float(row["plus_minus"]) if row["plus_minus"] else None
    except ValueError as error:
        raise PublishedError(f"{line}: {error}; give numbers in percent") from None
    if not (math.isfinite(score) and 0 <= score <= 100):
        raise PublishedError(f"{line}: score is {score}; give a percentage")
    names = {name: row[name] for name in COLUMNS if name not in ("score", "plus_minus")}
    return Figure(**names, score=score, plus_minus=deviation)


@dataclass(frozen=True)
class PublishedRow:
    """One model of the published leaderboard.

    Attributes:
        model: as the source calls it.
        source: where the row stands.
        scores: by name of the task, as a fraction; tasks without a score are left out.
    """

    model: str
    source: str
    scores: dict[str, float]


def read_leaderboard(path: Path = LEADERBOARD) -> list[PublishedRow]:
    """Read published rows, in the order of the file; none of them is measured here.

    Args:
        path: of a CSV file with the columns model, source and one for each of the 19 tasks.

    Raises:
        PublishedError: a column is absent or unknown, a row lacks its source, or a score is none.
    """
    tasks = list(known_tasks())
    rows = []
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if list(reader.fieldnames or ()) != ["model", "source", *tasks]:
            raise PublishedError(f"{path}: the columns must be model, source and the 19 tasks")
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            if not row["model"] or not row["source"]:
                raise PublishedError(f"{where}: a published row needs a model and a source")
            try:
                scores = {task: float(row[task]) for task in tasks if row[task]}
            except ValueError as error:
                raise PublishedError(f"{where}: {error}; give fractions") from None
            if not all(math.isfinite(x) and 0 <= x <= 1 for x in scores.values()):
                raise PublishedError(f"{where}: a score is no fraction")
            rows.append(PublishedRow(row["model"], row["source"], scores))
    return rows
