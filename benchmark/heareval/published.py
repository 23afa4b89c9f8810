"""Scores that others published on HEAR's leaderboard, with their source; nothing here is ours."""

import csv
import math
from dataclasses import dataclass
from pathlib import Path

from benchmark.data.hear_catalogue import known_tasks
from benchmark.report.published import PublishedError

LEADERBOARD = Path(__file__).with_name("leaderboard.csv")


@dataclass(frozen=True)
class PublishedRow:
    """One model of the leaderboard.

    Attributes:
        model: as the source calls it.
        source: where the row stands.
        scores: by name of the task, as a fraction; tasks without a score are left out.
    """

    model: str
    source: str
    scores: dict[str, float]


def read_leaderboard(path: Path = LEADERBOARD) -> list[PublishedRow]:
    """Read published rows, in the order of the file.

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
            place = f"{path}, line {reader.line_num}"
            if not row["model"] or not row["source"]:
                raise PublishedError(f"{place}: a published row needs a model and a source")
            try:
                scores = {task: float(row[task]) for task in tasks if row[task]}
            except ValueError as error:
                raise PublishedError(f"{place}: {error}; give fractions") from None
            if not all(math.isfinite(x) and 0 <= x <= 1 for x in scores.values()):
                raise PublishedError(f"{place}: a score is no fraction")
            rows.append(PublishedRow(row["model"], row["source"], scores))
    return rows
