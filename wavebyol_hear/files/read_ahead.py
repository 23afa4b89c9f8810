"""Audio files decoded ahead of the encoder by threads, in batches of one length.

libsndfile and soxr let go of the interpreter while they work, so threads decode side by side as
processes would, and neither start one nor carry a wave from one to another.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice
from typing import TypeVar

import numpy as np
import soxr

from wavebyol_hear.audio import AudioError, AudioUnavailableError, audio_header, read_audio
from wavebyol_hear.files.interrupt import interrupted

LARGEST_BATCH = 256
JOBS_AHEAD = 2  #: jobs of each thread that are done or under way before their results are asked for

Job = TypeVar("Job")
Result = TypeVar("Result")

Batch = list[tuple[int, np.ndarray | str]]
"""Rows with their waves, float32 `[n]`, or with the message of their error."""


class Unavailable(str):
    """The message of a file that cannot be read for a reason that may pass: try again later."""

    __slots__ = ()


def why_unread(error: AudioError) -> str:
    """Return the message of an error, as `Unavailable` where its reason may pass."""
    return Unavailable(error) if isinstance(error, AudioUnavailableError) else str(error)


Transform = Callable[[np.ndarray, int, int], np.ndarray]
"""(wave float32 `[n]`, its sample rate in Hz, row) -> float32 `[n]`."""


def ahead(
    work: Callable[[Job], Result], jobs: Iterable[Job], workers: int
) -> Generator[Result, None, None]:
    """Do jobs in threads, a few ahead of whoever takes the results, which come in order.

    Closing the generator drops the jobs that have not begun and waits for those that have, but not
    on an interrupt.

    Args:
        work: done to each job; what it raises is raised where its result would be.
        jobs: to do.
        workers: threads, >= 0; 0 does each job when its result is asked for.
    """
    if workers == 0:
        yield from map(work, jobs)
        return
    pool, begun = ThreadPoolExecutor(workers), deque[Future[Result]]()
    try:
        for job in jobs:
            begun.append(pool.submit(work, job))
            if len(begun) > JOBS_AHEAD * workers:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()
    finally:
        pool.shutdown(wait=not interrupted(), cancel_futures=True)


@dataclass(frozen=True)
class Reader:
    """Decodes files."""

    paths: Sequence[str]  #: of the files, by row
    sample_rate: int  #: wanted, in Hz
    transform: Transform | None = None  #: applied to every file at its own rate
    min_samples: int = 0  #: see `padded`

    def read_all(self, rows: list[int]) -> Batch:
        """Return each row with its wave, padded, or with the message of its error."""
        waves = ((row, self.read(row)) for row in rows)
        return [
            (row, wave if isinstance(wave, str) else padded(wave, self.min_samples))
            for row, wave in waves
        ]

    def read(self, row: int) -> np.ndarray | str:
        """Return the wave of a row, or why there is none."""
        path, rate = self.paths[row], self.sample_rate
        try:
            if self.transform is None:
                return read_audio(path, rate)
            # Before any resampling, so that models of all rates get the same.
            own = audio_header(path)[0] or rate
            wave = self.transform(read_audio(path, own), own, row)
            return wave if own == rate else soxr.resample(wave, own, rate, quality="HQ")
        except AudioError as error:
            return why_unread(error)

    def plan(self, rows: Sequence[int] | np.ndarray, batch_seconds: float) -> Iterator[list[int]]:
        """Yield rows in batches, by headers; of some batches in a row, it makes the same again."""
        lengths = np.fromiter(map(self._length, with_progress(rows, "reading lengths")), np.int64)
        return plan_batches(np.asarray(rows), lengths, int(batch_seconds * self.sample_rate))

    def _length(self, row: int) -> int:
        rate, count = audio_header(self.paths[row])
        return max(self.min_samples, round(count * self.sample_rate / rate) if rate else 0)

    def batches(
        self, rows: Sequence[int] | np.ndarray, workers: int, batch_seconds: float
    ) -> Generator[Batch, None, None]:
        """Decode rows in batches of equal length, the longest first, ahead of whoever takes them.

        Args:
            rows: wanted.
            workers: threads that decode; 0 decodes in the caller's.
            batch_seconds: maximum of audio in a batch, in seconds; a longer clip goes alone.
        """
        # All threads share each batch: the first comes soon, and none is alone with the last.
        parts = max(1, workers)
        pieces = (
            batch[len(batch) * part // parts : len(batch) * (part + 1) // parts]
            for batch in self.plan(rows, batch_seconds)
            for part in range(parts)
        )
        with closing(ahead(self.read_all, pieces, workers)) as read:
            while batch := list(chain.from_iterable(islice(read, parts))):
                yield batch


def padded(wave: np.ndarray, min_samples: int) -> np.ndarray:
    """Return a wave, zero-padded evenly on both sides where it is shorter, as a model itself would.

    Short clips of all lengths share batches then.
    """
    missing = max(0, min_samples - len(wave))
    return np.pad(wave, (missing // 2, missing - missing // 2)) if missing else wave


def of_one_length(
    waves: Iterable[tuple[int, np.ndarray]],
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Yield rows and their waves, float32 `[B, n]`, of each length that occurs.

    Batches are planned by headers, and a header may promise another length than the file has.
    """
    by_length: dict[int, list[tuple[int, np.ndarray]]] = defaultdict(list)
    for row, wave in waves:
        by_length[len(wave)].append((row, wave))
    for same in by_length.values():
        yield [row for row, _ in same], np.stack([wave for _, wave in same])


def plan_batches(rows: np.ndarray, lengths: np.ndarray, max_samples: int) -> Iterator[list[int]]:
    """Yield rows of equal length, the longest first.

    A HEAR module does not know how long a clip is, so whatever is padded is embedded with its
    padding. Only clips of one length share a batch: there is no padding but what the module says it
    adds itself, and what a clip is batched with cannot change its embedding.

    Args:
        rows: to embed.
        lengths: of each, in samples.
        max_samples: of a batch, all clips together; a longer clip goes alone.

    Shape:
        rows and lengths int64 `[n]`.
    """
    order = np.argsort(-lengths, kind="stable")
    rows, lengths = rows[order], lengths[order]
    start = 0
    while start < len(rows):
        length = int(lengths[start])
        count = min(LARGEST_BATCH, max(1, max_samples // max(1, length)))
        # Lengths fall, so those that equal the first come first.
        stop = start + int((lengths[start : start + count] == length).sum())
        yield rows[start:stop].tolist()
        start = stop


def with_progress(rows: Iterable[int], what: str, unit: str = "clip") -> Iterable[int]:
    """Return rows that show their progress where tqdm, which few extras bring, is installed."""
    try:
        from tqdm import tqdm
    except ImportError:
        return rows
    bar: Iterable[int] = tqdm(rows, desc=what, unit=unit, leave=False, delay=1)
    return bar
