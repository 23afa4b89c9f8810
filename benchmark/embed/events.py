"""Timestamp embeddings of an event task's clips, one file per clip, kept and resumed by content."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmark.data.hear_catalogue import HearTaskError
from benchmark.data.task_clips import TaskClips
from benchmark.embed.cache import cache_folder
from benchmark.embed.embed import array_key
from benchmark.embed.embedder import reading_ahead
from benchmark.embed.fingerprint import content_hashes, data_fingerprint
from wavebyol_hear.files.atomic import atomic_write
from wavebyol_hear.files.hear_module import EncodeError, HearModel
from wavebyol_hear.files.model_spec import HearError
from wavebyol_hear.files.read_ahead import Batch, ahead, of_one_length, read_batches

LARGEST_HOP_MS = 50.0
REGULAR_MS = 1.0
"""As in hear-validator's validate.py."""


@dataclass
class EventEmbeddings:
    """The frames of an event task's clips under one model, and what embedding them took."""

    folder: Path  #: holds `<split>/<name>.npz`
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
    source: TaskClips,
    model: HearModel,
    *,
    cache_dir: Path,
    workers: int = 2,
    batch_seconds: float = 81.92,
) -> EventEmbeddings:
    """Embed the clips of an event task, or take what the cache holds; arguments as of `embed_task`.

    Raises:
        HearTaskError: a file cannot be read.
        HearError: the module fails, or returns other shapes than it says, NaN or infinite values,
            or timestamps that do not rise regularly to the clip's end.
        EmbedError: there is no memory to read ahead.
        OSError: the folder cannot be written.
    """
    start, task, clips, root = time.monotonic(), source.task.name, source.clips, source.root
    data = data_fingerprint(clips, content_hashes(clips, root, cache_dir / f"{task}-events.json"))
    key = array_key(model, data, None) | {"size": int(model.model.timestamp_embedding_size)}  # type: ignore[arg-type]
    folder = cache_folder(cache_dir / "events", model.spec, task, **key)
    result = EventEmbeddings(folder, model.weights_hash, data, model.precision)
    files = [folder / f"{clip.clip_id}.npz" for clip in clips]
    todo = [row for row, file in enumerate(files) if not file.exists()]
    for split in {file.parent for file in files}:
        split.mkdir(parents=True, exist_ok=True)
    paths, title = [f"{root}/{clip.path}" for clip in clips], f"{task}, {model.spec}"

    def embedded(batch: Batch) -> list[tuple[int, np.ndarray, np.ndarray]]:
        read = []
        for row, wave in batch:
            if isinstance(wave, str):
                raise HearTaskError(wave)
            read.append((row, wave))
        lengths = of_one_length(read)
        return [one for rows, waves in lengths for one in _embed(model, rows, waves, result)]

    with (
        tqdm(total=len(todo), desc=title, unit="clip", delay=1) as bar,
        reading_ahead(title),
        closing(read_batches(paths, todo, model.sample_rate, workers, batch_seconds)) as batches,
        # Writing a clip's frames takes as long as embedding a short one: side by side.
        closing(ahead(embedded, batches, min(workers, 1))) as done,
    ):
        for batch in done:
            for row, values, timestamps in batch:
                with atomic_write(files[row]) as file:
                    np.savez(file, embeddings=values, timestamps=timestamps)
            result.clips += len(batch)
            bar.update(len(batch))
    result.seconds = time.monotonic() - start
    return result


def _embed(
    model: HearModel, rows: list[int], waves: np.ndarray, result: EventEmbeddings
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield row, embeddings and timestamps; where a batch fails, clip by clip."""
    result.encoder_calls += 1
    try:
        values, timestamps = model.timestamps(waves)
    except EncodeError:
        if len(rows) == 1:
            raise
        for row, wave in zip(rows, waves, strict=True):
            yield from _embed(model, [row], wave[None], result)
        return
    what = f"{model.spec}: get_timestamp_embeddings"
    if not np.isfinite(values).all():
        raise HearError(f"{what} returned NaN or infinite values; fix the module")
    if result.encoder_calls == 1:
        first = timestamps[:1].astype(np.float64)
        result.notes += check_spacing(what, first, 1000.0 * waves.shape[1] / model.sample_rate)
    yield from zip(rows, values, timestamps, strict=True)


def check_spacing(what: str, timestamps: np.ndarray, length_ms: float) -> list[str]:
    """Return warnings of timestamps `[B, T]` in ms that are sparse or stop before the clip's end.

    Raises:
        HearError: where they do not rise, the spacing varies by more than 1 ms, or the last one is
            past the clip's end or more than two hops before it.
    """
    if timestamps.shape[1] == 1:
        return [f"{what}: a clip of {length_ms:.0f} ms has one timestamp only"]
    hops = np.diff(timestamps, axis=1)
    if hops.min() <= 0:
        raise HearError(f"{what}: the timestamps do not rise; return ascending ms")
    hop, first, last = float(hops.mean()), float(timestamps.min()), float(timestamps.max())
    uneven = float(np.abs(hops - hop).max())
    if uneven > REGULAR_MS:
        raise HearError(f"{what}: the spacing varies by {uneven:.2f} ms; keep it within 1 ms")
    if last > length_ms or last < length_ms - 2 * hop:
        remedy = "end within the clip" if last > length_ms else "reach its end"
        times = f"the last timestamp is {last:.2f} ms, the clip {length_ms:.2f} ms long"
        raise HearError(f"{what}: {times}; {remedy}")
    warnings = []
    if float(hops.max()) > LARGEST_HOP_MS:
        warnings.append(f"{what}: the hop is {float(hops.max()):.1f} ms; HEAR suggests 50 or less")
    if first > hop:
        warnings.append(f"{what}: the first timestamp is {first:.1f} ms, more than one hop")
    if last < length_ms - min(hop, LARGEST_HOP_MS):
        warnings.append(f"{what}: the last timestamp is more than one hop before the clip's end")
    return warnings
