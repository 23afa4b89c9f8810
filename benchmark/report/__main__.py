"""Results as a page for readers: `python -m benchmark.report [RESULTS] [--out report.html]`.

Writes one self-contained HTML page, and with it the same tables as Markdown, CSV and LaTeX.
Protocols never share a table, models are compared with a baseline on the same clips, and figures
that others published stand apart. Files that are no results are named and left out.
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
    parser = argparse.ArgumentParser(prog="benchmark.report", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("results", type=Path, nargs="?", default=Path("results"), help="folder (default: results)")
    add("--out", type=Path, help="the page to write (default: report.html in the results' folder)")
    add("--baseline", help="model to compare with (default: log_mel where present)")
    add("--published", type=Path, default=FIGURES, help="CSV of published figures")
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
        parts = sections(boards, read_published(args.published), load_tasks(), measures)
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
