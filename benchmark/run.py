"""Measure audio models on labelled sound: `python -m benchmark.run --tasks T,... --models M,...`.

A model is the import path of a HEAR module, `module` or `module:weights`. Each clip is embedded
once, heads are trained on the embeddings as each --protocol says, and one JSON file a task, model
and protocol is written to --out. Without arguments it measures the default models on `notes`,
which needs no download.

Tasks named hear:NAME, or hear:all, are folders of the HEAR benchmark below --hear-dir. They are
brought to the model's rate, embedded, and scored by heareval itself, whose scores have a table of
their own; --hear-linear adds our own probes.

Exit code: 0 when every task has a result from every model; 1 when something is missing, the rest
having been measured all the same; 2 when the command line is wrong; 130 when interrupted.
"""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from benchmark.results import Result

from benchmark.hear.catalogue import PREFIX, add_options
from benchmark.hear.catalogue import catalogue as hear_listing

DEFAULT_TASKS = ("notes",)
DEFAULT_MODELS = (
    "benchmark.models.content_random",
    "benchmark.models.log_mel",
    "benchmark.models.byol_a",
    "benchmark.models.cola",
    "wavebyol_hear",
)
NEED_WEIGHTS = ("benchmark.models.byol_a", "benchmark.models.cola")
"""Left out of the default while no weights ship for them."""


def default_models() -> list[str]:
    """Return the default models that can run as shipped."""
    shipped = Path(__file__).parent / "models" / "weights"
    return [
        model
        for model in DEFAULT_MODELS
        if model not in NEED_WEIGHTS
        or (shipped / f"{model.rpartition('.')[2]}.safetensors").is_file()
    ]


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="benchmark.run", description=__doc__)
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


def _cores() -> int:
    """Return the number of cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


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


def more_tables(results: "Sequence[Result]", *, markdown: bool = False) -> list[str]:
    """Return the tables of robustness and cost that have something to show.

    Args:
        results: of any tasks and protocols.
        markdown: whether to write Markdown; otherwise aligned text.
    """
    from benchmark.corruption.robust_table import robust_tables
    from benchmark.embedding.cost_table import cost_table

    if not results:
        return []
    robust = robust_tables(results, markdown=markdown)
    return [part for part in (robust, cost_table(results, markdown=markdown)) if part]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Args:
        arguments: of the command line; None takes the process's own.
    """
    parser = build_parser()
    given = parser.parse_args(arguments)
    if given.workers < 0:
        parser.error(f"--workers is {given.workers}: give 0 or more")
    if given.seeds < 1:
        parser.error(f"--seeds is {given.seeds}: give 1 or more")
    # torch is imported from here on: --help and a wrong command line answer at once.
    from benchmark.corruption.names import CorruptionError, parse_all
    from benchmark.finetune.config import FinetuneConfigError, read_finetune_config
    from benchmark.listing import catalogue
    from benchmark.protocols import PROTOCOLS
    from benchmark.tasks.registry import data_folder, load_tasks

    known = load_tasks()
    hear = [name for name in given.tasks if name.startswith(PREFIX)]
    plain = [name for name in given.tasks if name not in hear]
    for kind, asked, there in (
        ("task", plain, [*known, "hear:NAME"]),
        ("protocol", given.protocol, PROTOCOLS),
    ):
        unknown = [name for name in asked if name not in there]
        if unknown:
            parser.error(f"unknown {kind} {unknown[0]!r}: the {kind}s are {', '.join(there)}")
    try:
        tuning = read_finetune_config(given.finetune_config)
    except FinetuneConfigError as error:
        parser.error(f"--finetune-config {error}")
    if given.hear_dir is None:
        given.hear_dir = data_folder(given.data_dir) / "hear"
    try:
        corruptions = parse_all(given.corrupt)
    except CorruptionError as error:
        parser.error(str(error))
    if given.list:
        sys.stdout.write(catalogue(known.values(), given.data_dir) + "\n\n")
        sys.stdout.write(hear_listing(given.hear_dir) + "\n")
        return 0
    try:
        given.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out {given.out} cannot be made: {error.strerror}")
    from benchmark.hear.command import run_hear
    from benchmark.jobs import Settings, measure_all
    from benchmark.table import tables

    settings = Settings(
        given.out,
        given.data_dir,
        given.cache_dir,
        given.device,
        given.workers,
        given.allow_partial,
        tuple(given.protocol),
        given.seeds,
        tuning,
        corruptions,
    )
    same = [PROTOCOLS[name].version for name in given.protocol if not PROTOCOLS[name].random]
    if given.seeds > 1 and same:
        sys.stdout.write(f"{', '.join(same)}: nothing is drawn at random, so one run each\n")
    chosen = [known[name] for name in plain]
    models = given.models or default_models()
    try:
        results, missing = measure_all(chosen, models, settings)
        lost = run_hear(hear, models, settings, given) if hear else {}
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: what was embedded is kept, and the next run goes on\n")
        return 130
    if plain:
        sys.stdout.write(f"\n{tables(results, missing)}\n")
        sys.stdout.write("".join(f"\n{part}\n" for part in more_tables(results)))
    if results:
        parts = [tables(results, missing, markdown=True), *more_tables(results, markdown=True)]
        (given.out / "table.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
        sys.stdout.write(f"\n{len(results)} results and table.md are in {given.out}\n")
    for (task, model, protocol), why in (missing | lost).items():
        sys.stderr.write(f"no result of {model} on {task} under {protocol}: {why}\n")
    return 1 if missing or lost else 0


if __name__ == "__main__":
    sys.exit(main())
