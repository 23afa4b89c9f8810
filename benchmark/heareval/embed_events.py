"""Timestamp embeddings of an event task's clips, one file a clip, kept and resumed by content."""

import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmark.data.clip import Clip
from benchmark.data.hear_catalogue import HearTaskError
from benchmark.embed.cache import cache_folder
from benchmark.embed.embed import array_key
from benchmark.embed.embedder import reading_ahead
from benchmark.embed.fingerprint import content_hashes, data_fingerprint
from benchmark.embed.timestamps import check_spacing
from wavebyol_hear.files.atomic import atomic_write
from wavebyol_hear.files.hear_module import EncodeError, HearModel
from wavebyol_hear.files.model_spec import HearError
from wavebyol_hear.files.read_ahead import Batch, ahead, of_one_length, read_batches


@dataclass
class EventEmbeddings:
    """The frames of an event task's clips under one model, and what embedding them took."""

    folder: Path  #: holds `<split>/<name>.npz`
    size: int  #: of an embedding
    weights_hash: str  #: content hash of weights and code
    data_hash: str  #: content hash of audio, events and splits
    precision: str  #: in which the model says it computes
    clips: int = 0  #: embedded in this run, 0 where all were there
    encoder_calls: int = 0  #: in this run
    seconds: float = 0.0  #: of this run
    notes: list[str] = field(default_factory=list)  #: what is odd about the timestamps

    @property
    def clips_per_second(self) -> float:
        """Clips embedded in a second of this run; 0 where none was."""
        return self.clips / self.seconds if self.clips else 0.0

    def read(self, split: str, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return a clip's embeddings `[T, D]` and timestamps `[T]` in ms."""
        with np.load(self.folder / split / f"{name}.npz") as file:
            return file["embeddings"], file["timestamps"]


def embed_events(
    task: str,
    clips: Sequence[Clip],
    root: Path,
    model: HearModel,
    *,
    cache_dir: Path,
    workers: int = 2,
    batch_seconds: float = 81.92,
) -> EventEmbeddings:
    """Embed the clips of an event task, or take what the cache holds.

    Args:
        task: name of the task.
        clips: as listed, each in the split its path begins with.
        root: of their files.
        model: a loaded HEAR module.
        cache_dir: of the cache.
        workers: threads that read ahead, >= 0.
        batch_seconds: most audio in one batch, in seconds; a longer clip goes alone.

    Raises:
        HearTaskError: a file cannot be read.
        HearError: the module fails, or returns other shapes than it says, NaN or infinite values,
            or timestamps that do not rise regularly to the clip's end.
        EmbedError: there is no memory to read ahead.
        OSError: the folder cannot be written.
    """
    start = time.monotonic()
    data = data_fingerprint(clips, content_hashes(clips, root, cache_dir / f"{task}-events.json"))
    size = int(model.model.timestamp_embedding_size)  # type: ignore[arg-type]
    folder = cache_folder(
        cache_dir / "events",
        model.spec,
        task,
        **array_key(model, data, None) | {"size": size},
    )
    stats = EventEmbeddings(folder, size, model.weights_hash, data, model.precision)
    files = [folder / f"{clip.clip_id}.npz" for clip in clips]
    todo = [row for row, file in enumerate(files) if not file.exists()]
    for split in {file.parent for file in files}:
        split.mkdir(parents=True, exist_ok=True)
    paths, title = [f"{root}/{clip.path}" for clip in clips], f"{task}, {model.spec}"
    rate = model.sample_rate

    def embedded(batch: Batch) -> list[tuple[int, np.ndarray, np.ndarray]]:
        return [one for rows, waves in _waves(batch) for one in _embed(model, rows, waves, stats)]

    with (
        tqdm(total=len(todo), desc=title, unit="clip", delay=1) as bar,
        reading_ahead(title),
        closing(read_batches(paths, todo, rate, workers, batch_seconds)) as batches,
        # Writing a clip's frames takes as long as embedding a short one: side by side.
        closing(ahead(embedded, batches, min(workers, 1))) as done,
    ):
        for batch in done:
            for row, values, timestamps in batch:
                with atomic_write(files[row]) as file:
                    np.savez(file, embeddings=values, timestamps=timestamps)
            stats.clips += len(batch)
            bar.update(len(batch))
    stats.seconds = time.monotonic() - start
    return stats


def _waves(batch: Batch) -> Iterator[tuple[list[int], np.ndarray]]:
    """Yield the rows and waves of each length in a batch."""
    read = []
    for row, wave in batch:
        if isinstance(wave, str):
            raise HearTaskError(wave)
        read.append((row, wave))
    yield from of_one_length(read)


def _embed(
    model: HearModel, rows: list[int], waves: np.ndarray, stats: EventEmbeddings
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield row, embeddings and timestamps; where a batch fails, clip by clip."""
    stats.encoder_calls += 1
    try:
        values, timestamps = model.timestamps(waves)
    except EncodeError:
        if len(rows) == 1:
            raise
        for row, wave in zip(rows, waves, strict=True):
            yield from _embed(model, [row], wave[None], stats)
        return
    what = f"{model.spec}: get_timestamp_embeddings"
    if not np.isfinite(values).all():
        raise HearError(f"{what} returned NaN or infinite values; fix the module")
    if stats.encoder_calls == 1:
        first = timestamps[:1].astype(np.float64)
        stats.notes += check_spacing(what, first, 1000.0 * waves.shape[1] / model.sample_rate)
    yield from zip(rows, values, timestamps, strict=True)
