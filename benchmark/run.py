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
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.arguments import build_parser
from benchmark.data.hear_catalogue import PREFIX
from benchmark.data.hear_catalogue import catalogue as hear_listing

# torch is imported inside functions: --help and a wrong command line answer at once.
if TYPE_CHECKING:
    from benchmark.data.clip import Task
    from benchmark.evaluate import Settings
    from benchmark.results.failures import ResultKey
    from benchmark.results.schema import Result

DEFAULT_MODELS = (
    "baselines.content_random",
    "baselines.log_mel",
    "baselines.byol_a",
    "baselines.cola",
    "wavebyol_hear",
)
NEED_WEIGHTS = ("baselines.byol_a", "baselines.cola")
"""Left out of the default while no weights ship for them."""


def default_models() -> list[str]:
    """Return the default models that can run as shipped."""
    shipped = Path(__file__).parents[1] / "baselines" / "weights"
    return [
        model
        for model in DEFAULT_MODELS
        if model not in NEED_WEIGHTS
        or (shipped / f"{model.rpartition('.')[2]}.safetensors").is_file()
    ]


def check(
    parser: argparse.ArgumentParser, given: argparse.Namespace
) -> tuple[list["Task"], list[str], "Settings"]:
    """Return the tasks, the names of HEAR tasks and the settings that a command line asks for.

    Where it asks for what cannot be, the parser says so and ends the process.
    """
    from benchmark.data.corrupt import CorruptionError, parse_all
    from benchmark.data.registry import data_folder, load_tasks
    from benchmark.evaluate import Settings
    from benchmark.finetune.config import FinetuneConfig
    from benchmark.probes.protocols import PROTOCOLS
    from wavebyol_hear.files.settings import SettingsError, load_settings

    if given.workers < 0:
        parser.error(f"--workers is {given.workers}: give 0 or more")
    if given.seeds < 1:
        parser.error(f"--seeds is {given.seeds}: give 1 or more")
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
        files = [given.finetune_config] if given.finetune_config else []
        finetune = load_settings(FinetuneConfig(), *files)
        corruptions = parse_all(given.corrupt)
    except SettingsError as error:
        parser.error(f"--finetune-config {error}")
    except CorruptionError as error:
        parser.error(str(error))
    if given.hear_dir is None:
        given.hear_dir = data_folder(given.data_dir) / "hear"
    settings = Settings(
        given.out,
        given.data_dir,
        given.cache_dir,
        given.device,
        given.workers,
        given.allow_partial,
        tuple(given.protocol),
        given.seeds,
        finetune,
        corruptions,
    )
    return [known[name] for name in plain], hear, settings


def show(results: Sequence["Result"], missing: Mapping["ResultKey", str], out: Path) -> None:
    """Print the tables of results and write them to `table.md` in a folder."""
    from benchmark.report.tables import more_tables, tables

    sys.stdout.write(f"\n{tables(results, missing)}\n")
    sys.stdout.write("".join(f"\n{part}\n" for part in more_tables(results)))
    if results:
        parts = [tables(results, missing, markdown=True), *more_tables(results, markdown=True)]
        (out / "table.md").write_text("\n\n".join(parts) + "\n", encoding="utf-8")
        count = "1 result" if len(results) == 1 else f"{len(results)} results"
        sys.stdout.write(f"\n{count} and table.md are in {out}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Args:
        arguments: of the command line; None takes the process's own.
    """
    parser = build_parser(__doc__ or "")
    given = parser.parse_args(arguments)
    tasks, hear, settings = check(parser, given)
    if given.list:
        from benchmark.data.registry import load_tasks
        from benchmark.listing import catalogue

        sys.stdout.write(catalogue(load_tasks().values(), given.data_dir) + "\n\n")
        sys.stdout.write(hear_listing(given.hear_dir) + "\n")
        return 0
    try:
        given.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out {given.out} cannot be made: {error.strerror}")
    from benchmark.evaluate import measure_all
    from benchmark.hear_command import run_hear
    from benchmark.probes.protocols import PROTOCOLS

    same = [PROTOCOLS[name].version for name in given.protocol if not PROTOCOLS[name].random]
    if given.seeds > 1 and same:
        sys.stdout.write(f"{', '.join(same)}: nothing is drawn at random, so one run each\n")
    models = given.models or default_models()
    try:
        results, missing = measure_all(tasks, models, settings)
        lost = run_hear(hear, models, settings, given) if hear else {}
    except KeyboardInterrupt:
        sys.stderr.write("interrupted: what was embedded is kept, and the next run goes on\n")
        return 130
    if tasks:
        show(results, missing, given.out)
    for (task, model, protocol), why in (missing | lost).items():
        sys.stderr.write(f"no result of {model} on {task} under {protocol}: {why}\n")
    return 1 if missing or lost else 0


if __name__ == "__main__":
    sys.exit(main())
