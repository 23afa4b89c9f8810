"""Decode audio once to 16 kHz mono int16 and keep it in memory-mapped files: a store.

    python -m pretrain.store SOURCE... --out DIR [--workers N] [--part i/n] [--max-file GB]
    python -m pretrain.store --verify --out DIR

SOURCE is a folder of audio files, the root folder of FSD50K (its dev split is read), a folder of
WebDataset tar shards, one shard, or the URL of one (http, ftp, s3, gs, hf, or `pipe:` with a
command that writes it). The command can be stopped or killed at any time: the same command resumes.
Files that cannot be decoded are listed at the end and in DIR/bad.tsv.

With --part i/n, n machines build n stores, each from every n-th shard (or every n-th 500 files of a
folder); `python -m pretrain DIR...` trains on all of them together. With --part /n, i is read from
the environment of the SLURM array, torchrun or the Kubernetes indexed job.

Exit code: 0 finished; 1 error; 2 wrong arguments; 130 or 143 interrupted.
"""

if __name__ == "__main__":  # before imports that take seconds
    from wavebyol_hear.files.command import run_command, start_command

    start_command()

import logging
import os
import sys
from pathlib import Path

from wavebyol_hear.files.command import manual_parser
from wavebyol_hear.files.shares import UsageError, share_of
from wavebyol_hear.files.threads import usable_cores

_BAD_SHOWN = 20


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code.

    Args:
        argv: of the command line; None takes the process's own.
    """
    parser = manual_parser("pretrain.store", __doc__)
    parser.add_argument("sources", nargs="*", metavar="SOURCE", help="folder, tar shard or URL")
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="folder of the store")
    add(
        "--workers",
        type=int,
        default=usable_cores(),
        metavar="N",
        help="decoding processes (default: all usable cores)",
    )
    add("--part", default="0/1", metavar="i/n", help="build part i of n (i from 0 to n - 1)")
    add(
        "--max-file",
        type=float,
        default=4.0,
        metavar="GB",
        help="maximum size of one file of samples (default: 4)",
    )
    add("--verify", action="store_true", help="read a finished store and check its hash")
    args = parser.parse_args(argv)
    if bool(args.sources) == args.verify:
        parser.error("give either sources or --verify")
    if args.workers < 1:
        parser.error(f"--workers {args.workers}: at least 1")
    if not args.max_file > 0:
        parser.error(f"--max-file {args.max_file:g}: above 0")
    try:
        share = share_of(args.part, os.environ)
    except UsageError as error:
        parser.error(str(error))
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    if args.verify:
        return _verify(args.out.expanduser())
    if share.origin:
        sys.stdout.write(f"part {share.number} of {share.total}, from {share.origin}\n")
    part = share.number, share.total
    return _build(args.sources, args.out.expanduser(), args.workers, part, args.max_file)


def _verify(out: Path) -> int:
    """Compare the store with its hash, say whether it fits, and return the exit code."""
    from pretrain.data.store import Store, StoreError

    try:
        Store.verify(out)
        store = Store.open(out)
    except (StoreError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    sys.stdout.write(f"{out}: {len(store)} clips are what was sealed, hash {store.hash[:12]}\n")
    return 0


def _build(
    sources: list[str], out: Path, workers: int, part: tuple[int, int], max_gb: float
) -> int:
    """Build the store, say what it holds, and return the exit code."""
    from pretrain.data.store import SAMPLE_RATE, Store
    from pretrain.data.store_build import build
    from wavebyol_hear.files.atomic import LockedError

    try:
        if (out / "store.json").is_file():
            Store.open(out)  # says what is damaged, where something is
        build(sources, out, workers, part, 1e9 * max_gb)
        store = Store.open(out)
    except (ValueError, OSError, LockedError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    file = out / "bad.tsv"
    bad = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    for line in bad[:_BAD_SHOWN]:
        sys.stderr.write(f"bad file: {line}\n")
    if len(bad) > _BAD_SHOWN:
        sys.stderr.write(f"... {len(bad) - _BAD_SHOWN} more in {out / 'bad.tsv'}\n")
    hours = float(store.lengths.sum()) / SAMPLE_RATE / 3600
    sys.stdout.write(
        f"{out}: {len(store)} clips, {hours:.2f} h, {len(bad)} bad files, hash {store.hash[:12]}\n"
    )
    return 0


if __name__ == "__main__":
    run_command(main)
