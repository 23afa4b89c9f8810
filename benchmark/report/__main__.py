"""Write a report of results: `python -m benchmark.report [RESULTS] [--out report.html]`.

Writes one self-contained HTML page, and the same tables as Markdown, CSV and LaTeX. Each protocol
has its own tables, models are compared with a baseline on the same clips, and figures that others
published on these tasks are in a section of their own. Files that are not results are skipped with
a message.
"""

if __name__ == "__main__":  # before imports that take seconds
    from wavebyol_hear.files.command import run_command, start_command

    start_command()

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmark.data.clip import BenchmarkError
from benchmark.data.registry import load_tasks
from benchmark.report.leaderboard import leaderboards
from benchmark.report.page import page
from benchmark.report.published import FIGURES, read_published
from benchmark.report.render import report_markdown, to_csv, to_latex
from benchmark.report.tables import about, sections
from benchmark.results.failures import read_failures
from benchmark.results.schema import ResultError, read_results
from wavebyol_hear.files.atomic import write_text


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the report and return the exit code, 1 where there is nothing to report."""
    parser = argparse.ArgumentParser(prog="python -m benchmark.report", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    about_results = "folder of results, or one result file (default: results)"
    add("results", type=Path, nargs="?", default="results", metavar="RESULTS", help=about_results)
    about_out = "page to write (default: report.html in the folder of the results)"
    add("--out", type=Path, metavar="FILE", help=about_out)
    add("--baseline", metavar="MODEL", help="model to compare with (default: log_mel if present)")
    add(
        "--published",
        type=Path,
        metavar="FILE.csv",
        help="published figures to show (default: those of benchmark/report/published.csv that "
        "are on the tasks of the results)",
    )
    args = parser.parse_args(arguments)
    bad_files: list[str] = []
    try:
        path = args.results.expanduser()
        folder = path if path.is_dir() else path.parent
        out = args.out.expanduser() if args.out else folder / "report.html"
        results = read_results(path, bad_files)
        if not results:
            raise ResultError(bad_files[0])
        shares = [result for result in results if result.unit == "percent"]
        measures = [result for result in results if result.unit != "percent"]
        boards = leaderboards(shares, args.baseline, read_failures(folder))
        figures = read_published(args.published or FIGURES)
        if not args.published:
            measured = {r.task for r in results} | {f"hear:{r.hear_task}" for r in results}
            figures = [figure for figure in figures if figure.task in measured]
        parts = sections(boards, figures, load_tasks(), measures)
        all_tables = [table for part in parts for table in (*part.tables, *part.tasks)]
        texts = {
            out: page(parts, boards, about=about(results), bad_files=bad_files),
            out.with_suffix(".md"): report_markdown(parts),
            out.with_suffix(".csv"): to_csv(all_tables),
            out.with_suffix(".tex"): "\n\n".join(map(to_latex, all_tables)) + "\n",
        }
        out.parent.mkdir(parents=True, exist_ok=True)
        for file, text in texts.items():
            write_text(file, text)
    except (BenchmarkError, OSError, RuntimeError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    for line in bad_files:
        sys.stderr.write(f"left out: {line}\n")
    sys.stdout.write("wrote " + ", ".join(map(str, texts)) + "\n")
    return 0


if __name__ == "__main__":
    run_command(main)
