"""Files without an embedding: their names, the reasons, and where both are kept."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from wavebyol_hear.files.atomic import atomic_write
from wavebyol_hear.files.command import readable
from wavebyol_hear.files.foreign_codecs import NAME
from wavebyol_hear.files.read_ahead import Unavailable
from wavebyol_hear.files.stores import opened

ERRORS = b"errors"  #: key of a part's metadata: JSON, a list of [path, reason, whether it may pass]


TABLE = pa.schema({"path": pa.string(), "reason": pa.string(), "try_again": pa.bool_()})


class Failure(NamedTuple):
    """A file without an embedding: path, reason, and whether the next run should try again."""

    path: str
    reason: str
    try_again: bool


def failure_of(name: str, why: str) -> Failure:
    """Return a failure by an error's message, on one line and without the file's name before it."""
    reason = why.removeprefix(f"{name}: ").removeprefix(f"{NAME}: ")
    reason = " ".join(readable(reason).split())
    return Failure(readable(name), reason, isinstance(why, Unavailable))


def noted(failures: Sequence[Failure]) -> dict[str, str]:
    """Return the metadata of a part that lacks some files, for `outcome_of`."""
    return {ERRORS.decode(): json.dumps(failures)}


def outcome_of(path: Path) -> tuple[int, list[Failure]] | None:
    """Return a finished part's number of rows and the files without one; None for no such part."""
    try:
        with opened(path) as file:
            part = pq.read_metadata(file)
            noted = (part.metadata or {})[ERRORS]
    except (OSError, pa.ArrowException, KeyError):
        return None
    return part.num_rows, [Failure(*failure) for failure in json.loads(noted)]


def write_errors(path: Path, failures: Sequence[Failure]) -> None:
    """Write the table of files without an embedding."""
    with atomic_write(path) as file:
        pq.write_table(pa.Table.from_pylist([f._asdict() for f in failures], TABLE), file)
