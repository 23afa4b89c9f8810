"""The job of `wavebyol embed`: a list of parts, those that are done already, and the rest.

A part's file name holds a hash of its slice of the list (names, sizes, times of change), so done
means that it exists. Where files were added, changed or removed since, the slices that differ are
embedded again, and what no slice needs any more is removed at the end.
"""

import errno
import json
import pickle
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm import tqdm

from wavebyol_hear.files.atomic import PART, atomic_write, file_hash, lock, write_text
from wavebyol_hear.files.embed_parts import (
    Failure,
    Options,
    PartDone,
    Worker,
    failures_of,
    readable,
)
from wavebyol_hear.files.embed_ray import Cluster, run_on_ray
from wavebyol_hear.files.hear_module import HearModel, load
from wavebyol_hear.files.model_spec import parse_spec
from wavebyol_hear.files.parquet import (
    ERRORS,
    embedding_schema,
    merge,
    merged_list,
)
from wavebyol_hear.files.sources import Listing, Part, SourceError
from wavebyol_hear.files.weights_hash import tensors_hash

MANIFEST = "manifest.json"
SHOWN = 20
"""Errors that are named on the terminal; all are in errors.parquet."""
NOISE_NUMBERS = 32
TOLERANCE, TOLERANCE_16 = 1e-3, 3e-2
"""Of the largest value: the same noise embedded again in 32 and in 16 bit."""


class OutputError(ValueError):
    """An output folder that cannot be used: one line with the folder and the remedy."""


@dataclass(frozen=True)
class Settings:
    """All of the command line but how sources are listed; see `embed_command`."""

    sources: tuple[str, ...]
    out: Path
    model: str
    device: str
    precision: str
    window: float
    hop: float
    timestamps: bool
    format: str
    dtype: str
    batch_seconds: float
    workers: int
    part_size: int
    share: tuple[int, int]
    cluster: Cluster | None = None


def embed(settings: Settings, listing: Listing) -> int:
    """Embed what is not done yet and return the exit status: 1 where a file could not be.

    Raises:
        OutputError: the folder holds something else, or the disk is full.
        SourceError: a source cannot be listed, or holds no audio file.
        HearError: the model cannot be loaded.
        LockedError: the same command is running.
    """
    out, (index, count) = settings.out, settings.share
    check_folder(settings)
    out.mkdir(parents=True, exist_ok=True)
    with (
        lock(out / f"in-use-{index}-of-{count}.lock", str(out), "choose another --out"),
        tempfile.TemporaryFile(dir=out) as spool,
    ):
        names, todo = list_parts(settings, listing, spool)
        if not names:
            raise SourceError(
                f"{', '.join(settings.sources)[:200]}: holds no audio file "
                f"({listing.skipped} other files); see wavebyol embed --help for what is read"
            )
        if listing.skipped:
            sys.stderr.write(f"{listing.skipped} files that are no audio by name are left out\n")
        if todo:
            try:
                _compute(settings, spool, todo)
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
                raise OutputError(f"{out}: the disk is full; make room and run it again") from error
        return finish(settings, names)


def list_parts(
    settings: Settings, listing: Listing, spool: BinaryIO
) -> tuple[list[str], list[tuple[int, int]]]:
    """List the sources; keep this process's parts that are not done in a file, one by one.

    Returns:
        The names of all parts, and place and number of files of each kept part.
    """
    index, count = settings.share
    names: list[str] = []
    todo: list[tuple[int, int]] = []
    with closing(listing.parts(settings.sources)) as parts:
        for part in tqdm(parts, desc="listing", unit="part", delay=2, leave=False):
            names.append(f"part-{len(names):06d}-{part.digest}.parquet")
            path = settings.out / names[-1]
            if (len(names) - 1) % count == index and not is_done(path):
                todo.append((spool.tell(), len(part.items)))
                pickle.dump((path, part), spool)
    spool.flush()
    if merged_list(settings.out) == names:  # to one array, and the parts are gone
        return names, []
    return names, todo


def is_done(path: Path) -> bool:
    """Return whether a part is there and no file of it failed for a reason that may pass."""
    failures = failures_of(path) if path.exists() else None
    return failures is not None and not any(failure.passing for failure in failures)


def worker_of(settings: Settings) -> Worker:
    """Load the model, check that the folder is its own, and return who embeds parts with it."""
    model = load(settings.model, settings.device, precision=settings.precision)
    metadata = agree(settings, model)
    options = Options(
        settings.window,
        settings.hop,
        settings.timestamps,
        settings.dtype,
        settings.batch_seconds,
        settings.workers,
    )
    size = model.timestamp_size if settings.timestamps else model.size
    return Worker(model, options, embedding_schema(size, settings.dtype, metadata), settings.out)


def _compute(settings: Settings, spool: BinaryIO, todo: Sequence[tuple[int, int]]) -> None:
    """Embed the parts that are kept in a file."""
    worker, parts = worker_of(settings), _unpickled(spool, todo)
    run = worker.run(parts)
    if settings.cluster is not None:
        run = run_on_ray(partial(worker_of, settings), parts, settings.cluster)
    total, shown = sum(files for _, files in todo), 0
    begin = time.monotonic()
    with (
        tqdm(total=total, desc="embedding", unit="file") as bar,
        closing(run) as progress,
    ):
        for step in progress:
            if isinstance(step, PartDone):
                for failure in step.failures[: max(0, SHOWN - shown)]:
                    bar.write(f"{printable(failure.path)}: {failure.reason}", file=sys.stderr)
                shown += len(step.failures)
                continue
            bar.total = max(bar.total, bar.n + step)  # a shard holds more than one
            bar.update(step)
        seconds = time.monotonic() - begin
        bar.write(f"{bar.n} files in {seconds:.1f} s on {settings.device}", file=sys.stderr)


def _unpickled(spool: BinaryIO, todo: Sequence[tuple[int, int]]) -> Iterator[tuple[Path, Part]]:
    """Yield kept parts, each read when its turn comes."""
    for place, _ in todo:
        spool.seek(place)
        path, part = pickle.load(spool)  # written by this process
        for left in path.parent.glob(f"{path.name}.*{PART}"):  # by a run that was killed
            left.unlink(missing_ok=True)
        yield path, part


def check_folder(settings: Settings) -> None:
    """Raise an OutputError where a folder holds something else, before the model is loaded."""
    out = settings.out
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: is no folder; choose another --out")
    made = read_manifest(out)
    if made is None:
        if out.is_dir() and any(not p.name.startswith(("in-use-", ".")) for p in out.iterdir()):
            raise OutputError(f"{out}: holds other files; choose an empty or new --out")
        return
    for name, value in _options(settings).items():
        if made["options"].get(name) != value:
            raise OutputError(
                f"{out}: was made with {name} {made['options'].get(name)!r}, not {value!r}; "
                "choose another --out"
            )
    if made["model"] != settings.model:
        raise OutputError(
            f"{out}: was made with the model {made['model']!r}, not {settings.model!r}; "
            "choose another --out"
        )
    if made["weights_file"] != _weights_file(settings.model):
        raise OutputError(
            f"{out}: the weights file of {settings.model} was another one when this was made; "
            "choose another --out"
        )
    if not set(made["sources"]) <= set(map(readable, settings.sources)):
        raise OutputError(
            f"{out}: was made from {', '.join(made['sources'])[:200]}; name these too, or choose "
            "another --out"
        )


def agree(settings: Settings, model: HearModel) -> dict[str, Any]:
    """Return the metadata of the output, of the manifest where there is one already.

    Raises:
        OutputError: the model that is loaded is another one than the manifest's.
    """
    noise = model.noise_embedding[:NOISE_NUMBERS]
    now = {
        "model": settings.model,
        "weights_hash": tensors_hash(model.model),
        "weights_file": _weights_file(settings.model),
        "precision": model.precision,
        "sample_rate": model.sample_rate,
        "options": _options(settings),
    }
    path = settings.out / MANIFEST
    made = read_manifest(settings.out)
    if made is not None:
        for name in ("weights_hash", "precision"):
            if made[name] != now[name]:
                raise OutputError(
                    f"{settings.out}: was made with another {name.replace('_', ' ')} "
                    f"({made[name]}, not {now[name]}); choose another --out"
                )
        kept = np.array(made["noise"])
        scale = max(float(np.abs(kept).max(initial=0)), 1e-12)
        bound = TOLERANCE_16 if "16" in model.precision else TOLERANCE
        if kept.shape != noise.shape or (np.abs(kept - noise) > bound * scale).any():
            raise OutputError(
                f"{settings.out}: the model embeds noise differently than it did; something that "
                "it reads has changed: choose another --out"
            )
    sources = list(map(readable, settings.sources))
    if made is None or made["sources"] != sources:
        rest = {"sources": sources, "noise": [round(float(v), 6) for v in noise]}
        write_text(path, json.dumps(now | rest, indent=1) + "\n")
    return now


def _weights_file(spec: str) -> str:
    """Return the hash of the weights file that a model's specification names, "" for none."""
    path = parse_spec(spec).weights
    return file_hash(path) if Path(path).is_file() else ""


def _options(settings: Settings) -> dict[str, Any]:
    """Return the options that two runs with one folder must share."""
    return {
        "window": settings.window,
        "hop": settings.hop,
        "timestamps": settings.timestamps,
        "dtype": settings.dtype,
        "format": settings.format,
        "part_size": settings.part_size,
    }


def read_manifest(out: Path) -> dict[str, Any] | None:
    """Return what a folder says of its making; None where there is nothing.

    Raises:
        OutputError: the manifest is damaged.
    """
    path = out / MANIFEST
    try:
        made = json.loads(path.read_text(encoding="utf-8"))
        names = (
            "model",
            "weights_hash",
            "weights_file",
            "precision",
            "options",
            "sources",
            "noise",
        )
        return {name: made[name] for name in names}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise OutputError(f"{path}: is damaged; choose another --out") from error


def finish(settings: Settings, names: Sequence[str]) -> int:
    """Gather errors once all parts are there, remove outdated ones, and return the exit status."""
    out = settings.out
    with lock(out / "in-use-end.lock", str(out), "wait", timeout=3600):
        if merged_list(out) == list(names):
            _remove_others(out, ())
            return _report(out, pq.read_metadata(out / ERRORS).num_rows, done=True)
        index, count = settings.share
        mine = [name for number, name in enumerate(names) if number % count == index]
        missing = [name for name in names if not (out / name).exists()]
        if missing:
            failed = sum(len(failures_of(out / name) or ()) for name in mine)
            return _report(out, failed, done=False)
        failures = [f for name in names for f in failures_of(out / name) or ()]
        write_errors(out / ERRORS, failures)
        _remove_others(out, names)
        if settings.format == "npy":
            merge(out, [out / name for name in names])
        return _report(out, len(failures), done=True)


def _remove_others(out: Path, names: Sequence[str]) -> None:
    """Remove parts that are not among these, and what killed runs left of any."""
    wanted = set(names)
    for path in [*out.glob("part-*.parquet*"), *out.glob(f"*{PART}")]:
        if path.name not in wanted:
            path.unlink(missing_ok=True)


def write_errors(path: Path, failures: Sequence[Failure]) -> None:
    """Write the table of files without an embedding: path, reason, and whether to try again."""
    table = pa.table(
        {
            "path": pa.array([f.path for f in failures], pa.string()),
            "reason": pa.array([f.reason for f in failures], pa.string()),
            "try_again": pa.array([f.passing for f in failures], pa.bool_()),
        }
    )
    with atomic_write(path) as file:
        pq.write_table(table, file)


def _report(out: Path, failed: int, *, done: bool) -> int:
    """Say how it ended and return the exit status."""
    state = "done" if done else "this share is done, others are not yet"
    errors = f"; {failed} files are not embedded, see {out / ERRORS}" if failed else ""
    sys.stdout.write(f"{printable(readable(str(out)))}: {state}{errors}\n")
    return 1 if failed else 0


def printable(text: str) -> str:
    r"""Return a text on one line: what moves the cursor is written as an escape.

    Example:
        >>> printable("a\nb")
        'a\\nb'
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
