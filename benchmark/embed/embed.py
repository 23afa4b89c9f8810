"""From a task's clips to one embedding each: read ahead, batched by length, cached, resumable."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data.clip import Clip, Task, split_valid_clips
from benchmark.data.corrupt import CorruptedClips, Corruption
from benchmark.embed.cache import EmbeddingArray, cache_folder
from benchmark.embed.cost import Cost, cost_of, note_arithmetic
from benchmark.embed.embedder import Embedder, EmbedError, fill
from benchmark.embed.fingerprint import content_hashes, data_fingerprint, sound_fingerprint
from benchmark.embed.model import HearModel


@dataclass(frozen=True)
class EmbeddedTask:
    """The embeddings of a task under one model, row by row with what a probe needs.

    Attributes:
        embeddings: float32, memory-mapped, read-only.
        labels: class numbers, places in `task.classes`.
        splits: as published.
        groups: what may never be separated.
        clip_ids: of the rows.
        errors: (clip id, message) of every clip that has no row.
        seconds: time the embedding took, all runs of this array together.
        clips_per_second: rows over that time, decoding included; 0 where nothing was embedded.
        encoder_calls: calls of the encoder in this run, 0 when all came from the cache.
        weights_hash: content hash of weights and code.
        data_hash: content hash of sound, labels, splits and groups.
        cost: of the model, as measured when the embeddings were made.
        precision: in which the model says it computes, else "as loaded".

    Shape:
        embeddings `[n, D]`; labels, splits, groups, clip_ids `[n]`.
    """

    embeddings: np.ndarray
    labels: np.ndarray
    splits: np.ndarray
    groups: np.ndarray
    clip_ids: np.ndarray
    errors: tuple[tuple[str, str], ...]
    seconds: float
    clips_per_second: float
    encoder_calls: int
    weights_hash: str
    data_hash: str
    cost: Cost
    precision: str


def _open(
    model: HearModel,
    cache_dir: Path,
    folder: str,
    sound: str,
    n_clips: int,
    spoil: CorruptedClips | None,
) -> EmbeddingArray:
    """Open the cached array of a model on the clips with a fingerprint; new where all is new."""
    options: dict[str, Any] = {
        "device": model.device.type,
        "precision": model.precision,
        "size": model.size,
    } | (spoil.key if spoil else {})
    place = cache_folder(
        cache_dir,
        model.spec,
        folder,
        weights=model.weights_hash,
        sound=sound,
        rate=model.sample_rate,
        options=options,
    )
    return EmbeddingArray(place, n_clips, model.size)


def embed_task(
    task: Task,
    clips: Sequence[Clip],
    root: Path,
    model: HearModel,
    *,
    cache_dir: Path,
    workers: int = 2,
    batch_seconds: float = 64.0,
    corruption: Corruption | None = None,
) -> EmbeddedTask:
    """Embed the clips of a task with a HEAR module, or take what the cache holds.

    Args:
        task: whose classes number the labels.
        clips: what `task.index(root)` listed.
        root: of the task.
        model: a loaded HEAR module; the kind of its device is part of the cache's key, as is its
            precision where it says so: results differ in the last digits.
        cache_dir: of the cache.
        workers: threads that read ahead, >= 0.
        batch_seconds: most sound in one batch, in seconds; a longer clip goes alone.
        corruption: of every clip; None embeds clips as they are.

    Raises:
        HearError: where the module returns other shapes than it says.
        TaskDataError: where the list is no good.
        CacheError: where the cache cannot be written.
        EmbedError: where not one clip could be embedded or there is no memory to read ahead.
    """
    good, errors = split_valid_clips(task, clips)
    folder = task.folder or task.name
    memory = cache_dir / folder / "sound-hashes.json"
    sound, data_hash = _fingerprints(good, root, memory)
    spoil = CorruptedClips(corruption, [clip.clip_id for clip in good]) if corruption else None
    array = _open(model, cache_dir, folder, sound, len(good), spoil)
    embedder = Embedder(model, array)
    if len(array.todo()):
        title = f"{task.name}, {model.spec}" + (f", {corruption.name}" if corruption else "")
        paths = (f"{root}/{clip.path}" for clip in good)
        # Of the list only `fill` holds on to: what comes after has room in its place.
        fill(embedder, list(paths), workers, batch_seconds, title, spoil)
    if not spoil and note_arithmetic(array.progress, model):
        array.save()
    errors += [(good[row].clip_id, why) for row, why in sorted(array.progress.errors.items())]
    embeddings, rows = array.finished()
    if len(rows) == 0:
        raise EmbedError(f"{task.name}: no clip could be embedded; the first: {errors[0][1]}")
    progress = array.progress
    return EmbeddedTask(
        embeddings=embeddings,
        **_columns(task, [good[row] for row in rows]),
        errors=tuple(errors),
        seconds=progress.seconds,
        clips_per_second=progress.clips / progress.seconds if progress.seconds else 0.0,
        encoder_calls=embedder.calls,
        weights_hash=model.weights_hash,
        data_hash=data_hash,
        cost=cost_of(progress, model),
        precision=model.precision,
    )


def _fingerprints(clips: Sequence[Clip], root: Path, memory: Path) -> tuple[str, str]:
    """Return the fingerprints of sound and data; what is known of single files is let go."""
    hashes = content_hashes(clips, root, memory)
    return sound_fingerprint(clips, hashes), data_fingerprint(clips, hashes)


def _columns(task: Task, clips: Sequence[Clip]) -> dict[str, np.ndarray]:
    """Return what a probe needs of each clip: labels, splits, groups and clip_ids, `[n]`.

    Strings are the clips' own: numpy's would take four bytes a character of the longest.
    """
    number = {label: i for i, label in enumerate(task.classes)}
    return {
        "labels": np.array([number[clip.label] for clip in clips], dtype=np.int64),
        "splits": np.array([clip.split for clip in clips], dtype=object),
        "groups": np.array([clip.group for clip in clips], dtype=object),
        "clip_ids": np.array([clip.clip_id for clip in clips], dtype=object),
    }
