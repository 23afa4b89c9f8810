"""Rows of a part on disk until all are there: they come in any order and leave sorted."""

import os
import tempfile
from array import array
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

BLOCK_BYTES = 1 << 24


class RowStore:
    """Embeddings with the clip and the span that each belongs to, in a file without a name."""

    def __init__(self, folder: Path, size: int) -> None:
        self.size = size
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115
        self._clips, self._starts, self._ends = array("q"), array("d"), array("d")
        self._about: dict[int, tuple[float, int]] = {}

    def describe(self, clip: int, duration: float, sample_rate: int) -> None:
        """Note a clip's own length in seconds and rate in Hz."""
        self._about[clip] = duration, sample_rate

    def append(
        self, clip: int, starts: Sequence[float], ends: Sequence[float], values: np.ndarray
    ) -> None:
        """Keep rows of a clip, from starts to ends in seconds.

        Shape:
            starts, ends [n], values [n, size].
        """
        self._file.write(np.ascontiguousarray(values, np.float32).data)
        self._clips.extend([clip] * len(values))
        self._starts.extend(starts)
        self._ends.extend(ends)

    def blocks(
        self, names: Sequence[str], without: Collection[int]
    ) -> Iterator[tuple[dict[str, Any], np.ndarray]]:
        """Yield columns of the index and embeddings, by clip and start, but for some clips.

        Shape:
            columns [n], embeddings float32 [n, size].
        """
        self._file.flush()
        clips, starts, ends = map(np.array, (self._clips, self._starts, self._ends))
        order = np.lexsort((starts, clips))
        order = order[~np.isin(clips[order], list(without))]
        step = max(1, BLOCK_BYTES // (4 * self.size))
        for first in range(0, len(order), step):
            rows = order[first : first + step]
            about = [self._about[clip] for clip in clips[rows].tolist()]
            index = {
                "path": [names[clip] for clip in clips[rows].tolist()],
                "start": starts[rows],
                "end": ends[rows],
                "duration": [duration for duration, _ in about],
                "sample_rate": [rate for _, rate in about],
            }
            yield index, self._values(rows)

    def _values(self, rows: np.ndarray) -> np.ndarray:
        """Read rows, those that lie side by side at once."""
        values = np.empty((len(rows), self.size), np.float32)
        breaks = np.flatnonzero(np.diff(rows) != 1) + 1
        for first, last in zip([0, *breaks], [*breaks, len(rows)], strict=True):
            run = values[first:last]
            data = os.pread(self._file.fileno(), run.nbytes, 4 * self.size * int(rows[first]))
            run.reshape(-1)[:] = np.frombuffer(data, np.float32)
        return values

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()
