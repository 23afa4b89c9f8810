"""Show HEAR scores as on its leaderboard: `python -m benchmark.leaderboard [RESULTS]`.

Prints one row per model, ours and the published ones, with all 19 tasks as columns, and below the
table the metric, split and size of each task. Scores are fractions, as on the leaderboard.
Published rows appear only with scores of heareval's default grid on full tasks, since no others
are comparable.
"""

if __name__ == "__main__":  # before imports that take seconds
    from wavebyol_hear.files.command import run_command, start_command

    start_command()

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmark.data.clip import BenchmarkError
from benchmark.data.hear_catalogue import known_tasks
from benchmark.report.published import read_leaderboard
from benchmark.report.render import to_markdown, to_text
from benchmark.report.scores import hear_tables
from benchmark.results.schema import ResultError, read_results


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the leaderboard and return the exit code, 1 where a result cannot be read."""
    parser = argparse.ArgumentParser(prog="python -m benchmark.leaderboard", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "results",
        type=Path,
        nargs="?",
        default=Path("results"),
        metavar="RESULTS",
        help="folder of results (default: results)",
    )
    parser.add_argument("--markdown", action="store_true", help="print Markdown")
    args = parser.parse_args(arguments)
    bad: list[str] = []
    try:
        folder = args.results.expanduser()
        if not folder.is_dir():
            raise ResultError(f"{folder}: no such folder; name the --out of benchmark.run")
        measures = [result for result in read_results(folder, bad) if result.unit == "own"]
        tables = hear_tables(measures, read_leaderboard(), list(known_tasks()))
    except (BenchmarkError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    written = map(to_markdown if args.markdown else to_text, tables)
    sys.stdout.write("\n\n".join(written) + "\n")
    sys.stderr.write("".join(f"left out: {line}\n" for line in bad))
    return 1 if bad else 0


if __name__ == "__main__":
    run_command(main)
