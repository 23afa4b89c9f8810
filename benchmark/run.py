"""Evaluate audio models on labeled clips: `python -m benchmark.run --tasks T,... --models M,...`.

A model is a HEAR module given by its import path: `module`, `module:weights` or
`module?option=value`. Each clip is embedded once, each --protocol trains and tests classifiers on
the embeddings, and --out receives one JSON file per task, model and protocol. Without arguments,
the default models are evaluated on `notes`, which needs no download.

Tasks called hear:NAME or hear:all are task folders of the HEAR benchmark below --hear-dir. heareval
scores them, in a table of its own; --hear-linear adds our probes.

Exit code: 0 all results are there; 1 some are missing (the others were evaluated); 2 wrong command
line; 130 or 143 interrupted.
"""

if __name__ == "__main__":  # before imports that take seconds
    from wavebyol_hear.files.command import start_command

    start_command()

import argparse
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.data.clip import BenchmarkError, TaskDataError
from benchmark.data.corrupt import CorruptionError, parse_all
from benchmark.data.hear_catalogue import PREFIX, known_tasks, resolve
from benchmark.data.hear_catalogue import catalogue as hear_listing
from benchmark.data.registry import data_folder, load_tasks, near, own_tasks, unknown
from benchmark.results.schema import refuse_other_labels
from wavebyol_hear.files.shares import add_engine
from wavebyol_hear.files.threads import add_threads, usable_cores

# torch is imported inside functions: --help and a wrong command line answer at once.
if TYPE_CHECKING:
    from benchmark.data.clip import Task
    from benchmark.results.schema import Result, ResultKey
    from benchmark.results.supervisor import Journal

DEFAULT_TASKS = ["notes"]
DEFAULT_MODELS = (
    "baselines.content_random",
    "baselines.log_mel",
    "baselines.byol_a",
    "baselines.cola",
    "wavebyol_hear",
)
PROTOCOL_NAMES = ("linear", "knn", "mlp", "finetune")
PRECISIONS = ("fp32", "bf16", "auto")
HEAR_GRIDS = ("default", "fast", "faster")
"""heareval's hyperparameter grids, which differ in networks and numbers of epochs."""
KEPT = "finished embeddings are kept, and the same command resumes"


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmark.run", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "--list",
        action="store_true",
        help="list the tasks and whether their data is there; with --tasks, describe these",
    )
    add = parser.add_argument_group("tasks and models").add_argument
    add(
        "--tasks",
        type=names,
        metavar="TASK,...",
        help="data sets; hear:NAME or hear:all for HEAR's task folders (default: notes)",
    )
    table = "your own labels: a table with columns path, label and optionally split or fold, group"
    classes = "your own labels: a folder with one subfolder of files per class"
    for option, kind, text in (("--csv", "LABELS.csv", table), ("--folder", "DIR", classes)):
        add(option, type=path, action="append", default=[], metavar=kind, help=text)
    add("--models", type=names, metavar="MODEL,...", help="module[:weights][?option=value&...]")
    add(
        "--allow-partial",
        action="store_true",
        help="evaluate incomplete data sets too; their scores are marked as partial",
    )
    _add_evaluation(parser)
    _add_machine(parser)
    return parser


def _add_evaluation(parser: argparse.ArgumentParser) -> None:
    """Add the options on protocols."""
    add = parser.add_argument_group("evaluation").add_argument
    add(
        "--protocol",
        dest="protocols",
        type=names,
        default=["linear"],
        metavar="NAME,...",
        help=f"protocols to score by: {', '.join(PROTOCOL_NAMES)} (default: linear)",
    )
    add(
        "--seeds",
        type=int,
        default=1,
        metavar="N",
        help="number of runs of a protocol with random initialization, such as mlp (default: 1)",
    )
    add(
        "--finetune-config",
        type=path,
        dest="finetune",
        metavar="FILE.yaml",
        help="changes to the defaults of benchmark.finetune.config",
    )
    add(
        "--corrupt",
        dest="corruptions",
        type=names,
        default=[],
        metavar="KIND:LEVEL,...",
        help="also score on corrupted test clips: noise:SNR_DB, reverb[:RT60], clip[:PERCENT], "
        "mp3:KBIT, opus:KBIT, vorbis:QUALITY",
    )
    add(
        "--precision",
        choices=PRECISIONS,
        default="fp32",
        help="precision of models that offer the choice (default: fp32); tables mark any other",
    )


def _add_machine(parser: argparse.ArgumentParser) -> None:
    """Add the options on folders, the machine and HEAR's tasks."""
    add = parser.add_argument_group("folders and machine").add_argument
    add(
        "--data-dir",
        type=path,
        metavar="DIR",
        help="folder of the data sets (default: $WAVEBYOL_DATA or ~/.cache/wavebyol_hear)",
    )
    add(
        "--cache-dir",
        type=path,
        metavar="DIR",
        help="folder of the cached embeddings (default: embeddings/ in the data folder)",
    )
    add(
        "--out",
        type=path,
        default=Path("results"),
        metavar="DIR",
        help="folder of the results (default: results)",
    )
    add_engine(add)
    add("--device", help="torch device (default: cuda if available)")
    add(
        "--workers",
        type=int,
        default=usable_cores(),
        metavar="N",
        help="decoding threads (default: all usable cores)",
    )
    add_threads(parser)
    about = "for the tasks hear:NAME, which heareval scores"
    add = parser.add_argument_group("HEAR", about).add_argument
    add(
        "--hear-dir",
        type=Path,
        metavar="DIR",
        help="folder of HEAR's tasks (default: hear/ in the data folder)",
    )
    add(
        "--hear-grid",
        choices=HEAR_GRIDS,
        default=HEAR_GRIDS[0],
        help="heareval's hyperparameter grid (default: default); only scores of the default grid "
        "are comparable with the leaderboard",
    )
    add("--hear-linear", action="store_true", help="also score with our own probes, in seconds")


def names(text: str) -> list[str]:
    """Return the names of a comma-separated list.

    Raises:
        ArgumentTypeError: a name is empty or is listed twice.
    """
    listed = [name.strip() for name in text.split(",")]
    if not all(listed):
        raise argparse.ArgumentTypeError(f"an empty name in {text!r}")
    twice = [name for name in listed if listed.count(name) > 1]
    if twice:
        raise argparse.ArgumentTypeError(f"{twice[0]} is named twice")
    return listed


def path(text: str) -> Path:
    """Return a path whose `~` is the home folder, where a shell left it as it is."""
    try:
        return Path(text).expanduser()
    except RuntimeError as error:  # no home folder
        raise argparse.ArgumentTypeError(f"{text}: {error}") from None


def check_args(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """End the process with one line where a command line asks for what cannot be."""
    for option, least in (("workers", 0), ("seeds", 1)):
        if getattr(args, option) < least:
            parser.error(f"--{option} is {getattr(args, option)}: give {least} or more")
    tasks, hear = list(load_tasks()), [f"{PREFIX}{name}" for name in ("all", *known_tasks())]
    for name in args.tasks or ():
        if name not in tasks and not name.startswith(PREFIX):
            parser.error(unknown("task", name, [*tasks, *hear], [*tasks, f"{PREFIX}NAME"]))
    for name in args.protocols:
        if name not in PROTOCOL_NAMES:
            parser.error(unknown("protocol", name, PROTOCOL_NAMES))
    for model in args.models:
        module = model.partition(":")[0].partition("?")[0]
        meant = near(module, DEFAULT_MODELS)
        try:  # the parents of the module may be imported for it
            found = not meant or importlib.util.find_spec(module) is not None
        except (ImportError, ValueError, AttributeError):
            found = False
        if not found:
            parser.error(f"unknown model {module!r}{meant}")


def read_configs(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Read the settings of fine-tuning, the corruptions and HEAR's folder in place."""
    from benchmark.finetune.config import FinetuneConfig
    from wavebyol_hear.files.settings import SettingsError, load_settings

    try:
        args.protocols, args.corruptions = tuple(args.protocols), parse_all(args.corruptions)
        args.hear_dir = args.hear_dir or data_folder(args.data_dir) / "hear"
        args.finetune = load_settings(FinetuneConfig(), *filter(None, [args.finetune]))
    except CorruptionError as error:
        parser.error(str(error))
    except SettingsError as error:
        parser.error(f"--finetune-config {error}")
    except RuntimeError as error:  # no home folder
        parser.error(f"{error}; give --data-dir")


def show(
    results: Sequence["Result"], failures: Mapping["ResultKey", str], out: Path, hear_protocol: str
) -> None:
    """Print the tables of results, and write them to `table.md` and `hear.md` in a folder."""
    from benchmark.report.published import read_leaderboard
    from benchmark.report.render import to_markdown, to_text
    from benchmark.report.scores import hear_tables
    from benchmark.report.tables import tables
    from wavebyol_hear.files.atomic import write_text

    shares = [result for result in results if result.unit == "percent"]
    measures = [result for result in results if result.unit != "percent"]
    lacking = {key: why for key, why in failures.items() if key[2] != hear_protocol}
    parts = {}
    if shares or lacking:
        parts["table.md"] = tables(shares, lacking)
    if measures:
        parts["hear.md"] = hear_tables(measures, read_leaderboard())
    for part in parts.values():
        sys.stdout.write("\n" + "\n\n".join(map(to_text, part)) + "\n")
    if not shares:
        parts.pop("table.md", None)
    written = []
    for name, part in parts.items():
        try:
            write_text(out / name, "\n\n".join(map(to_markdown, part)) + "\n")
            written.append(name)
        except OSError as error:
            sys.stderr.write(f"warning: {out / name} is not written: {error.strerror}\n")
    if results:
        count = "1 result" if len(results) == 1 else f"{len(results)} results"
        sys.stdout.write(f"\n{' and '.join([count, *written])} are in {out}\n")


def list_tasks(args: argparse.Namespace) -> None:
    """Print the tasks and what is present; where tasks are named, all facts of these."""
    from benchmark.data.listing import describe, task_table

    tasks = load_tasks()
    chosen = [tasks[name] for name in args.tasks or () if name in tasks]
    if chosen:
        sys.stdout.write("\n\n".join(describe(task, args.data_dir) for task in chosen) + "\n")
    else:
        sys.stdout.write(task_table(tasks.values(), args.data_dir) + "\n\n")
        sys.stdout.write(hear_listing(args.hear_dir) + "\n")


def main(arguments: Sequence[str] | None = None, journal: "Journal | None" = None) -> int:
    """Run the command and return its exit code.

    Args:
        arguments: of the command line; None takes the process's own.
        journal: of a process before this one that foreign code has ended.
    """
    parser = build_parser()
    args = parser.parse_args(arguments)
    args.models = args.models or list(DEFAULT_MODELS)
    check_args(parser, args)
    read_configs(parser, args)
    if args.list:
        list_tasks(args)
        return 0
    try:
        args.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        parser.error(f"--out {args.out} cannot be made: {error.strerror}")
    try:
        own = own_tasks([*args.csv, *args.folder])
        refuse_other_labels(own, args.out)
    except BenchmarkError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    from benchmark.evaluate import Settings, evaluate
    from benchmark.probes.protocols import PROTOCOLS

    same = [PROTOCOLS[name].version for name in args.protocols if not PROTOCOLS[name].random]
    if args.seeds > 1 and same:
        sys.stdout.write(f"{', '.join(same)}: no random initialization, so one run\n")
    # The options of a run have the names of its settings.
    settings = Settings(**{f.name: vars(args)[f.name] for f in fields(Settings) if f.name in args})
    asked = args.tasks or ([] if own else DEFAULT_TASKS)
    hear = [name.removeprefix(PREFIX) for name in asked if name.startswith(PREFIX)]
    known = load_tasks()
    tasks: list[Task | Path] = [*own, *(known[name] for name in asked if name in known)]
    try:
        folders, absent = resolve(hear, args.hear_dir) if hear else ([], {})
    except TaskDataError as error:
        folders, absent = [], dict.fromkeys(hear, str(error))
    absent = {f"{PREFIX}{name}": why for name, why in absent.items()}
    work = [*tasks, *folders], args.models, settings, absent
    if args.engine == "ray":
        from benchmark.evaluate_ray import evaluate_on_ray
        from wavebyol_hear.files.embed_ray import ClusterError
        from wavebyol_hear.files.extras import MissingExtraError

        try:
            results, failures = evaluate_on_ray(*work, address=args.ray_address)
        except (MissingExtraError, ClusterError) as error:
            sys.stderr.write(f"error: {error}\n")
            return 1
    else:
        results, failures = evaluate(*work, journal)
    show(results, failures, args.out, settings.heareval)
    for (task, model, protocol), why in failures.items():
        sys.stderr.write(f"no result of {model} on {task} under {protocol}: {why}\n")
    return 1 if failures else 0


if __name__ == "__main__":
    from benchmark.results.supervisor import supervise

    supervise(lambda journal: main(journal=journal), KEPT)
