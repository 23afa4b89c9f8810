"""Scores that others published, each with its source and protocol."""

import csv
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from benchmark.data.clip import BenchmarkError
from benchmark.data.hear_catalogue import known_tasks
from wavebyol_hear.files.atomic import regular

FIGURES = Path(__file__).with_name("published.csv")
LEADERBOARD = Path(__file__).parents[1] / "heareval" / "leaderboard.csv"


class PublishedError(BenchmarkError):
    """An invalid table of published figures; one line with file and line number."""


@dataclass(frozen=True)
class Figure:
    """One published accuracy in percent, with the deviation published with it, in points.

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


def read_published(path: Path = FIGURES) -> list[Figure]:
    """Read published figures from a CSV file, in its order.

    Raises:
        PublishedError: a column or a source is missing, a score is not a percentage, or a cell is
            listed twice.
        OSError: the file cannot be read.
    """
    figures: dict[tuple[str, str, str], Figure] = {}
    for line, row in _rows(path, [column.name for column in fields(Figure)]):
        for name in ("model", "protocol", "task", "source"):
            if not row[name].strip():
                raise PublishedError(f"{line}: {name} is empty; a published figure needs one")
        score = _number(row["score"], line, 100)
        deviation = _number(row["plus_minus"], line, 100) if row["plus_minus"] else None
        figure = Figure(**(row | {"score": score, "plus_minus": deviation}))
        key = (figure.model, figure.protocol, figure.task)
        if figures.setdefault(key, figure) is not figure:
            raise PublishedError(f"{line}: {' / '.join(key)} is listed twice; keep one")
    return list(figures.values())


@dataclass(frozen=True)
class PublishedRow:
    """One model of the published leaderboard of HEAR."""

    model: str  #: as the source calls it
    source: str
    scores: dict[str, float]  #: by task, as a fraction; tasks without a score are left out


def read_leaderboard(path: Path = LEADERBOARD) -> list[PublishedRow]:
    """Read published rows, in the order of the file: model, source and the 19 tasks.

    Raises:
        PublishedError: a column is absent or unknown, a row lacks its source, or a score is no
            fraction.
    """
    tasks, rows = list(known_tasks()), []
    for line, row in _rows(path, ["model", "source", *tasks]):
        if not row["model"] or not row["source"]:
            raise PublishedError(f"{line}: a published row needs a model and a source")
        scores = {task: _number(row[task], line, 1) for task in tasks if row[task]}
        rows.append(PublishedRow(row["model"], row["source"], scores))
    return rows


def _rows(path: Path, columns: list[str]) -> list[tuple[str, dict[str, Any]]]:
    """Return the rows of a CSV file of certain columns, each with its file and line."""
    with open(path, encoding="utf-8", newline="", opener=regular) as file:
        reader = csv.DictReader(file)
        try:
            names = reader.fieldnames
            rows = [(f"{path}, line {reader.line_num}", row) for row in reader]
        except (UnicodeDecodeError, csv.Error) as error:
            raise PublishedError(f"{path}: no CSV table in UTF-8 ({error})") from error
    if names != columns:
        raise PublishedError(f"{path}: the columns must be {','.join(columns)}")
    for line, row in rows:
        if None in row or None in row.values():
            raise PublishedError(f"{line}: needs {len(columns)} columns")
    return rows


def _number(text: str, line: str, maximum: int) -> float:
    """Return a score, refusing one outside 0 to the maximum: 1 of fractions, 100 of percentages."""
    kind = {1: "a fraction", 100: "a percentage"}[maximum]
    try:
        score = float(text)
    except ValueError as error:
        raise PublishedError(f"{line}: {error}; give {kind}") from None
    if not 0 <= score <= maximum:
        raise PublishedError(f"{line}: score is {text}; give {kind}")
    return score
