"""How fast the project is on this machine: `python -m tools.speed [--only PART,...]`.

Each figure is a median of runs taken in turn with what it is compared with, so that its ratio holds
where the machine's speed drifts; products stand beside the machine's own matrix product in the
same precision. Before a time is taken, fast numbers are checked against plain ones. Writes a table
and JSON.

Parts: embedding, timestamps, numbers (precisions compared on the real sets in --data-dir), probe,
decode, start, growth, embed-files, search, threads (that spin or sleep, alone and beside another
process); and, of some minutes and not measured unless named, nsynth, numbers-h2, embed-memory,
embed-ray (where Ray is installed) and gpu (where there is one).

Exit code: 0, whatever the figures; 1 when fast numbers are not the plain ones, or `gpu` finds no
GPU; 2 when the command line is wrong.
"""

import argparse
import dataclasses
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from benchmark.report.render import to_markdown, to_text
from benchmark.report.table import DASH, text_table
from tools.speed.clock import (
    Figure,
    Plan,
    interleaved,
    matrix_product,
    product_flop,
)
from tools.speed.data import decode, growth
from tools.speed.embed_files import embed_files, embed_memory, embed_ray
from tools.speed.encoder import SpeedError, embedding, gpu, timestamps
from tools.speed.numbers import numbers, numbers_h2
from tools.speed.probe import nsynth, probe
from tools.speed.search import search
from tools.speed.start import start
from tools.speed.threads import threads
from wavebyol_hear.files.provenance import git_revision, machine, package_versions

PARTS: dict[str, Callable[[Plan], list[Figure]]] = {
    "embedding": embedding,
    "timestamps": timestamps,
    "numbers": numbers,
    "numbers-h2": numbers_h2,
    "probe": probe,
    "nsynth": nsynth,
    "decode": decode,
    "start": start,
    "growth": growth,
    "threads": threads,
    "embed-files": embed_files,
    "embed-memory": embed_memory,
    "embed-ray": embed_ray,
    "gpu": gpu,
    "search": search,
}
UNLESS_NAMED = ("nsynth", "numbers-h2", "embed-memory", "embed-ray", "gpu")
HEAD = ("part", "what", "figure", "ratio", "of the roof", "target")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tools.speed", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    usual = [name for name in PARTS if name not in UNLESS_NAMED]
    parser.add_argument("--only", type=_parts, default=usual, help="parts, comma between")
    parser.add_argument("--runs", type=int, default=5, help="of each call (5)")
    parser.add_argument("--workers", type=int, default=2, help="decoding threads (2)")
    parser.add_argument("--threads", type=int, help="of torch (default: its own choice)")
    parser.add_argument(
        "--counts", type=_counts, default=Plan.counts, help="clips of growth (1000,10000)"
    )
    parser.add_argument("--data-dir", type=Path, help="folder of the data sets, as benchmark.run's")
    parser.add_argument("--small", action="store_true", help="check that all runs and agrees")
    parser.add_argument("--json", type=Path, default=Path("results/speed.json"), help="to write")
    return parser


def _parts(text: str) -> list[str]:
    """Return the parts that a comma-separated list names."""
    found = text.split(",")
    unknown = [name for name in found if name not in PARTS]
    if unknown:
        raise argparse.ArgumentTypeError(f"no part {unknown[0]!r}: there are {', '.join(PARTS)}")
    return found


def _counts(text: str) -> tuple[int, ...]:
    """Return the whole numbers of a comma-separated list."""
    try:
        found = tuple(int(number) for number in text.split(","))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r}: give whole numbers") from error
    if min(found) < 1:
        raise argparse.ArgumentTypeError(f"{min(found)} clips: give 1 or more")
    return found


def roofs(plan: Plan) -> list[Figure]:
    """Return the speed of a matrix product in each precision."""
    calls = {
        name: matrix_product(dtype)
        for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16))
    }
    seconds = interleaved(calls, plan.runs)
    return [
        Figure("roof", f"matrix product, {name}", product_flop() / took / 1e9, "GFLOP/s")
        for name, took in seconds.items()
    ]


def rows(figures: Sequence[Figure]) -> list[list[str]]:
    """Return figures as the rows of a table, its head first."""
    found = [list(HEAD)]
    for figure in figures:
        target = DASH
        if figure.target is not None:
            sign, word = "<=" if figure.at_most else ">=", "reached" if figure.met else "MISSED"
            target = f"{sign} {figure.target:g}, {word}"
        found.append(
            [
                figure.part,
                figure.what,
                f"{figure.value:.4g} {figure.unit}".rstrip(),
                DASH if figure.ratio is None else f"{figure.ratio:.3g}",
                DASH if figure.roof is None else f"{100 * figure.roof:.0f} %",
                target,
            ]
        )
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Args:
        arguments: of the command line; None takes the process's own.
    """
    parser = build_parser()
    given = parser.parse_args(arguments)
    for name in ("runs", "workers"):
        if getattr(given, name) < 1:
            parser.error(f"--{name} is {getattr(given, name)}: give 1 or more")
    try:
        given.json.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--json {given.json} cannot be written: {error.strerror}")
    if given.threads is not None:
        torch.set_num_threads(given.threads)
    runs = 1 if given.small else given.runs
    plan = Plan(runs, given.small, given.workers, given.counts, given.data_dir)
    try:
        figures = roofs(plan) + [f for part in given.only for f in PARTS[part](plan)]
    except SpeedError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    place = {**machine("cpu"), "threads": torch.get_num_threads()}
    place["capability"] = torch.backends.cpu.get_cpu_capability()
    found = {
        "machine": place,
        "packages": package_versions(),
        "git_revision": git_revision(),
        "plan": {**dataclasses.asdict(plan), "data_dir": str(plan.data_dir or "")},
        "figures": [{**dataclasses.asdict(f), "met": f.met} for f in figures],
    }
    given.json.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    table = text_table(rows(figures))
    given.json.with_suffix(".md").write_text(to_markdown(table) + "\n", encoding="utf-8")
    sys.stdout.write(f"{to_text(table)}\n\n{', '.join(f'{k} {v}' for k, v in place.items())}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
