"""Build the open corpus: download free sound from Debian's archive and make a store of it.

    python -m pretrain.corpus debian --out DIR [--hours H] [--mirror URL] [--workers N]

Downloads a pinned list of packages to DIR/debs, verifies their SHA-256, and extracts their audio to
DIR/packed without installing or running anything. DIR/shards holds each clip once, as WebDataset
tar shards with an index.csv, and DIR/store is the store that `python -m pretrain` trains on. The
command can be stopped or killed at any time: the same command resumes. Packages that fail are
reported, skipped, and retried by the next run.
"""

if __name__ == "__main__":  # before imports that take seconds
    from wavebyol_hear.files.command import run_command, start_command

    start_command()

import argparse
import csv
import hashlib
import io
import logging
import multiprocessing
import os
import shutil
import sys
import tarfile
from collections import Counter
from concurrent.futures import (
    FIRST_COMPLETED,
    Executor,
    Future,
    ProcessPoolExecutor,
    ThreadPoolExecutor,
    wait,
)
from pathlib import Path

from tqdm import tqdm

from pretrain.data.deb import PackageError
from pretrain.data.debian import KINDS, LIST, Package, fetch, read_list
from pretrain.data.package_shard import Clip, Record, read_record, write_shard
from pretrain.data.store_build import build
from pretrain.data.store_sources import SourceError
from pretrain.data.workers import blocked_signals, die_with_parent, stopping
from wavebyol_hear.files.atomic import LockedError, atomic_write, lock, write_text
from wavebyol_hear.files.command import manual_parser
from wavebyol_hear.files.threads import usable_cores

COLUMNS = ("id", "shard", "kind", "source", "seconds", "licence")
_PLAN = "plan.txt"

Selection = list[tuple[Package, Record, list[Clip]]]
"""Packages in the order of the list, with their record and the clips that are kept."""


def prepare(package: Package, out: Path, mirror: str | None) -> Record:
    """Fetch and pack one package, unless that is done; arguments and errors as of `fetch`."""
    record = read_record(package, out / "packed")
    if record is None:
        record = write_shard(package, fetch(package, out / "debs", mirror), out / "packed")
    return record


def prepare_all(
    packages: list[Package], out: Path, mirror: str | None, workers: int, hours: float
) -> tuple[dict[str, Record], list[str]]:
    """Fetch and pack packages in the order of the list until they have enough hours.

    Args:
        packages: the list; what ships is in the order of size, so that the first hours cost the
            shortest download.
        out: the corpus's folder.
        mirror: see `fetch`.
        workers: processes, at least 1.
        hours: no further package is begun once there are so many; may be infinite.

    Returns:
        The record of each package by its name, and one line for each that failed.
    """
    for name in ("debs", "packed"):
        (out / name).mkdir(parents=True, exist_ok=True)
    records: dict[str, Record] = {}
    failures: list[str] = []
    left = iter(packages)
    running: dict[Future[Record], Package] = {}
    pool: Executor = ThreadPoolExecutor(1)
    if workers > 1:
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(workers, context, die_with_parent)
    with tqdm(total=len(packages), unit="package", desc="packages") as bar, stopping(pool):
        while True:
            while len(running) < workers and sum(r.hours for r in records.values()) < hours:
                package = next(left, None)
                if package is None:
                    break
                with blocked_signals():  # inherited by the worker that this may start
                    running[pool.submit(prepare, package, out, mirror)] = package
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                package = running.pop(future)
                bar.update()
                try:
                    record = records[package.name] = future.result()
                except (PackageError, OSError) as error:
                    failures.append(" ".join(str(error).split()))
                    continue
                if record.error:
                    failures.append(f"{package.name}: not read to its end: {record.error}")
    return records, failures


def select(packages: list[Package], records: dict[str, Record], hours: float) -> Selection:
    """Keep each sound once, at the first package that has it, until there are enough hours."""
    selection: Selection = []
    seen: set[str] = set()
    seconds = 0.0
    for package in packages:
        record = records.get(package.name)
        if record is None or seconds >= hours * 3600:
            continue
        kept = [clip for clip in record.clips if clip.audio_hash not in seen]
        seen.update(clip.audio_hash for clip in kept)
        seconds += sum(clip.seconds for clip in kept)
        if kept:
            selection.append((package, record, kept))
    return selection


def write_shards(selection: Selection, out: Path) -> bool:
    """Bring `out/shards` to the selection; return whether anything changed."""
    index = io.StringIO()
    writer = csv.writer(index, lineterminator="\n")
    writer.writerow(COLUMNS)
    for package, _, kept in selection:
        for clip in kept:
            source = f"Debian {package.name} {package.version} {clip.path}"
            shard = f"{package.name}.tar"
            row = clip.clip_id, shard, clip.kind, source, clip.seconds, package.licence
            writer.writerow(row)
    plan = hashlib.sha256(index.getvalue().encode())
    plan.update("".join(record.made_of for _, record, _ in selection).encode())
    shards = out / "shards"
    plan_file = shards / _PLAN
    if plan_file.is_file() and plan_file.read_text() == plan.hexdigest():
        return False
    shutil.rmtree(shards, ignore_errors=True)
    shards.mkdir()
    for package, record, kept in selection:
        packed = out / "packed" / f"{package.name}.tar"
        if len(kept) == len(record.clips):
            _link(packed, shards / packed.name)
        else:
            _copy_members(packed, shards / packed.name, {clip.clip_id for clip in kept})
    write_text(shards / "index.csv", index.getvalue())
    write_text(plan_file, plan.hexdigest())
    return True


def _link(source: Path, target: Path) -> None:
    """Give a file a second name, or copy it where the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _copy_members(source: Path, target: Path, kept: set[str]) -> None:
    """Copy those clips of a shard that are kept."""
    with (
        tarfile.open(source, "r|") as old,
        atomic_write(target) as file,
        tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as new,
    ):
        for member in old:
            if member.name.removesuffix(".flac") in kept:
                new.addfile(member, old.extractfile(member))


def summary(store: Path) -> str:
    """Return a table of a store's clips, hours and packages by kind."""
    clips: Counter[str] = Counter()
    samples: Counter[str] = Counter()
    packages: dict[str, set[str]] = {}
    with (store / "index.csv").open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            for kind in (row["kind"], "all"):
                clips[kind] += 1
                samples[kind] += int(row["length"])
                packages.setdefault(kind, set()).add(row["source"].split(" ")[1])
    table = [f"{'kind':10}{'hours':>8}{'clips':>8}{'packages':>10}"]
    for kind in (*KINDS, "all"):
        hours = samples[kind] / 16_000 / 3600
        table.append(f"{kind:10}{hours:8.2f}{clips[kind]:8d}{len(packages.get(kind, ())):10d}")
    return "\n".join(table)


def debian(packages: list[Package], args: argparse.Namespace) -> int:
    """Build the corpus; return the exit code."""
    out: Path = args.out
    records, failures = prepare_all(packages, out, args.mirror, args.workers, args.hours)
    selection = select(packages, records, args.hours)
    if not selection:
        raise SourceError(f"no package could be had; first reason: {failures[:1]}")
    changed = write_shards(selection, out)
    store = out / "store"
    if changed and store.exists():
        # made by this command of other shards; `build` would refuse it
        shutil.rmtree(store)
    build([str(out / "shards")], store, args.workers)
    for failure in failures:
        sys.stderr.write(f"failed: {failure}\n")
    bad = sum(len(record.bad) for record in records.values())
    sys.stdout.write(f"{summary(store)}\n")
    sys.stdout.write(
        f"{store}: {len(selection)} of {len(packages)} packages, {len(failures)} failed, "
        f"{bad} files could not be decoded or are silent or shorter than 0.1 s\n"
    )
    return 1 if failures else 0


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit code: 0 done, 1 something failed, 2 wrong arguments."""
    parser = manual_parser("pretrain.corpus", __doc__)
    add = parser.add_argument
    add("archive", choices=["debian"], help="source of the audio")
    add("--out", type=Path, required=True, metavar="DIR", help="folder of the corpus")
    add(
        "--hours",
        type=float,
        default=float("inf"),
        metavar="H",
        help="stop after this many hours of audio (default: everything)",
    )
    add("--mirror", metavar="URL", help="Debian mirror: URL or folder that contains pool/")
    add(
        "--workers",
        type=int,
        default=usable_cores(),
        metavar="N",
        help="decoding processes (default: all usable cores)",
    )
    add(
        "--list",
        type=Path,
        default=LIST,
        metavar="FILE",
        help=f"CSV file of packages (default: {LIST.name})",
    )
    args = parser.parse_args(arguments)
    if args.workers < 1:
        parser.error(f"--workers {args.workers}: at least 1")
    if not args.hours > 0:
        parser.error(f"--hours {args.hours}: above 0")
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
    try:
        packages = read_list(args.list)
        args.out.mkdir(parents=True, exist_ok=True)
        with lock(args.out / ".lock", str(args.out), "choose another --out"):
            return debian(packages, args)
    except (UnicodeDecodeError, csv.Error) as error:
        sys.stderr.write(f"error: {args.list}: no CSV table in UTF-8 ({error})\n")
        return 1
    except (PackageError, SourceError, LockedError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1


if __name__ == "__main__":
    run_command(main)
