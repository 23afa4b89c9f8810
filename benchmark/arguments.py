"""The command line of `python -m benchmark.run`; nothing here imports torch."""

import argparse
import os
from pathlib import Path

from benchmark.data.hear_catalogue import add_options

DEFAULT_TASKS = ("notes",)


def build_parser(manual: str) -> argparse.ArgumentParser:
    """Return the parser of the command line.

    Args:
        manual: shown by --help.
    """
    parser = argparse.ArgumentParser(prog="benchmark.run", description=manual)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--list", action="store_true", help="list the tasks and what is present")
    _add_subjects(parser)
    _add_ways(parser)
    _add_places(parser)
    add_options(parser)
    return parser


def _add_subjects(parser: argparse.ArgumentParser) -> None:
    """Add the options that name tasks and models."""
    group = parser.add_argument_group("what is measured")
    group.add_argument(
        "--tasks",
        type=names,
        default=list(DEFAULT_TASKS),
        help="task names, comma between; hear:NAME and hear:all are HEAR's",
    )
    group.add_argument(
        "--models", type=names, default=None, help="module or module:weights, comma between"
    )
    group.add_argument(
        "--allow-partial", action="store_true", help="measure on part of a data set and mark it"
    )


def _add_ways(parser: argparse.ArgumentParser) -> None:
    """Add the options that name protocols and what they are told."""
    group = parser.add_argument_group("how it is measured")
    group.add_argument(
        "--protocol",
        type=names,
        default=["linear"],
        help="how embeddings are judged, comma between: linear (default), knn, mlp, finetune",
    )
    group.add_argument(
        "--finetune-config",
        type=Path,
        metavar="FILE.yaml",
        help="what differs from the defaults of benchmark.finetune.config",
    )
    group.add_argument(
        "--seeds",
        type=int,
        default=1,
        help="runs of a protocol that draws at random, such as mlp (default: 1)",
    )
    group.add_argument(
        "--corrupt",
        type=names,
        default=[],
        help="score the trained heads on corrupted test clips too, comma between: noise:SNR_DB, "
        "reverb[:RT60], clip[:PERCENT], mp3:KBIT, opus:KBIT, vorbis:QUALITY",
    )


def _add_places(parser: argparse.ArgumentParser) -> None:
    """Add the options that name folders and what of the machine is used."""
    group = parser.add_argument_group("where")
    group.add_argument(
        "--data-dir",
        type=Path,
        help="folder of the data sets, one folder a task (default: $WAVEBYOL_DATA or "
        "~/.cache/wavebyol_hear)",
    )
    group.add_argument(
        "--cache-dir", type=Path, help="folder of the embeddings (default: in the data folder)"
    )
    group.add_argument("--out", type=Path, default=Path("results"), help="folder of the results")
    group.add_argument("--device", help="torch device (default: cuda where there is one)")
    group.add_argument(
        "--workers", type=int, default=_cores(), help="decoding threads (default: cores)"
    )


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
