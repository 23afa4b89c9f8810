"""Decode audio once to 16 kHz mono int16, into one memory-mapped file: a store.

    python -m pretrain.store SOURCE... --out DIR [--workers N]

SOURCE is a folder of audio, the root of FSD50K's official tree (its dev split is read), a folder
of WebDataset tar shards, one such shard, or the URL of one. Kill the command whenever you like:
the same command goes on. Bad files are listed at the end and in DIR/bad.tsv.
"""

import argparse
import logging
import os
import sys
from pathlib import Path

from pretrain.data.store_build import build
from pretrain.data.store_sources import SourceError

_BAD_SHOWN = 20


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code: 0 done, 1 unfinished, 2 wrong arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m pretrain.data.store", description="Decode audio once into a store."
    )
    parser.add_argument("sources", nargs="+", metavar="SOURCE", help="folder, tar shard or URL")
    parser.add_argument("--out", type=Path, required=True, help="the store's folder")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes")
    options = parser.parse_args(arguments)
    if options.workers < 1:
        parser.error(f"--workers {options.workers}: at least 1")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        about = build(options.sources, options.out, options.workers)
    except (SourceError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command goes on where it was\n")
        return 130
    bad = (options.out / "bad.tsv").read_text(encoding="utf-8").splitlines()
    for line in bad[:_BAD_SHOWN]:
        sys.stderr.write(f"bad file: {line}\n")
    if len(bad) > _BAD_SHOWN:
        sys.stderr.write(f"... {len(bad) - _BAD_SHOWN} more in {options.out / 'bad.tsv'}\n")
    hours = about["samples"] / about["sample_rate"] / 3600
    sys.stdout.write(
        f"{options.out}: {about['clips']} clips, {hours:.2f} h, {len(bad)} bad files, "
        f"hash {about['hash'][:12]}\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
