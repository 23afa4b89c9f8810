"""Scores in HEAR's own measures, laid out as on its leaderboard: one row per model.

`python -m benchmark.leaderboard [RESULTS_DIR]` prints all 19 columns, ours and the published rows,
and below them what each column is: metric, split and size.
Values are fractions, as on the leaderboard. Published rows stand only beside scores of heareval's
default grid on the full task, the only ones that compare, and say that they are such.
"""

if __name__ == "__main__":  # before imports that take seconds
    from wavebyol_hear.files.command import start_command

    start_command()

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmark.data.clip import BenchmarkError
from benchmark.data.hear_catalogue import known_tasks
from benchmark.heareval.predict import protocol
from benchmark.report.published import PublishedRow, read_leaderboard
from benchmark.report.render import to_markdown, to_text
from benchmark.report.scores import hear_table
from benchmark.results.schema import Result, ResultError, read_results


def leaderboard(
    results: Sequence[Result],
    published: Sequence[PublishedRow] = (),
    *,
    columns: Sequence[str] = (),
    markdown: bool = False,
) -> str:
    """Return one table for every protocol among the results in HEAR's own measures.

    Published rows and columns of these tasks belong to the protocol of heareval's default grid.

    Raises:
        TableError: two results for one cell.
    """
    default, parts = protocol("default"), []
    for version in sorted({r.protocol for r in results} | ({default} if columns else set())):
        own = [result for result in results if result.protocol == version]
        more = (published, columns) if version == default else ()
        parts.append(hear_table(version, own, *more))
    return "\n\n".join(map(to_markdown if markdown else to_text, parts))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the leaderboard and return the exit code, 1 where a result cannot be read."""
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
    except (BenchmarkError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(text + "\n")
    sys.stderr.write("".join(f"left out: {line}\n" for line in bad))
    return 1 if bad else 0


if __name__ == "__main__":
    from wavebyol_hear.files.command import run_command

    run_command(main)
