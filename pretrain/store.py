"""Decode audio once to 16 kHz mono int16, into one memory-mapped file: a store.

    python -m pretrain.store SOURCE... --out DIR [--workers N]

SOURCE is a folder of audio, the root of FSD50K's official tree (its dev split is read), a folder
of WebDataset tar shards, one such shard, or the URL of one (http, ftp, s3, gs, hf, or `pipe:` and a
command that writes it). Stop or kill the command whenever you like: the same command goes on. Bad
files are listed at the end and in DIR/bad.tsv.

Exit code: 0 when done, 1 after an error, 2 for wrong arguments, 130 or 143 when stopped.
"""

if __name__ == "__main__":  # before imports that take seconds
    from wavebyol_hear.files.command import start_command

    start_command()

import argparse
import logging
import os
import sys
from pathlib import Path

_BAD_SHOWN = 20


def main(argv: list[str] | None = None) -> int:
    """Run the command and return its exit code.

    Args:
        argv: of the command line; None takes the process's own.
    """
    summary, _, manual = (__doc__ or "").partition("\n\n")
    parser = argparse.ArgumentParser(
        prog="python -m pretrain.store",
        description=summary,
        epilog=manual,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="folder, tar shard or URL")
    parser.add_argument("--out", type=Path, required=True, help="the store's folder")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    args = parser.parse_args(argv)
    if args.workers < 1:
        parser.error(f"--workers {args.workers}: at least 1")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    return _build(args.sources, args.out.expanduser(), args.workers)


def _build(sources: list[str], out: Path, workers: int) -> int:
    """Build the store, say what it holds, and return the exit code."""
    from pretrain.data.store_build import build
    from wavebyol_hear.files.atomic import LockedError

    try:
        about = build(sources, out, workers)
    except (ValueError, OSError, LockedError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    bad = (out / "bad.tsv").read_text(encoding="utf-8").splitlines()
    for line in bad[:_BAD_SHOWN]:
        sys.stderr.write(f"bad file: {line}\n")
    if len(bad) > _BAD_SHOWN:
        sys.stderr.write(f"... {len(bad) - _BAD_SHOWN} more in {out / 'bad.tsv'}\n")
    hours = about["samples"] / about["sample_rate"] / 3600
    sys.stdout.write(
        f"{out}: {about['clips']} clips, {hours:.2f} h, {len(bad)} bad files, "
        f"hash {about['hash'][:12]}\n"
    )
    return 0


if __name__ == "__main__":
    from wavebyol_hear.files.command import run_command

    run_command(main)
