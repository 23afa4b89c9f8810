"""Scores in HEAR's own measures, laid out as on its leaderboard: one row per model.

`python -m benchmark.leaderboard [RESULTS_DIR]` prints all 19 columns, ours and the published rows,
and below them what each column is: metric, split and size.
Values are fractions, as on the leaderboard. Published rows stand only beside scores of heareval's
default grid on the full task, the only ones that compare, and say that they are such.
"""

import argparse
import csv
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmark.data.hear_catalogue import known_tasks
from benchmark.heareval.predict import protocol
from benchmark.report.published import PublishedError
from benchmark.report.render import DASH, TableError, text_table, to_markdown, to_text
from benchmark.results.schema import Result, ResultError, read_results
from wavebyol_hear.files.command import run_command

PUBLISHED = "(published)"
CSV = Path(__file__).parent / "heareval" / "leaderboard.csv"


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


def read_leaderboard(path: Path = CSV) -> list[PublishedRow]:
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


def leaderboard(
    results: Sequence[Result],
    published: Sequence[PublishedRow] = (),
    *,
    columns: Sequence[str] | None = None,
    markdown: bool = False,
) -> str:
    """Return one table for every protocol among the results.

    Args:
        results: in HEAR's own measures, of any tasks, models and protocols.
        published: rows for the protocol of heareval's default grid.
        columns: names of tasks for that protocol; None takes those of the results.
        markdown: whether to write Markdown; otherwise aligned text.

    Raises:
        TableError: two results for one cell.
    """
    default = protocol("default")
    versions = {r.protocol for r in results} | ({default} if columns is not None else set())
    parts = []
    for version in sorted(versions):
        own = [result for result in results if result.protocol == version]
        rows, wanted = (published, columns) if version == default else ((), None)
        parts.append(_table(version, own, rows, wanted, markdown))
    return "\n\n".join(parts)


def _table(
    version: str,
    results: Sequence[Result],
    published: Sequence[PublishedRow],
    columns: Sequence[str] | None,
    markdown: bool,
) -> str:
    """Return the table of one protocol."""
    cells: dict[tuple[str, str], Result] = {}
    for result in results:
        key = (result.hear_task or result.task, result.model)
        if cells.setdefault(key, result) is not result:
            raise TableError(f"two scores of {result.model} on {result.task}: keep one")
    tasks = list(dict.fromkeys([*(columns or ()), *(task for task, _ in cells)]))
    known = known_tasks()
    titles = {task: f"{task} ({result.metric})" for (task, _), result in cells.items()}
    titles |= {name: task.short for name, task in known.items()}
    rows = [["model", *(titles[task] for task in tasks)]]
    for model in dict.fromkeys(model for _, model in cells):
        of_model = [cells.get((task, model)) for task in tasks]
        untrained = any(result.untrained for result in of_model if result)
        shown = [_cell(result) if result else DASH for result in of_model]
        rows.append([f"{model} (untrained)" if untrained else model, *shown])
    sources = set()
    for row in published:
        if row.scores.keys() & set(tasks):
            values = [row.scores.get(task) for task in tasks]
            shown = [DASH if value is None else f"{value:.3f}" for value in values]
            rows.append([f"{row.model} {PUBLISHED}", *shown])
            sources.add(row.source)
    notes = dict.fromkeys(f"{known[n].short}: {known[n].line}" for n in tasks if n in known)
    notes |= dict.fromkeys(note for result in results for note in result.notes)
    notes |= dict.fromkeys(f"{PUBLISHED}: {source}" for source in sorted(sources))
    text = (to_markdown if markdown else to_text)(text_table(rows))
    body = f"Protocol {version}: first measure of each task, as a fraction\n\n{text}"
    return f"{body}\n\n{('  ' * markdown + chr(10)).join(notes)}" if notes else body


def _cell(result: Result) -> str:
    """Return a result's ranking measure, with its interval where it has one."""
    point = result.metrics[result.metric]
    interval = f" ({point['low']:.3f}-{point['high']:.3f})" if "low" in point else ""
    return f"{point['value']:.3f}{interval}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the leaderboard and return the exit code, 1 where a result cannot be read.

    Args:
        arguments: of the command line; None takes the process's own.
    """
    parser = argparse.ArgumentParser(prog="benchmark.leaderboard", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("results", type=Path, nargs="?", default=Path("results"))
    parser.add_argument("--markdown", action="store_true", help="write Markdown")
    args = parser.parse_args(arguments)
    bad: list[str] = []
    try:
        folder = args.results.expanduser()
        if not folder.is_dir():
            raise ResultError(f"{folder}: no such folder; name the --out of benchmark.run")
        measures = [result for result in read_results(folder, bad) if result.unit == "own"]
        text = leaderboard(
            measures, read_leaderboard(), columns=list(known_tasks()), markdown=args.markdown
        )
    except (ResultError, TableError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(text + "\n")
    sys.stderr.write("".join(f"left out: {line}\n" for line in bad))
    return 1 if bad else 0


if __name__ == "__main__":
    run_command(main)
