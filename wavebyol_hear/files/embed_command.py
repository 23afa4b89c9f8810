"""wavebyol embed: from files, folders, lists, shards and datasets to embeddings on disk."""

import argparse
import contextlib
import math
import os
import shlex
import sys
from functools import partial
from pathlib import Path
from typing import Any

from wavebyol_hear.files.atomic import write_text
from wavebyol_hear.files.extras import require
from wavebyol_hear.files.shares import UsageError, add_engine, sbatch_script, share_of

EPILOG = """\
exit status:
  0    all files were embedded
  1    some could not be embedded; errors.parquet lists them with reasons
  2    the command could not start or continue
  130, 143  interrupted; finished work is kept, and the same command resumes
"""


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
        type=_count,
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
        type=_whole,
        metavar="N",
        help="decoding threads (default: 2; 16 with a GPU)",
    )


def _add_distribution(parser: argparse.ArgumentParser) -> None:
    """Add the arguments on several processes, jobs and machines."""
    add = parser.add_argument_group("several processes or machines").add_argument
    add(
        "--part-size",
        type=_count,
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
    add_engine(add)


def run(args: argparse.Namespace) -> int:
    """Embed and return the exit status."""
    for module in ("pyarrow", "tqdm"):
        require(module, "files", "wavebyol embed")
    from wavebyol_hear.files.embed_job import embed
    from wavebyol_hear.files.embed_manifest import Settings
    from wavebyol_hear.files.embed_parts import Options
    from wavebyol_hear.files.sources import Listing
    from wavebyol_hear.files.stores import location, named_errors

    check(args)
    if args.sbatch:
        write_text(args.sbatch, sbatch_script(args.words, gpu="cuda" in (args.device or "")))
        sys.stdout.write(f"submit it by: sbatch {shlex.quote(str(args.sbatch))}\n")
        return 0
    share = share_of(args.part, os.environ)
    if share.origin:
        sys.stderr.write(f"share {share.number} of {share.total}, from {share.origin}\n")
    out, device = location(args.out), args.device or default_device()
    ray = args.engine == "ray"
    workers = 16 if "cuda" in device else 1 if ray else 2
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
        workers=workers if args.workers is None else args.workers,
        share=(share.number, share.total),
        ray_address=args.ray_address if ray else None,
    )
    listing = Listing(args.path_column, args.follow_links, args.part_size, out)
    with named_errors(out):
        return embed(settings, listing)


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


def _number(kind: type, least: int, what: str, text: str) -> Any:  # noqa: ANN401
    """Return a number of at least `least`."""
    with contextlib.suppress(ValueError):
        value = kind(text)
        if least <= value < math.inf:
            return value
    raise argparse.ArgumentTypeError(f"{text!r}: give {what}, {least} or more")


_seconds = partial(_number, float, 0, "seconds")
_whole = partial(_number, int, 0, "a whole number")
_count = partial(_number, int, 1, "a whole number")
