"""The HEAR part of `python -m benchmark.run`: score, show and write."""

import argparse
import sys
from collections.abc import Sequence

from benchmark.data.hear_catalogue import PREFIX
from benchmark.evaluate import ResultKey, Settings
from benchmark.hear_jobs import HearSettings, measure_hear
from benchmark.hear_scores import FOLDER
from benchmark.heareval.published import read_leaderboard
from benchmark.leaderboard import board
from benchmark.report.tables import tables


def run_hear(
    names: Sequence[str], models: Sequence[str], settings: Settings, given: argparse.Namespace
) -> dict[ResultKey, str]:
    """Score models on HEAR tasks, print the tables and return why a place has no score.

    Args:
        names: of tasks, each with "hear:".
        models: `module` or `module:weights`.
        settings: shared with the other tasks.
        given: the options that `hear_catalogue.add_options` adds.
    """
    hear = HearSettings(given.hear_dir, given.hear_grid, linear=given.hear_linear)
    found = measure_hear([name.removeprefix(PREFIX) for name in names], models, settings, hear)
    published = read_leaderboard()
    if found.results:
        sys.stdout.write(f"\n{tables(found.results)}\n")
    if found.scores:
        sys.stdout.write(f"\n{board(found.scores, published)}\n")
        path = settings.out / "hear.md"
        text = board(found.scores, published, markdown=True)
        if found.results:
            text += f"\n\n{tables(found.results, markdown=True)}"
        path.write_text(text + "\n", encoding="utf-8")
        folder = settings.out / FOLDER
        sys.stdout.write(f"\n{len(found.scores)} scores are in {folder}, the table in {path}\n")
    return found.missing
