"""Embeddings on disk: one memory-mapped array, with a checked mark for every row that is done."""

import dataclasses
import hashlib
import json
import logging
import mmap
import os
import shutil
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

logger = logging.getLogger(__name__)

FORMAT = 1
BLOCK_BYTES = 1 << 24
DONE = 1 << 32  # above the 32 bits of the row's checksum, so that no finished row is marked 0


class CacheError(ValueError):
    """A cache folder that cannot be used; one line with the folder and the remedy."""


def cache_folder(cache_dir: Path, model: str, task: str, **parts: object) -> Path:
    """Return the folder of one array, whose name holds a hash of everything it depends on.

    Args:
        cache_dir: of all arrays.
        model: spec of the HEAR module.
        task: name of the task's data folder.
        parts: hashes of the weights and the sound, rate, options; anything JSON holds.
    """
    key = {"format": FORMAT, "model": model, "task": task, **parts}
    text = json.dumps(key, sort_keys=True)
    digest = hashlib.blake2b(text.encode(), digest_size=10).hexdigest()
    readable = "".join(c if c.isalnum() or c in "._-" else "_" for c in model)[-60:]
    return cache_dir / task / f"{readable}-{digest}"


def write_beside(path: Path, parts: Iterable[str]) -> None:
    """Write the parts of a text to a file, whole or not at all."""
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    with beside.open("w") as file:
        file.writelines(parts)
    beside.replace(path)


@dataclass
class Progress:
    """What is kept beside the rows.

    Attributes:
        seconds: time spent embedding, all runs together.
        clips: rows embedded in that time.
        errors: message by row, of rows that cannot be embedded.
        sound: seconds of sound in those rows; None where an earlier version did not count it.
        cost: what embedding took, see `benchmark.embed.cost`: numbers, or reasons why not.
    """

    seconds: float = 0.0
    clips: int = 0
    errors: dict[int, str] = field(default_factory=dict)
    sound: float | None = 0.0
    cost: dict[str, Any] = field(default_factory=dict)


class EmbeddingArray:
    """A float32 array on disk that is filled row by row, in any order, by interruptible runs.

    A row is done when its mark holds the checksum of what is on disk: a half-done array goes on
    where it was, and a row damaged on disk counts as not done and is embedded again.

    Args:
        folder: of this array alone; made if absent.
        count: number of rows, >= 1.
        size: values of a row, >= 1.

    Raises:
        CacheError: where the folder cannot be written or the disk is too small.

    Shape:
        embeddings `[count, size]`.
    """

    def __init__(self, folder: Path, count: int, size: int) -> None:
        """Open the array, or make it where it is absent or of another shape."""
        self.folder = folder
        self.shape = (count, size)
        self._written = 0  # bytes of rows since they last left the memory
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self.embeddings = self._open("embeddings.npy", self.shape, np.float32)
            self.marks = self._open("marks.npy", (count,), np.uint64)
        except OSError as error:
            raise CacheError(
                f"{folder}: the cache cannot be written ({error}); choose another --cache-dir"
            ) from error
        self.progress = self._read_progress()
        self._drop_damaged()

    def _open(self, name: str, shape: tuple[int, ...], kind: type) -> np.memmap:
        path = self.folder / name
        if path.exists():
            try:
                array = np.lib.format.open_memmap(path, mode="r+")
            except ValueError:
                array = None
            if array is not None and array.shape == shape and array.dtype == kind:
                return array
            logger.warning("%s is damaged and is made anew", path)
        needed = int(np.prod(shape)) * np.dtype(kind).itemsize
        free = shutil.disk_usage(self.folder).free
        if free < needed:
            raise CacheError(
                f"{path}: needs {needed / 1e9:.1f} GB where {free / 1e9:.1f} GB are free; make "
                "room or choose another --cache-dir"
            )
        beside = path.with_name(f"{name}.{os.getpid()}")
        # A new file reads as zeros, which no mark of a finished row is.
        np.lib.format.open_memmap(beside, mode="w+", dtype=kind, shape=shape).flush()
        beside.replace(path)
        return np.lib.format.open_memmap(path, mode="r+")

    def _read_progress(self) -> Progress:
        path = self.folder / "progress.json"
        try:
            kept = json.loads(path.read_text())
            errors = {int(row): str(message) for row, message in kept["errors"].items()}
            sound = kept.get("sound")
            return Progress(
                seconds=float(kept["seconds"]),
                clips=int(kept["clips"]),
                errors=errors,
                sound=None if sound is None else float(sound),
                cost=dict(kept.get("cost", {})),
            )
        except FileNotFoundError:
            return Progress()
        except (ValueError, KeyError, TypeError, AttributeError):
            logger.warning("%s is damaged and is made anew", path)
            return Progress()

    def _drop_damaged(self) -> None:
        marks = np.array(self.marks)
        step = max(1, BLOCK_BYTES // (4 * self.shape[1]))
        damaged = 0
        for start in range(0, len(marks), step):
            if not marks[start : start + step].any():
                continue
            block = np.array(self.embeddings[start : start + step])
            for row, mark in enumerate(marks[start : start + step].tolist(), start):
                if mark and mark != DONE | zlib.crc32(block[row - start]):
                    self.marks[row] = 0
                    damaged += 1
            self._let_go()
        if damaged:
            logger.warning("%s: %d damaged rows are embedded again", self.folder, damaged)

    def todo(self) -> np.ndarray:
        """Return the rows that are neither done nor known to be impossible, ascending, int64."""
        impossible = np.array(list(self.progress.errors), dtype=np.int64)
        return np.setdiff1d(np.flatnonzero(self.marks == 0), impossible)

    def write(self, row: int, values: np.ndarray) -> None:
        """Store one row and mark it done.

        Shape:
            values float32 `[size]`.
        """
        self.embeddings[row] = values
        self.marks[row] = DONE | zlib.crc32(np.asarray(values, dtype=np.float32).tobytes())
        self._written += self.embeddings[row].nbytes
        if self._written > BLOCK_BYTES:
            self._let_go()

    def _let_go(self) -> None:
        """Let rows leave the process's memory, which would grow with the task else.

        The kernel keeps what was written, and brings it to the disk.
        """
        mapped: object = self.embeddings.base
        if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)
        self._written = 0

    def save(self) -> None:
        """Bring rows, marks and progress to the disk; the rows before the marks."""
        self.embeddings.flush()
        self._let_go()
        self.marks.flush()
        write_beside(
            self.folder / "progress.json",
            [json.dumps(dataclasses.asdict(self.progress))],
        )

    def finished(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the rows that are done, read-only and still on disk, and their numbers.

        Where some rows are errors the others are copied to a second file, block by block, as a
        selection of a memory map would be held in memory whole.

        Shape:
            embeddings float32 `[n, size]`, rows int64 `[n]` with n <= count.
        """
        rows = np.flatnonzero(self.marks != 0)
        path = self.folder / "embeddings.npy"
        if 0 < len(rows) < len(self.marks):
            path = self.folder / "embeddings-done.npy"
            shape = (len(rows), self.shape[1])
            beside = path.with_name(f"{path.name}.{os.getpid()}")
            copy = np.lib.format.open_memmap(beside, mode="w+", dtype=np.float32, shape=shape)
            step = max(1, BLOCK_BYTES // (4 * self.shape[1]))
            for start in range(0, len(rows), step):
                copy[start : start + step] = self.embeddings[rows[start : start + step]]
            copy.flush()
            beside.replace(path)
        whole = np.lib.format.open_memmap(path, mode="r")
        return whole[: len(rows)], rows
