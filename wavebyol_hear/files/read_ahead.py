"""Sound files decoded ahead of the encoder by threads, in batches of one length.

libsndfile and soxr let go of the interpreter while they work, so threads decode side by side as
processes would, and neither start one nor carry a wave from one to another.
"""

from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from itertools import chain, islice

import numpy as np
import soundfile
import soxr
from tqdm import tqdm

from wavebyol_hear.audio import AudioError, read_audio
from wavebyol_hear.files.ahead import ahead

LARGEST_BATCH = 256

Batch = list[tuple[int, np.ndarray | str]]
"""Rows with their waves, float32 `[n]`, or with the message of their error."""

Spoil = Callable[[np.ndarray, int, int], np.ndarray]
"""(wave float32 `[n]`, its sample rate in Hz, row) -> float32 `[n]`."""


class Reader:
    """Decodes batches of files.

    Args:
        paths: of the files, by row.
        sample_rate: wanted, in Hz.
        spoil: done to every file at its own rate; None reads files as they are.
        least: samples to which a shorter wave is zero-padded, evenly on both sides.
    """

    def __init__(
        self,
        paths: Sequence[str],
        sample_rate: int,
        spoil: Spoil | None = None,
        least: int = 0,
    ) -> None:
        """Keep the list."""
        self.paths = paths
        self.least = least
        self.sample_rate = sample_rate
        self.spoil = spoil

    def read_all(self, rows: list[int]) -> Batch:
        """Return each row with its wave, or with the message of its error."""
        return [(row, self._padded(self.read(row))) for row in rows]

    def _padded(self, wave: np.ndarray | str) -> np.ndarray | str:
        """Return a wave of `least` samples or more, or the message of its error."""
        if isinstance(wave, str) or len(wave) >= self.least:
            return wave
        padded = np.zeros(self.least, dtype=np.float32)
        left = (self.least - len(wave)) // 2
        padded[left : left + len(wave)] = wave
        return padded

    def read(self, row: int) -> np.ndarray | str:
        """Return the wave of a row, or why there is none."""
        path, rate = self.paths[row], self.sample_rate
        try:
            if self.spoil is None:
                return read_audio(path, rate)
            # Before any resampling: models of all rates then hear the same.
            own = rate_of(path) or rate
            wave = self.spoil(read_audio(path, own), own, row)
            return wave if own == rate else soxr.resample(wave, own, rate, quality="HQ")
        except AudioError as error:
            return str(error)


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


def rate_of(path: str) -> int:
    """Return the sample rate in a file's header, in Hz; 0 where it has none."""
    try:
        with soundfile.SoundFile(path) as sound:
            return int(sound.samplerate)
    except (soundfile.SoundFileError, OSError):
        return 0  # reading it will say what is wrong


def length_after(path: str, sample_rate: int) -> int:
    """Return the length a file will have at a rate, from its header; 0 where it has none."""
    try:
        with soundfile.SoundFile(path) as sound:
            return round(sound.frames * sample_rate / sound.samplerate)
    except (soundfile.SoundFileError, OSError):
        return 0  # reading it will say what is wrong


def plan_batches(rows: np.ndarray, lengths: np.ndarray, most_samples: int) -> Iterator[list[int]]:
    """Yield rows of equal length, the longest first.

    A HEAR module is not told how long a clip is, so whatever is padded is embedded with its
    padding. Only clips of one length share a batch: there is no padding but what the module says it
    adds itself, and a clip's neighbours cannot change its embedding.

    Args:
        rows: to embed.
        lengths: of each, in samples.
        most_samples: of a batch, all clips together; a longer clip goes alone.

    Shape:
        rows and lengths int64 `[n]`.
    """
    order = np.argsort(-lengths, kind="stable")
    rows, lengths = rows[order], lengths[order]
    start = 0
    while start < len(rows):
        length = int(lengths[start])
        most = min(LARGEST_BATCH, max(1, most_samples // max(1, length)))
        # Lengths fall, so those that equal the first come first.
        stop = start + int((lengths[start : start + most] == length).sum())
        yield rows[start:stop].tolist()
        start = stop


def read_batches(
    paths: Sequence[str],
    rows: Sequence[int] | np.ndarray,
    sample_rate: int,
    workers: int,
    batch_seconds: float,
    spoil: Spoil | None = None,
    least: int = 0,
) -> Generator[Batch, None, None]:
    """Decode rows in batches of equal length, the longest first, ahead of whoever takes them.

    Args:
        paths: of the files, by row.
        rows: wanted.
        sample_rate: in Hz.
        workers: threads that decode; 0 decodes in the caller's.
        batch_seconds: most sound in a batch, in seconds; a longer clip goes alone.
        spoil: done to every file at its own rate; None reads files as they are.
        least: samples to which the model itself pads a shorter clip, evenly on both sides: it is
            done here, so that short clips of all lengths share batches.
    """
    look = tqdm(rows, desc="reading lengths", unit="clip", leave=False, delay=1)
    told = (max(least, length_after(paths[row], sample_rate)) for row in look)
    lengths = np.fromiter(told, np.int64)
    plan = plan_batches(np.asarray(rows), lengths, int(batch_seconds * sample_rate))
    # All threads share each batch: the first comes soon, and none is alone with the last.
    parts = max(1, workers)
    pieces = (
        batch[len(batch) * part // parts : len(batch) * (part + 1) // parts]
        for batch in plan
        for part in range(parts)
    )
    reader = Reader(paths, sample_rate, spoil, least)
    with closing(ahead(reader.read_all, pieces, workers)) as read:
        while batch := list(chain.from_iterable(islice(read, parts))):
            yield batch
