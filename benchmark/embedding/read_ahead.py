"""Sound files decoded ahead of the encoder by worker processes, in batches of one length."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import soundfile
import soxr
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from wavebyol_hear.audio import AudioError, read_audio

LARGEST_BATCH = 256

Batch = list[tuple[int, np.ndarray | str]]
"""Rows with their waves, float32 `[n]`, or with the message of their error."""

Spoil = Callable[[np.ndarray, int, int], np.ndarray]
"""(wave float32 `[n]`, its sample rate in Hz, row) -> float32 `[n]`."""


class Reader(Dataset[Batch]):
    """Decodes batches of files, in a worker process.

    Args:
        paths: of the files, by row.
        sample_rate: wanted, in Hz.
        spoil: done to every file at its own rate; None reads files as they are.
    """

    def __init__(self, paths: Sequence[str], sample_rate: int, spoil: Spoil | None = None) -> None:
        """Keep the list."""
        self.paths = paths
        self.sample_rate = sample_rate
        self.spoil = spoil

    def __getitem__(self, rows: list[int]) -> Batch:
        """Return each row with its wave, or with the message of its error."""
        return [(row, self.read(row)) for row in rows]

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


def as_is(item: Batch) -> Batch:
    """Return a batch unchanged: tensors would travel through shared memory, which may be small."""
    return item


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
        return int(soundfile.info(path).samplerate)
    except (soundfile.SoundFileError, OSError):
        return 0  # reading it will say what is wrong


def length_after(path: str, sample_rate: int) -> int:
    """Return the length a file will have at a rate, from its header; 0 where it has none."""
    try:
        info = soundfile.info(path)
    except (soundfile.SoundFileError, OSError):
        return 0  # reading it will say what is wrong
    return round(info.frames * sample_rate / info.samplerate)


def plan_batches(lengths: dict[int, int], most_samples: int) -> list[list[int]]:
    """Group rows of equal length, the longest first.

    A HEAR module is not told how long a clip is, so whatever is padded is embedded with its
    padding. Only clips of one length share a batch: there is none, and a clip's neighbours
    cannot change its embedding.

    Args:
        lengths: in samples, by row.
        most_samples: of a batch, all clips together; a longer clip goes alone.
    """
    by_length = defaultdict(list)
    for row, length in lengths.items():
        by_length[length].append(row)
    batches = []
    for length in sorted(by_length, reverse=True):
        rows = by_length[length]
        most = min(LARGEST_BATCH, max(1, most_samples // max(1, length)))
        batches += [rows[start : start + most] for start in range(0, len(rows), most)]
    return batches


def read_batches(
    paths: Sequence[str],
    rows: Sequence[int],
    sample_rate: int,
    workers: int,
    batch_seconds: float,
    spoil: Spoil | None = None,
) -> Iterable[Batch]:
    """Decode rows in batches of equal length, the longest first, ahead of whoever takes them.

    Args:
        paths: of the files, by row.
        rows: wanted.
        sample_rate: in Hz.
        workers: processes that decode; 0 decodes in this one.
        batch_seconds: most sound in a batch, in seconds; a longer clip goes alone.
        spoil: done to every file at its own rate; None reads files as they are.
    """
    look = tqdm(rows, desc="reading lengths", unit="clip", leave=False, delay=1)
    lengths = {row: length_after(paths[row], sample_rate) for row in look}
    return DataLoader(
        Reader(paths, sample_rate, spoil),
        batch_size=None,
        sampler=plan_batches(lengths, int(batch_seconds * sample_rate)),
        collate_fn=as_is,
        num_workers=min(workers, len(rows)),
    )
