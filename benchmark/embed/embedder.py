"""Embedding of batches of audio: every row is written once, or the reason for its failure."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmark.data.clip import BenchmarkError
from benchmark.embed.cache import EmbeddingArray
from benchmark.embed.cost import note_run
from benchmark.embed.fingerprint import file_stamp
from wavebyol_hear.files.hear_module import EncodeError, HearModel
from wavebyol_hear.files.memory import PeakMemory
from wavebyol_hear.files.model_spec import one_line
from wavebyol_hear.files.read_ahead import (
    Batch,
    Reader,
    Transform,
    Unavailable,
    of_one_length,
)
from wavebyol_hear.files.threads import OtherLoad

SAVE_SECONDS = 60.0


class EmbedError(BenchmarkError):
    """No clip of a task could be embedded, or embedding was aborted."""


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """Embeddings of a task under one model: what they depend on, and their cost."""

    weights_hash: str  #: content hash of weights and code
    data_hash: str  #: content hash of audio, labels or events, splits and groups
    precision: str  #: of the computation as the model states it, else "as loaded"
    encoder_calls: int  #: in this run, 0 when all came from the cache
    seconds: float  #: time the embedding took
    clips_per_second: float  #: in that time, decoding included; 0 where nothing was embedded
    errors: tuple[tuple[str, str], ...] = ()  #: (clip id, message) of every clip that has no row


def facts(
    model: HearModel, data_hash: str, calls: int, clips: int, seconds: float
) -> dict[str, Any]:
    """Return the fields of `Embedded` for so many clips, embedded in so many calls and seconds."""
    return {
        "weights_hash": model.weights_hash,
        "data_hash": data_hash,
        "precision": model.precision,
        "encoder_calls": calls,
        "seconds": seconds,
        "clips_per_second": clips / seconds if clips else 0.0,
    }


class Embedder:
    """Embeds batches of clips and writes the embeddings to an array.

    Args:
        model: a loaded HEAR module.
        array: to write to.
        paths: of the files, by row.
        stamps: of the files, by row, from before they were hashed.

    Attributes:
        calls: number of calls of the encoder.
    """

    def __init__(
        self, model: HearModel, array: EmbeddingArray, paths: Sequence[str], stamps: np.ndarray
    ) -> None:
        self.model, self.array, self.paths, self.stamps = model, array, paths, stamps
        self.calls = 0

    def fill(
        self,
        workers: int,
        batch_seconds: float,
        title: str,
        transform: Transform | None = None,
        *,
        min_samples: int = 0,
        rows: Sequence[int] | None = None,
    ) -> None:
        """Embed all rows that are not done, with a progress bar; an interruption loses nothing.

        Args:
            workers: as of `Reader`.
            batch_seconds: as of `Reader`.
            title: of the progress bar.
            transform: as of `Reader`.
            min_samples: as of `Reader`.
            rows: to embed instead of all.

        Raises:
            EmbedError: there is no memory to read ahead.
        """
        array, progress = self.array, self.array.progress
        todo = array.todo() if rows is None else np.array(rows)
        peak, other = PeakMemory(self.model.device), OtherLoad()
        start = saved = time.monotonic()
        before = progress.seconds
        reader = Reader(self.paths, self.model.sample_rate, transform, min_samples)
        with tqdm(total=len(todo), desc=title, unit="clip", delay=1) as bar, reading_ahead(title):
            try:
                with closing(reader.batches(todo, workers, batch_seconds)) as batches:
                    for batch in batches:
                        self.embed(batch)
                        bar.update(len(batch))
                        progress.seconds = before + time.monotonic() - start
                        if time.monotonic() - saved > SAVE_SECONDS:
                            array.save()
                            saved = time.monotonic()
            finally:
                note_run(progress, peak, other)
                array.save()

    def embed(self, batch: Batch) -> None:
        """Embed a batch of decoded clips, and record failures."""
        failures, read = self.array.failures, []
        for row, wave in batch:
            if file_stamp(self.paths[row]) != self.stamps[row]:
                failures[row] = f"{self.paths[row]}: changed meanwhile; run it again"
            elif isinstance(wave, Unavailable):
                failures[row] = wave
            elif isinstance(wave, str):
                self.array.progress.errors[row] = wave
            else:
                read.append((row, wave))
        for rows, waves in of_one_length(read):
            self.encode(rows, waves)

    def encode(self, rows: list[int], waves: np.ndarray) -> None:
        """Embed clips of equal length; if the batch fails, one by one.

        Shape:
            waves float32 `[B, n]` for B rows.
        """
        self.calls += 1
        progress = self.array.progress
        try:
            values = self.model.scenes(waves)
        except EncodeError as error:
            if len(rows) == 1:
                self.array.failures[rows[0]] = str(error)
                return
            for i, row in enumerate(rows):
                self.encode([row], waves[i : i + 1])
            return
        for row, value in zip(rows, values, strict=True):
            if np.isfinite(value).all():
                self.array.write(row, value)
                progress.clips += 1
                if progress.audio_seconds is not None:
                    progress.audio_seconds += waves.shape[1] / self.model.sample_rate
            else:
                self.array.failures[row] = (
                    f"{self.model.spec}: the embedding of {self.paths[row]} holds NaN or infinity; "
                    "fix the module"
                )


@contextmanager
def reading_ahead(title: str) -> Iterator[None]:
    """Raise EmbedError where reading ahead breaks off inside."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:  # no room for a wave, no room for a thread
        raise EmbedError(
            f"{title}: reading ahead failed ({one_line(error)}); what is done is kept, run it "
            "again with more memory or with --workers 0"
        ) from error
