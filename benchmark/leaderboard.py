"""Scores of heareval in the layout of HEAR's leaderboard: a row a model, a column a task.

`python -m benchmark.leaderboard [RESULTS_DIR]` prints all 19 columns, ours and the published rows,
and below them what each column is: metric, split and size.
Values are heareval's fractions, as on the leaderboard. Published rows stand only beside scores of
heareval's default grid on the full task, the only ones that compare, and say that they are such.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmark.data.hear_catalogue import known_tasks
from benchmark.hear_scores import HearScore, read_scores
from benchmark.heareval.predict import protocol
from benchmark.heareval.published import PublishedRow, read_leaderboard
from benchmark.report.render import DASH, TableError, text_table, to_markdown, to_text
from benchmark.results.schema import ResultError

PUBLISHED = "(published)"


def board(
    scores: Sequence[HearScore],
    published: Sequence[PublishedRow] = (),
    *,
    columns: Sequence[str] | None = None,
    markdown: bool = False,
) -> str:
    """Return one table for every protocol among the scores.

    Args:
        scores: of any tasks, models and protocols.
        published: rows for the protocol of heareval's default grid.
        columns: names of tasks for that protocol; None takes those of the scores.
        markdown: whether to write Markdown; otherwise aligned text.

    Raises:
        TableError: two scores for one cell.
    """
    usual = protocol("default")
    names = {score.protocol for score in scores} | ({usual} if columns is not None else set())
    parts = []
    for name in sorted(names):
        own = [score for score in scores if score.protocol == name]
        rows = published if name == usual else ()
        parts.append(_table(name, own, rows, columns if name == usual else None, markdown))
    return "\n\n".join(parts)


def _table(
    name: str,
    scores: Sequence[HearScore],
    published: Sequence[PublishedRow],
    columns: Sequence[str] | None,
    markdown: bool,
) -> str:
    """Return the table of one protocol."""
    cells: dict[tuple[str, str], HearScore] = {}
    for score in scores:
        key = (score.known or score.task, score.model)
        if cells.setdefault(key, score) is not score:
            raise TableError(f"two scores of {score.model} on {score.task}: keep one")
    tasks = list(dict.fromkeys([*(columns or ()), *(task for task, _ in cells)]))
    titles = {task: f"{task} ({score.metric})" for (task, _), score in cells.items()}
    known = known_tasks()
    titles |= {name: task.short for name, task in known.items()}
    rows = [["model", *(titles[task] for task in tasks)]]
    for model in dict.fromkeys(model for _, model in cells):
        found = [cells.get((task, model)) for task in tasks]
        untrained = any(score.untrained for score in found if score)
        shown = [score.shown if score else DASH for score in found]
        rows.append([f"{model} (untrained)" if untrained else model, *shown])
    sources = set()
    for row in published:
        values = [row.scores.get(task) for task in tasks]
        if any(value is not None for value in values):
            shown = [DASH if value is None else f"{value:.3f}" for value in values]
            rows.append([f"{row.model} {PUBLISHED}", *shown])
            sources.add(row.source)
    text = (to_markdown if markdown else to_text)(text_table(rows))
    notes = dict.fromkeys(f"{known[n].short}: {known[n].line}" for n in tasks if n in known)
    notes |= dict.fromkeys(note for score in scores for note in score.notes)
    notes |= dict.fromkeys(f"{PUBLISHED}: {source}" for source in sorted(sources))
    end = "  \n" if markdown else "\n"
    body = f"Protocol {name}: first measure of each task, as a fraction\n\n{text}"
    return f"{body}\n\n{end.join(notes)}" if notes else body


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the leaderboard and return the exit code, 1 where a score cannot be read.

    Args:
        arguments: of the command line; None takes the process's own.
    """
    parser = argparse.ArgumentParser(prog="benchmark.leaderboard", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("results", type=Path, nargs="?", default=Path("results"))
    parser.add_argument("--markdown", action="store_true", help="write Markdown")
    given = parser.parse_args(arguments)
    try:
        if not given.results.is_dir():
            raise ResultError(f"{given.results}: no such folder; name the --out of benchmark.run")
        scores = read_scores(given.results)
        text = board(
            scores, read_leaderboard(), columns=list(known_tasks()), markdown=given.markdown
        )
    except (ResultError, TableError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(text + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
