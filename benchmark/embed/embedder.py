"""The encoder over batches of sound: every row written once, or its error kept."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager

import numpy as np
from tqdm import tqdm

from benchmark.embed.cache import EmbeddingArray
from benchmark.embed.cost import note_peak
from benchmark.embed.model import EncodeError, HearModel, one_line
from benchmark.embed.peak_memory import PeakMemory
from wavebyol_hear.files.read_ahead import Batch, Spoil, of_one_length, read_batches

SAVE_SECONDS = 60.0


class EmbedError(ValueError):
    """A task of which no clip could be embedded, or whose embedding broke off."""


class Embedder:
    """Runs the encoder over batches and writes what comes back, counting the calls.

    Args:
        model: the checked HEAR module.
        array: to fill.
    """

    def __init__(self, model: HearModel, array: EmbeddingArray) -> None:
        """Start with no call."""
        self.model = model
        self.array = array
        self.calls = 0

    def embed(self, batch: Batch) -> None:
        """Embed what was read of a batch and note what could not be read."""
        read = []
        for row, wave in batch:
            if isinstance(wave, str):
                self.array.progress.errors[row] = wave
            else:
                read.append((row, wave))
        for rows, waves in of_one_length(read):
            self.encode(rows, waves)

    def encode(self, rows: list[int], waves: np.ndarray) -> None:
        """Embed clips of one length; where the batch fails, each by itself.

        Shape:
            waves float32 `[B, n]` for B rows.
        """
        self.calls += 1
        progress = self.array.progress
        try:
            values = self.model.scenes(waves)
        except EncodeError as error:
            if len(rows) == 1:
                progress.errors[rows[0]] = str(error)
                return
            for i, row in enumerate(rows):
                self.encode([row], waves[i : i + 1])
            return
        for row, value in zip(rows, values, strict=True):
            if np.isfinite(value).all():
                self.array.write(row, value)
                progress.clips += 1
                if progress.sound is not None:
                    progress.sound += waves.shape[1] / self.model.sample_rate
            else:
                progress.errors[row] = (
                    f"{self.model.spec}: the embedding holds NaN or infinity; mend the module"
                )


@contextmanager
def reading_ahead(title: str) -> Iterator[None]:
    """Raise EmbedError where reading ahead breaks off inside.

    Args:
        title: of what is embedded.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # no room for a wave, no room for a thread
        raise EmbedError(
            f"{title}: reading ahead failed ({one_line(error)}); what is done is kept, run it "
            "again with more memory or with --workers 0"
        ) from error


def fill(
    embedder: Embedder,
    paths: Sequence[str],
    workers: int,
    batch_seconds: float,
    title: str,
    spoil: Spoil | None = None,
) -> None:
    """Embed all rows that are not done, with a progress bar; an interruption loses nothing.

    Args:
        embedder: with model and array.
        paths: of the files, by row.
        workers: threads that decode; 0 decodes in the caller's.
        batch_seconds: sound in one batch, in seconds.
        title: of the bar.
        spoil: done to every file; None reads files as they are.

    Raises:
        EmbedError: where there is no memory to read ahead.
    """
    array = embedder.array
    todo = array.todo()
    rate = embedder.model.sample_rate
    peak = PeakMemory(embedder.model.device)
    start = saved = time.monotonic()
    before = array.progress.seconds
    with tqdm(total=len(todo), desc=title, unit="clip", delay=1) as bar:
        try:
            with (
                reading_ahead(title),
                closing(read_batches(paths, todo, rate, workers, batch_seconds, spoil)) as batches,
            ):
                for batch in batches:
                    embedder.embed(batch)
                    bar.update(len(batch))
                    array.progress.seconds = before + time.monotonic() - start
                    if time.monotonic() - saved > SAVE_SECONDS:
                        array.save()
                        saved = time.monotonic()
        finally:
            note_peak(array.progress, peak)
            array.save()
