"""Timestamp embeddings of the clips of an event task: one cached file per clip."""

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmark.data.clip import TaskDataError
from benchmark.data.registry import TaskClips
from benchmark.embed.cache import cache_folder
from benchmark.embed.embed import array_key
from benchmark.embed.embedder import Embedded, facts, reading_ahead
from benchmark.embed.fingerprint import content_hashes, data_fingerprint
from wavebyol_hear.files.atomic import atomic_write
from wavebyol_hear.files.hear_module import EncodeError, HearModel
from wavebyol_hear.files.model_spec import HearError
from wavebyol_hear.files.read_ahead import Batch, Reader, ahead, of_one_length

LARGEST_HOP_MS = 50.0
REGULAR_MS = 1.0
"""As in hear-validator's validate.py."""


@dataclass(frozen=True, kw_only=True)
class EventEmbeddings(Embedded):
    """Timestamp embeddings of the clips of an event task; time and speed are those of this run."""

    folder: Path  #: holds `<split>/<name>.npz`
    clips: int  #: embedded in this run, 0 where all were there
    notes: list[str]  #: what is odd about the timestamps

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
    """Embed the clips of an event task as far as they are not cached; arguments as `embed_task`.

    Raises:
        TaskDataError: a file cannot be read.
        HearError: the module fails, or returns other shapes than it says, NaN or infinite values,
            or timestamps that do not rise regularly to the clip's end.
        EmbedError: there is no memory to read ahead.
        OSError: the folder cannot be written.
    """
    start, task, clips, root = time.monotonic(), source.task.name, source.clips, source.root
    data = data_fingerprint(clips, content_hashes(clips, root, cache_dir / f"{task}-events.json"))
    key = array_key(model, data, None) | {"size": model.timestamp_size}
    folder = cache_folder(cache_dir / "events", model.spec, task, **key)
    files = [folder / f"{clip.clip_id}.npz" for clip in clips]
    todo = [row for row, file in enumerate(files) if not file.exists()]
    for split in {file.parent for file in files}:
        split.mkdir(parents=True, exist_ok=True)
    calls: list[int] = []
    notes: list[str] = []
    paths, title = [f"{root}/{clip.path}" for clip in clips], f"{task}, {model.spec}"

    def embedded(batch: Batch) -> list[tuple[int, np.ndarray, np.ndarray]]:
        read = []
        for row, wave in batch:
            if isinstance(wave, str):
                raise TaskDataError(wave)
            read.append((row, wave))
        lengths = of_one_length(read)
        return [x for rows, waves in lengths for x in _embed(model, rows, waves, calls, notes)]

    reader = Reader(paths, model.sample_rate)
    with (
        tqdm(total=len(todo), desc=title, unit="clip", delay=1) as bar,
        reading_ahead(title),
        closing(reader.batches(todo, workers, batch_seconds)) as batches,
        # Writing a clip's frames takes as long as embedding a short one: side by side.
        closing(ahead(embedded, batches, min(workers, 1))) as done,
    ):
        for batch in done:
            for row, values, timestamps in batch:
                with atomic_write(files[row]) as file:
                    np.savez(file, embeddings=values, timestamps=timestamps)
            bar.update(len(batch))
    seconds = time.monotonic() - start
    made = facts(model, data, len(calls), len(todo), seconds)
    return EventEmbeddings(folder=folder, clips=len(todo), notes=notes, **made)


def _embed(
    model: HearModel, rows: list[int], waves: np.ndarray, calls: list[int], notes: list[str]
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Yield row, embeddings and timestamps; where a batch fails, clip by clip.

    The size of each batch is added to the calls, and what is odd in the first one to the notes.
    """
    calls.append(len(rows))
    try:
        values, timestamps = model.timestamps(waves)
    except EncodeError:
        if len(rows) == 1:
            raise
        for row, wave in zip(rows, waves, strict=True):
            yield from _embed(model, [row], wave[None], calls, notes)
        return
    what = f"{model.spec}: get_timestamp_embeddings"
    if not np.isfinite(values).all():
        raise HearError(f"{what} returned NaN or infinite values; fix the module")
    if len(calls) == 1:
        first = timestamps[:1].astype(np.float64)
        notes += check_spacing(what, first, 1000.0 * waves.shape[1] / model.sample_rate)
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
