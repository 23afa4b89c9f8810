"""Cache of embeddings: a memory-mapped array, with a checksum for every finished row."""

import contextlib
import dataclasses
import errno
import hashlib
import json
import logging
import mmap
import os
import shutil
import tokenize
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data.clip import BenchmarkError
from wavebyol_hear.files.atomic import PART, LockedError, lock, write_text

logger = logging.getLogger(__name__)

FORMAT = 2
BLOCK_BYTES = 1 << 24
DONE = 1 << 32  # above the 32 bits of the row's checksum, so that no finished row is marked 0
DAMAGED = (ValueError, SyntaxError, EOFError, tokenize.TokenError)
"""What NumPy raises of a damaged header."""
LOCK = "in-use.lock"
WAIT_SECONDS = 24 * 3600.0
"""How long to wait for another process that fills the same array."""
REMEDY = "choose another --cache-dir"


class CacheError(BenchmarkError):
    """A cache folder that cannot be used; one line with the folder and the remedy."""

    @classmethod
    def unwritable(cls, folder: Path, error: OSError) -> "CacheError":
        """The error of a folder that cannot be written."""
        return cls(f"{folder}: the cache cannot be written ({error}); {REMEDY}")


def cache_folder(cache_dir: Path, model: str, task: str, **parts: object) -> Path:
    """Return the folder of one array, whose name contains a hash of everything it depends on.

    That is the specification of the model, the name of the data folder, and `parts`: hashes of
    weights and audio, sample rate, options; anything that JSON can represent.
    """
    key = {"format": FORMAT, "model": model, "task": task, **parts}
    text = json.dumps(key, sort_keys=True)
    digest = hashlib.blake2b(text.encode(), digest_size=10).hexdigest()
    readable = "".join(c if c.isalnum() or c in "._-" else "_" for c in model)[-60:]
    return cache_dir / task / f"{readable}-{digest}"


@contextlib.contextmanager
def sole_use(folder: Path) -> Iterator[None]:
    """Lock the folder of an array; wait while another process fills it.

    A folder that cannot be written, such as a cache on a read-only disk, is used without a lock.
    """
    with contextlib.ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(lock(folder / LOCK, str(folder), REMEDY, timeout=WAIT_SECONDS))
        except LockedError as error:
            raise CacheError(str(error)) from error
        except OSError as error:
            if not (folder / "embeddings.npy").is_file():
                raise CacheError.unwritable(folder, error) from error
        yield


@dataclass
class Progress:
    """Time, errors and cost, which are saved with the rows."""

    seconds: float = 0.0  #: time spent embedding, all runs together
    clips: int = 0  #: rows embedded in that time
    #: message by row, of rows whose file is not audio that can be embedded
    errors: dict[int, str] = field(default_factory=dict)
    #: of those rows; None where an earlier version did not count it
    audio_seconds: float | None = 0.0
    #: what embedding took, see `benchmark.embed.cost`: numbers, or reasons why not
    cost: dict[str, Any] = field(default_factory=dict)


class EmbeddingArray:
    """A float32 array on disk that is filled row by row, in any order, over several runs.

    A row is done when its mark equals the checksum of its values: an unfinished array is resumed,
    and damaged rows are embedded again. Only errors in the content of a file are saved; other
    failures (no memory, an input/output error, the encoder) are tried again by the next run.

    Args:
        folder: of this array alone, see `sole_use`.
        count: number of rows, >= 1.
        size: values of a row, >= 1.

    Attributes:
        failures: message by row, of rows that the next run will try again.

    Raises:
        CacheError: the folder cannot be written and the array is not complete, or the disk is full.

    Shape:
        embeddings `[count, size]`.
    """

    def __init__(self, folder: Path, count: int, size: int) -> None:
        self.folder = folder
        self.shape = (count, size)
        self.failures: dict[int, str] = {}
        self._written = 0  # bytes of rows since they last left the memory
        self._writable = True
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK):
                for left in folder.glob(f"*{PART}"):  # by a run that was killed
                    left.unlink(missing_ok=True)
            self.embeddings = self._open("embeddings.npy", self.shape, np.float32)
            self.marks = self._open("marks.npy", (count,), np.uint64)
        except OSError as error:
            raise CacheError.unwritable(folder, error) from error
        self.progress = self._read_progress()
        self._drop_damaged()
        if not self._writable and len(self.todo()):
            raise CacheError(f"{folder}: the cache cannot be written and lacks rows; {REMEDY}")

    def _open(self, name: str, shape: tuple[int, ...], kind: type) -> np.ndarray:
        path = self.folder / name
        if path.exists():
            mode = "r+"
            if not os.access(path, os.W_OK):
                mode, self._writable = "c", False  # changes stay in this process
            try:
                array = np.lib.format.open_memmap(path, mode=mode)
            except DAMAGED:
                array = None
            if array is not None and array.shape == shape and array.dtype == kind:
                return array
            logger.warning("%s is damaged and is rebuilt", path)
        array = self._new(name, shape, kind)
        Path(str(array.filename)).replace(path)
        return array

    def _new(self, name: str, shape: tuple[int, ...], kind: type) -> np.memmap:
        """Return a new array of zeros in a file named `.part`, with room on the disk reserved."""
        path = self.folder / f"{name}{PART}"
        needed = int(np.prod(shape)) * np.dtype(kind).itemsize
        free = shutil.disk_usage(self.folder).free
        try:
            if free < needed:
                raise OSError(errno.ENOSPC, "too small")
            path.unlink(missing_ok=True)
            # A new file reads as zeros, which no mark of a finished row is.
            array = np.lib.format.open_memmap(path, mode="w+", dtype=kind, shape=shape)
            _reserve(path)
        except OSError as error:
            path.unlink(missing_ok=True)
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise CacheError(
                f"{self.folder / name}: needs {needed / 1e9:.1f} GB where {free / 1e9:.1f} GB are "
                f"free; make room or {REMEDY}"
            ) from error
        return array

    def _read_progress(self) -> Progress:
        path = self.folder / "progress.json"
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            errors = {int(row): str(why) for row, why in kept["errors"].items()}
            errors = {row: why for row, why in errors.items() if 0 <= row < self.shape[0]}
            audio = kept.get("audio_seconds")
            audio = None if audio is None else float(audio)
            cost = dict(kept.get("cost", {}))
            return Progress(float(kept["seconds"]), int(kept["clips"]), errors, audio, cost)
        except FileNotFoundError:
            return Progress()
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            logger.warning("%s is damaged and is rebuilt", path)
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
            self._release()
        if damaged:
            logger.warning("%s: %d damaged rows are embedded again", self.folder, damaged)

    def todo(self) -> np.ndarray:
        """Return the rows that are neither done nor failed for good, ascending, int64."""
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
            self._release()

    def _release(self) -> None:
        """Release rows from the memory of the process, which would otherwise grow with the task.

        The kernel keeps written data and writes it to the disk.
        """
        mapped: object = self.embeddings.base
        if self._writable and isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)
        self._written = 0

    def save(self) -> None:
        """Write rows, marks and progress to the disk; the rows before the marks."""
        if not self._writable:
            return
        for array in (self.embeddings, self.marks):
            if isinstance(array, np.memmap):
                array.flush()
            self._release()
        text = json.dumps(dataclasses.asdict(self.progress))
        write_text(self.folder / "progress.json", text)

    def finished(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the finished rows, read-only and memory-mapped, and their indices.

        If some rows failed, the others are copied to a second file, because a selection of a memory
        map would be in memory as a whole. That file is already unlinked on return, so that nothing
        is left of it and no other process can change it.

        Shape:
            embeddings float32 `[n, size]`, rows int64 `[n]` with n <= count.
        """
        rows = np.flatnonzero(self.marks != 0)
        whole = self.embeddings
        if 0 < len(rows) < len(self.marks):
            if not self._writable:
                whole = np.array(whole[rows])
            else:
                copy = self._new("embeddings-done.npy", (len(rows), self.shape[1]), np.float32)
                step = max(1, BLOCK_BYTES // (4 * self.shape[1]))
                for start in range(0, len(rows), step):
                    copy[start : start + step] = self.embeddings[rows[start : start + step]]
                copy.flush()
                with contextlib.suppress(OSError):  # Windows keeps the names of open files
                    Path(str(copy.filename)).unlink()
                whole = copy
        done = whole[: len(rows)]
        done.flags.writeable = False
        return done, rows


def _reserve(path: Path) -> None:
    """Reserve room on the disk: writing to a map of a full disk ends the process."""
    if not hasattr(os, "posix_fallocate"):
        return
    with open(path, "r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:  # some file systems cannot do it
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise
