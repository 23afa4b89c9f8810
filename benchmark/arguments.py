"""The command line of `python -m benchmark.run`; nothing here imports torch."""

import argparse
import os
from pathlib import Path

from benchmark.hear.catalogue import add_options

DEFAULT_TASKS = ("notes",)


def build_parser(manual: str) -> argparse.ArgumentParser:
    """Return the parser of the command line.

    Args:
        manual: shown by --help.
    """
    parser = argparse.ArgumentParser(prog="benchmark.run", description=manual)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--tasks",
        type=names,
        default=list(DEFAULT_TASKS),
        help="task names, comma between; hear:NAME and hear:all are HEAR's",
    )
    parser.add_argument(
        "--models", type=names, default=None, help="module or module:weights, comma between"
    )
    parser.add_argument(
        "--protocol",
        type=names,
        default=["linear"],
        help="how embeddings are judged, comma between: linear (default), knn, mlp, finetune",
    )
    parser.add_argument(
        "--finetune-config",
        type=Path,
        metavar="FILE.yaml",
        help="what differs from the defaults of benchmark.finetune.config",
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=1,
        help="runs of a protocol that draws at random, such as mlp (default: 1)",
    )
    parser.add_argument(
        "--data-dir",
        type=Path,
        help="folder of the data sets, one folder a task (default: $WAVEBYOL_DATA or "
        "~/.cache/wavebyol_hear)",
    )
    parser.add_argument(
        "--cache-dir", type=Path, help="folder of the embeddings (default: in the data folder)"
    )
    parser.add_argument("--out", type=Path, default=Path("results"), help="folder of the results")
    parser.add_argument("--device", help="torch device (default: cuda where there is one)")
    parser.add_argument(
        "--workers", type=int, default=_cores(), help="decoding processes (default: cores)"
    )
    parser.add_argument(
        "--allow-partial", action="store_true", help="measure on part of a data set and mark it"
    )
    parser.add_argument(
        "--corrupt",
        type=names,
        default=[],
        help="score the trained heads on corrupted test clips too, comma between: noise:SNR_DB, "
        "reverb[:RT60], clip[:PERCENT], mp3-like[:KBIT]",
    )
    parser.add_argument("--list", action="store_true", help="list the tasks and what is present")
    add_options(parser)
    return parser


def names(text: str) -> list[str]:
    """Return the names of a comma-separated list.

    Raises:
        ArgumentTypeError: a name is empty or comes twice.
    """
    found = [name.strip() for name in text.split(",")]
    if not all(found):
        raise argparse.ArgumentTypeError(f"an empty name in {text!r}")
    twice = [name for name in found if found.count(name) > 1]
    if twice:
        raise argparse.ArgumentTypeError(f"{twice[0]} is named twice")
    return found


def _cores() -> int:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
