"""Files without an embedding: their names, the reasons, and where both are kept."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from wavebyol_hear.files.atomic import atomic_write
from wavebyol_hear.files.command import readable
from wavebyol_hear.files.read_ahead import Unavailable
from wavebyol_hear.files.stores import opened

ERRORS = b"errors"
"""Key of a part's metadata: JSON, a list of [path, reason, whether it may pass]."""


class Failure(NamedTuple):
    """A file without an embedding: path, reason, and whether the next run should try again."""

    path: str
    reason: str
    passing: bool


def failure_of(name: str, why: str) -> Failure:
    """Return a failure by an error's message, on one line and without the file's name before it."""
    reason = why.removeprefix(f"{name}: ").removeprefix("the audio: ")
    reason = " ".join(readable(reason).split())
    return Failure(readable(name), reason, isinstance(why, Unavailable))


def noted(failures: Sequence[Failure]) -> dict[str, str]:
    """Return the metadata of a part that lacks some files, for `outcome_of`."""
    return {ERRORS.decode(): json.dumps(failures)}


class Outcome(NamedTuple):
    """What a finished part holds: its number of rows, and the files without one."""

    rows: int
    failures: list[Failure]


def outcome_of(path: Path) -> Outcome | None:
    """Return what a finished part holds; None where there is no such part."""
    try:
        with opened(path) as file:
            part = pq.read_metadata(file)
            noted = (part.metadata or {})[ERRORS]
    except (OSError, pa.ArrowException, KeyError):
        return None
    return Outcome(part.num_rows, [Failure(*failure) for failure in json.loads(noted)])


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
