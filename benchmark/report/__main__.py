"""Results as a page for readers: `python -m benchmark.report [RESULTS_DIR] [--out report.html]`.

Writes one self-contained HTML page, and beside it the same tables as Markdown and CSV. Protocols
never share a table, models are compared with a baseline on the same clips, and figures that others
published stand apart.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmark.data.registry import load_tasks
from benchmark.report.board import boards
from benchmark.report.page import page
from benchmark.report.published import FIGURES, PublishedError, read_published
from benchmark.report.tables import TableError
from benchmark.report.text import comma_separated, markdown
from benchmark.results.failures import read_failures
from benchmark.results.schema import ResultError, read_results


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="benchmark.report", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "results",
        type=Path,
        nargs="?",
        default=Path("results"),
        help="folder of the results (default: results)",
    )
    parser.add_argument(
        "--out", type=Path, help="the page to write (default: report.html in the results' folder)"
    )
    parser.add_argument("--baseline", help="model to compare with (default: log_mel where present)")
    parser.add_argument("--published", type=Path, default=FIGURES, help="CSV of published figures")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the report and return the exit code, 1 where there is nothing to report.

    Args:
        arguments: of the command line; None takes the process's own.
    """
    given = build_parser().parse_args(arguments)
    folder = given.results if given.results.is_dir() else given.results.parent
    out = given.out or folder / "report.html"
    try:
        found = boards(read_results(given.results), given.baseline, read_failures(folder))
        figures = read_published(given.published)
        texts = {
            out: page(found, figures, load_tasks()),
            out.with_suffix(".md"): markdown(found, figures),
            out.with_suffix(".csv"): comma_separated(found, figures),
        }
        out.parent.mkdir(parents=True, exist_ok=True)
        for path, text in texts.items():
            path.write_text(text, encoding="utf-8")
    except (ResultError, TableError, PublishedError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write("wrote " + ", ".join(str(path) for path in texts) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
