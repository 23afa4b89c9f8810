"""The job of `wavebyol embed`: a list of parts, those that are done already, and the rest.

A part's file name holds a hash of its slice of the list (names, sizes, times of change), so done
means that it exists. Where files were added, changed or removed since, the slices that differ are
embedded again, and what no slice needs any more is removed at the end.
"""

import contextlib
import errno
import pickle
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import BinaryIO

import pyarrow.parquet as pq
from tqdm import tqdm

from wavebyol_hear.files.atomic import PART, lock
from wavebyol_hear.files.command import printable, readable
from wavebyol_hear.files.embed_manifest import OutputError, Settings, agree, check_folder
from wavebyol_hear.files.embed_parts import Worker
from wavebyol_hear.files.embed_ray import run_on_ray
from wavebyol_hear.files.failures import outcome_of, write_errors
from wavebyol_hear.files.hear_module import load
from wavebyol_hear.files.parquet import ERRORS, INDEX, merge, merged_list
from wavebyol_hear.files.read_ahead import ahead
from wavebyol_hear.files.sources import Listing, Part, SourceError
from wavebyol_hear.files.stores import is_remote, names_in, scratch, threads_for

SHOWN = 20  #: errors that are named on the terminal; all are in errors.parquet


def embed(settings: Settings, listing: Listing) -> int:
    """Embed what is not done yet and return the exit status: 1 where a file could not be.

    Raises:
        OutputError: the folder holds something else, or the disk is full.
        OSError: an object store cannot be reached, or refuses.
        SourceError: a source cannot be listed, or holds no audio file.
        HearError: the model cannot be loaded.
        LockedError: the same command is running.
    """
    out, (index, count) = settings.out, settings.share
    check_folder(settings)
    if not is_remote(out):
        out.mkdir(parents=True, exist_ok=True)
    with (
        lock(out / f"in-use-{index}-of-{count}.lock", str(out), "choose another --out"),
        tempfile.TemporaryFile(dir=scratch(out)) as spool,
    ):
        names, files = list_parts(settings, listing, spool)
        if not names:
            raise SourceError(
                f"{', '.join(settings.sources)[:200]}: no audio file found "
                f"({listing.skipped} other files); wavebyol embed --help lists what is read"
            )
        if listing.skipped:
            sys.stderr.write(f"left out, not audio by their names: {listing.skipped} files\n")
        if files:
            try:
                _compute(settings, spool, files)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise OutputError(f"{out}: the disk is full; make room and run it again") from error
        else:
            sys.stderr.write("nothing new to embed\n")
        return finish(settings, names)


def list_parts(settings: Settings, listing: Listing, spool: BinaryIO) -> tuple[list[str], int]:
    """List the sources; keep this process's parts that are not done in a file, one by one.

    Returns:
        The names of all parts, and how many files the kept ones have.
    """
    index, count = settings.share
    names: list[str] = []
    files = 0
    there = names_in(settings.out)

    def checked(numbered: tuple[int, Part]) -> tuple[Part, str, bool]:
        number, part = numbered
        name = f"part-{number:06d}-{part.digest}.parquet"
        own = number % count == index
        return part, name, own and not (name in there and is_done(settings.out / name))

    with (
        closing(listing.parts(settings.sources)) as parts,
        closing(ahead(checked, enumerate(parts), threads_for(settings.out))) as listed,
    ):
        for part, name, wanted in tqdm(listed, desc="listing", unit="part", delay=2, leave=False):
            names.append(name)
            if wanted:
                files += len(part.items)
                pickle.dump((settings.out / name, part), spool)
    merged = merged_list(settings.out) == names  # to one array, and the parts are gone
    return names, 0 if merged else files


def is_done(path: Path) -> bool:
    """Return whether a part is there and no file of it failed for a reason that may pass."""
    outcome = outcome_of(path)
    return outcome is not None and not any(failure.try_again for failure in outcome[1])


def worker_of(settings: Settings) -> Worker:
    """Load the model, check that the folder is its own, and return who embeds parts with it."""
    model = load(settings.model, settings.device, precision=settings.precision)
    return Worker(
        model,
        settings.options,
        agree(settings, model),
        scratch(settings.out),
        settings.batch_seconds,
        settings.workers,
    )


def _compute(settings: Settings, spool: BinaryIO, files: int) -> None:
    """Embed the parts that are kept in a file."""
    worker, parts = worker_of(settings), _unpickled(spool)
    run = worker.run(parts)
    if settings.ray_address is not None:
        make, cores = partial(worker_of, settings), max(1, settings.workers)
        run = run_on_ray(make, parts, settings.ray_address, cores, gpu="cuda" in settings.device)
    shown, begin = 0, time.monotonic()
    with tqdm(total=files, desc="embedding", unit="file") as bar, closing(run) as steps:
        for clips, failures in steps:
            for failure in failures[: max(0, SHOWN - shown)]:
                bar.write(f"{printable(failure.path)}: {failure.reason}", file=sys.stderr)
            shown += len(failures)
            bar.total = max(bar.total, bar.n + clips)  # a shard holds more than one
            bar.update(clips)
        seconds = time.monotonic() - begin
        bar.write(f"{bar.n} files in {seconds:.1f} s on {settings.device}", file=sys.stderr)


def _unpickled(spool: BinaryIO) -> Iterator[tuple[Path, Part]]:
    """Yield kept parts, each read when its turn comes."""
    spool.seek(0)
    with contextlib.suppress(EOFError):
        while True:
            path, part = pickle.load(spool)  # written by this process
            if not is_remote(path):
                for left in path.parent.glob(f"{path.name}.*{PART}"):  # by a run that was killed
                    left.unlink(missing_ok=True)
            yield path, part


def finish(settings: Settings, names: Sequence[str]) -> int:
    """Gather errors once all parts are there, remove outdated ones, and return the exit status."""
    out = settings.out
    with lock(out / "in-use-end.lock", str(out), "wait", timeout=3600):
        if merged_list(out) == list(names):
            _remove_others(out, ())
            rows, failed = (pq.read_metadata(out / name).num_rows for name in (INDEX, ERRORS))
            return _report(out, rows, failed, done=True)
        index, count = settings.share
        whole = names_in(out).issuperset(names)
        paths = [out / name for name in (names if whole else names[index::count])]
        rows, failures = 0, []
        for outcome in ahead(outcome_of, paths, threads_for(out)):
            if outcome is not None:
                rows += outcome[0]
                failures += outcome[1]
        if whole:
            write_errors(out / ERRORS, failures)
            _remove_others(out, names)
            if settings.options.format == "npy":
                merge(out, paths)
        return _report(out, rows, len(failures), done=whole)


def _remove_others(out: Path, names: Sequence[str]) -> None:
    """Remove parts that are not among these, and what killed runs left of any."""
    for name in names_in(out) - set(names):
        if fnmatchcase(name, "part-*.parquet*") or name.endswith(PART):
            (out / name).unlink(missing_ok=True)


def _report(out: Path, rows: int, failed: int, *, done: bool) -> int:
    """Say how it ended and return the exit status."""
    state = "done" if done else "this share is done, others are not yet"
    held = f"{rows} row" if rows == 1 else f"{rows} rows"
    lacking = "1 file is" if failed == 1 else f"{failed} files are"
    errors = f"; {lacking} not embedded, see {out / ERRORS}" if failed else ""
    sys.stdout.write(f"{printable(readable(str(out)))}: {state}, {held}{errors}\n")
    return 1 if failed else 0
