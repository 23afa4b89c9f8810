"""wavebyol embed: from files, folders, lists, shards and datasets to embeddings on disk."""

import argparse
import os
import shlex
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from wavebyol_hear.files.atomic import write_text
from wavebyol_hear.files.extras import require

EPILOG = """\
exit status:
  0    all files were embedded
  1    some could not be embedded; errors.parquet lists them with reasons
  2    the command could not start or continue
  130, 143  interrupted; finished work is kept, and the same command resumes
"""
RANKS = (
    ("RANK", "WORLD_SIZE"),
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"),
    ("JOB_COMPLETION_INDEX", "JOB_COMPLETIONS"),
)
"""Variables from which `--part` is taken: torchrun's, SLURM's, those of Kubernetes."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the command's arguments."""
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = EPILOG
    add = parser.add_argument
    add(
        "sources",
        nargs="+",
        metavar="SOURCE",
        help="audio file; folder; @list.txt (one path per line); CSV file with a path column; "
        "WebDataset tar shards (data-{000..009}.tar for several); Parquet file with an audio "
        "column; saved Hugging Face dataset; any of the first two, or shards, at s3://, gs://, ...",
    )
    add("--out", required=True, metavar="DIR", help="output folder, or s3://, gs://, ...")
    add(
        "--model",
        default="wavebyol_hear",
        metavar="SPEC",
        help="HEAR module, as module[:weights][?option=value&...] (default: %(default)s)",
    )
    add(
        "--dims",
        type=partial(_whole, least=1),
        metavar="N",
        help="keep the first N principal components of each embedding (default: all dimensions)",
    )
    add(
        "--window",
        type=_seconds,
        default=0.0,
        metavar="SECONDS",
        help="embed windows of this length (default: whole files)",
    )
    add(
        "--hop",
        type=_seconds,
        metavar="SECONDS",
        help="distance between the starts of windows (default: the window length)",
    )
    add("--timestamps", action="store_true", help="one row per timestamp (every 40 ms)")
    add(
        "--format",
        choices=("parquet", "npy"),
        default="parquet",
        help="output format (default: %(default)s)",
    )
    add(
        "--dtype",
        choices=("float32", "float16"),
        default="float32",
        help="data type of the output (default: %(default)s)",
    )
    add("--path-column", default="", metavar="NAME", help="name of the path column in CSV files")
    add("--follow-links", action="store_true", help="follow symbolic links to other folders")
    _add_computation(parser)
    _add_distribution(parser)


def _add_computation(parser: argparse.ArgumentParser) -> None:
    """Add the arguments on device, precision and batches."""
    add = parser.add_argument_group("computation").add_argument
    add("--device", help="torch device, such as cpu or cuda:1 (default: cuda if available)")
    add(
        "--precision",
        choices=("auto", "fp32", "bf16"),
        default="auto",
        help="precision of the computation (default: %(default)s)",
    )
    add(
        "--batch-seconds",
        type=_seconds,
        default=64.0,
        metavar="SECONDS",
        help="audio per batch (default: %(default)g); 0 embeds each clip on its own, so that its "
        "embedding is bit-identical whatever other files there are",
    )
    add(
        "--workers",
        type=partial(_whole, least=0),
        metavar="N",
        help="decoding threads (default: 2; 16 with a GPU)",
    )


def _add_distribution(parser: argparse.ArgumentParser) -> None:
    """Add the arguments on several processes, jobs and machines."""
    add = parser.add_argument_group("several processes or machines").add_argument
    add(
        "--part-size",
        type=partial(_whole, least=1),
        default=512,
        metavar="N",
        help="files per output part (default: %(default)s)",
    )
    add(
        "--part",
        metavar="I/N",
        help="embed share I of N (0/N to N-1/N), for several processes with the same DIR; /N reads "
        "I from the environment (RANK, SLURM_ARRAY_TASK_ID or JOB_COMPLETION_INDEX)",
    )
    add(
        "--sbatch",
        type=Path,
        metavar="FILE",
        help="only write a SLURM script for this command: an array of N jobs (--part /N; 16)",
    )
    add(
        "--engine",
        choices=("local", "ray"),
        default="local",
        help="where to run (default: %(default)s)",
    )
    add(
        "--ray-address",
        default="",
        metavar="ADDRESS",
        help="Ray cluster to connect to (default: start one on this machine)",
    )


def run(args: argparse.Namespace) -> int:
    """Embed and return the exit status."""
    for module in ("pyarrow", "tqdm"):
        require(module, "files", "wavebyol embed")
    from wavebyol_hear.files.embed_job import embed
    from wavebyol_hear.files.embed_manifest import Settings
    from wavebyol_hear.files.embed_parts import Options
    from wavebyol_hear.files.embed_ray import Cluster
    from wavebyol_hear.files.sources import Listing
    from wavebyol_hear.files.stores import location

    check(args)
    if args.sbatch:
        write_text(args.sbatch, sbatch_script(args.words, gpu="cuda" in (args.device or "")))
        sys.stdout.write(f"submit it by: sbatch {shlex.quote(str(args.sbatch))}\n")
        return 0
    share = share_of(args.part, os.environ)
    if share.origin:
        sys.stderr.write(f"share {share.number} of {share.total}, from {share.origin}\n")
    out, device = location(args.out), args.device or default_device()
    gpu = "cuda" in device
    cluster = None
    if args.engine == "ray":
        cluster = Cluster(args.ray_address, args.workers or (16 if gpu else 1), gpu)
    dims = f"{'&' if '?' in args.model else '?'}dims={args.dims}" if args.dims else ""
    settings = Settings(
        sources=tuple(args.sources),
        out=out,
        model=args.model + dims,
        device=device,
        precision=args.precision,
        options=Options(
            window=args.window,
            hop=args.hop or args.window,
            timestamps=args.timestamps,
            dtype=args.dtype,
            format=args.format,
            part_size=args.part_size,
        ),
        batch_seconds=args.batch_seconds,
        workers=args.workers if args.workers is not None else 16 if gpu else 2,
        share=(share.number, share.total),
        cluster=cluster,
    )
    listing = Listing(args.path_column, args.follow_links, args.part_size, out)
    return embed(settings, listing)


def sbatch_script(words: Sequence[str], *, gpu: bool) -> str:
    """Return a SLURM script that runs a command as an array of jobs, each with its share.

    Args:
        words: the command line behind `wavebyol embed`.
        gpu: whether each job asks for a GPU.

    Raises:
        UsageError: `--part` names a share: the jobs of an array have one each.

    Example:
        >>> script = sbatch_script(["a b", "--out", "v", "--part", "/4"], gpu=False)
        >>> script.splitlines()[2], script.splitlines()[-1]
        ('#SBATCH --array=0-3', "srun wavebyol embed 'a b' --out v")
    """
    ours = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    ours.add_argument("--sbatch")
    ours.add_argument("--part", default="/16")
    args, rest = ours.parse_known_args(list(words))
    first, _, count = args.part.partition("/")
    if first or not count.isdecimal() or not int(count):
        raise UsageError(f"--part {args.part} with --sbatch: give /N, the number of jobs")
    lines = [
        "#!/bin/bash",
        "#SBATCH --job-name=wavebyol-embed",
        f"#SBATCH --array=0-{int(count) - 1}",
        "#SBATCH --cpus-per-task=4",
        *(["#SBATCH --gpus-per-task=1"] if gpu else []),
        "#SBATCH --requeue",
        f"srun wavebyol embed {shlex.join(rest)}",
    ]
    return "\n".join(lines) + "\n"


class UsageError(ValueError):
    """Arguments that do not go together: one line with the remedy."""


class Share(NamedTuple):
    """Which of the parts are this process's: every `total`-th, from `number` on."""

    number: int
    total: int
    origin: str = ""


def share_of(text: str | None, environment: Mapping[str, str]) -> Share:
    """Return the share of `--part`, or of the first of `RANKS` that is set for several processes.

    Where I is taken from a variable, N must be that system's number of processes, if it is known:
    the RANK of a container with one process says nothing of the job array around it, and where one
    job of an array was submitted again, SLURM's count is 1.

    Raises:
        UsageError: the text is no I/N with 0 <= I < N, or I is in no variable of N processes.

    Example:
        >>> share_of("3/8", {}), share_of(None, {"RANK": "1", "WORLD_SIZE": "2"}).number
        (Share(number=3, total=8, origin=''), 1)
    """
    totals = {rank: environment.get(total) for rank, total in RANKS if rank in environment}
    origin = ""
    if text is None:
        text = f"/{next((n for n in totals.values() if n not in (None, '1')), '1')}"
        if text == "/1":
            return Share(0, 1)
    first, _, count = text.partition("/")
    if not first and totals:
        origin = next((rank for rank, total in totals.items() if total in (None, count)), "")
        if not origin:
            said = ", ".join(f"{dict(RANKS)[rank]} is {total}" for rank, total in totals.items())
            raise UsageError(f"{said} and not {count}: give I, such as --part 0/{count}")
        lowest = environment.get("SLURM_ARRAY_TASK_MIN", "0") if "SLURM" in origin else "0"
        step = environment.get("SLURM_ARRAY_TASK_STEP", "1") if "SLURM" in origin else "1"
        try:
            first = str((int(environment[origin]) - int(lowest)) // int(step))
        except (ValueError, ZeroDivisionError) as error:
            raise UsageError(f"{origin} is {environment[origin]!r}: give --part I/N") from error
    if not (first.isdecimal() and count.isdecimal() and int(first) < int(count)):
        said = f"{origin} and {text}" if origin else f"--part {text}"
        raise UsageError(f"{said}: give I/N with I from 0 to N - 1, such as 0/8")
    return Share(int(first), int(count), origin)


def check(args: argparse.Namespace) -> None:
    """Raise a UsageError where arguments contradict each other."""
    if args.timestamps and (args.window or args.hop):
        raise UsageError("--timestamps and --window: drop one of them")
    if args.hop and not args.window:
        raise UsageError("--hop without --window: add --window SECONDS")
    if args.hop == 0:
        raise UsageError("--hop is 0: give seconds above 0")


def default_device() -> str:
    """Return a GPU where there is one, that of the local rank if several processes share them."""
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    rank = os.environ.get("LOCAL_RANK", "")
    return f"cuda:{int(rank) % torch.cuda.device_count()}" if rank.isdecimal() else "cuda"


def _seconds(text: str) -> float:
    """Return seconds, 0 or more."""
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r}: give seconds, 0 or more")
    return value


def _whole(text: str, least: int) -> int:
    """Return a whole number of at least `least`."""
    try:
        value = int(text)
    except ValueError:
        value = least - 1
    if value < least:
        raise argparse.ArgumentTypeError(f"{text!r}: give a whole number, {least} or more")
    return value
