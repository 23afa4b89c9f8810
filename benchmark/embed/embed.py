"""One embedding per clip of a task: read ahead, batched by length, cached, resumable."""

import datetime
import hashlib
import itertools
import json
import os
import platform
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data.clip import Clip, Task, split_valid_clips
from benchmark.data.corrupt import CorruptedClips, Corruption
from benchmark.data.registry import TaskClips
from benchmark.embed.cache import DAMAGED, EmbeddingArray, cache_folder, sole_use
from benchmark.embed.cost import Cost, cost_of, note_arithmetic
from benchmark.embed.embedder import Embedded, Embedder, EmbedError, facts
from benchmark.embed.fingerprint import (
    UNAVAILABLE,
    contents,
    data_fingerprint,
    library_versions,
    sound_fingerprint,
)
from wavebyol_hear.files.atomic import atomic_write, read_object, write_text
from wavebyol_hear.files.hear_module import HearModel

NOISE, PROVENANCE = "noise.npy", "provenance.json"
TOLERANCE, TOLERANCE_16 = 1e-3, 3e-2
"""Tolerance relative to the largest value, for noise embedded again in 32 and in 16 bit."""


@dataclass(frozen=True, kw_only=True)
class EmbeddedTask(Embedded):
    """The embeddings of a task under one model, with labels, splits and groups for the probes.

    Time and speed are totals over all runs that filled the array.

    Shape:
        embeddings `[n, D]`; labels, splits, groups, clip_ids `[n]`.
    """

    embeddings: np.ndarray  #: float32, memory-mapped, read-only
    labels: np.ndarray  #: class numbers, indices in `task.classes`
    splits: np.ndarray  #: as published
    groups: np.ndarray  #: clips of a group must stay on one side of a split
    clip_ids: np.ndarray  #: of the rows
    cost: Cost  #: of the model, as measured when the embeddings were made
    #: of the run that began to embed: versions, device, host, time
    provenance: dict[str, Any] = field(default_factory=dict)


def embed_task(
    source: TaskClips,
    model: HearModel,
    *,
    cache_dir: Path,
    workers: int = 2,
    batch_seconds: float = 64.0,
    corruption: Corruption | None = None,
    pad_short: bool = False,
    fill: Callable[..., None] = Embedder.fill,
) -> EmbeddedTask:
    """Embed the clips of a task with a HEAR module, as far as they are not cached.

    Args:
        source: a task, whose classes number the labels, with the clips to embed.
        model: a loaded HEAR module.
        cache_dir: of the cache; see `array_key` for what its arrays depend on.
        workers: decoding threads, >= 0.
        batch_seconds: maximum audio per batch; a longer clip is a batch of its own.
        corruption: applied to every clip, if any.
        pad_short: whether clips that the model itself would pad to one length are padded here, so
            that short clips of all lengths share batches.
        fill: embeds the missing rows, as `Embedder.fill`.

    Raises:
        HearError: the module returns other shapes than it states.
        TaskDataError: the list of clips is invalid.
        CacheError: the cache cannot be written.
        EmbedError: no clip could be embedded, or there is no memory to read ahead.
    """
    task, folder = source.task, source.task.folder or source.task.name
    if Path(folder).is_absolute():  # user's labels: the user's folder, not one of the cache
        folder = f"{task.name}-{hashlib.sha256(os.fsencode(folder)).hexdigest()[:8]}"
    valid, hashes, stamps, errors = _readable(source, cache_dir / folder)
    data_hash = data_fingerprint(valid, hashes)
    corrupted = CorruptedClips(corruption, [c.clip_id for c in valid]) if corruption else None
    noise = model.noise_embedding  # first: a module may choose its precision at its first call
    key = array_key(model, sound_fingerprint(valid, hashes), corrupted)
    path = cache_folder(cache_dir, model.spec, folder, **key)
    del hashes
    with open_array(path, len(valid), model, noise) as array:
        embedder = Embedder(model, array, [f"{source.root}/{clip.path}" for clip in valid], stamps)
        if len(array.todo()):
            name = f", {corruption.name}" if corruption else ""
            fill(
                *(embedder, workers, batch_seconds, f"{task.name}, {model.spec}{name}", corrupted),
                min_samples=model.pads_scenes_to if pad_short else 0,
            )
        if not corruption and note_arithmetic(array.progress, model):
            array.save()
        reasons = array.progress.errors | array.failures
        errors += [(valid[row].clip_id, why) for row, why in sorted(reasons.items())]
        embeddings, rows = array.finished()
    if len(rows) == 0:
        raise EmbedError(f"{task.name}: no clip could be embedded; the first: {errors[0][1]}")
    progress = array.progress
    return EmbeddedTask(
        embeddings=embeddings,
        **_columns(task, [valid[row] for row in rows]),
        errors=tuple(errors),
        cost=cost_of(progress, model),
        provenance=read_object(array.folder / PROVENANCE),
        **facts(model, data_hash, embedder.calls, progress.clips, progress.seconds),
    )


def _readable(
    source: TaskClips, memory: Path
) -> tuple[list[Clip], list[str], np.ndarray, list[tuple[str, str]]]:
    """Return clips that can be embedded, their files' hashes and stamps, and errors of the rest."""
    task, root = source.task, source.root
    valid, errors = split_valid_clips(task, source.clips)
    hashes, stamps = contents(valid, root, memory / "sound-hashes.json")
    ready = np.array([value != UNAVAILABLE for value in hashes])
    gone = [clip for clip, is_ready in zip(valid, ready, strict=True) if not is_ready]
    errors += [(c.clip_id, f"{root / c.path}: cannot be read now; run it again") for c in gone]
    if len(gone) == len(valid):
        raise EmbedError(f"{task.name}: no clip can be read; the first: {errors[0][1]}")
    valid = [clip for clip, is_ready in zip(valid, ready, strict=True) if is_ready]
    return valid, [value for value in hashes if value != UNAVAILABLE], stamps[ready], errors


def _columns(task: Task, clips: Sequence[Clip]) -> dict[str, Any]:
    """Return labels, splits, groups and clip_ids of the clips, `[n]` each.

    Strings stay Python objects: NumPy's would take four bytes per character of the longest.
    """
    number = {label: i for i, label in enumerate(task.classes)}
    return {
        "labels": np.array([number[clip.label] for clip in clips], dtype=np.int64),
        "splits": np.array([clip.split for clip in clips], dtype=object),
        "groups": np.array([clip.group for clip in clips], dtype=object),
        "clip_ids": np.array([clip.clip_id for clip in clips], dtype=object),
    }


def array_key(model: HearModel, sound: str, corrupted: CorruptedClips | None) -> dict[str, Any]:
    """Return everything that an array of embeddings depends on, for `cache_folder`.

    Specification (with the keyword arguments of `load_model`), weights, code, audio and its
    corruption; device type and precision, which change the last digits; versions of the libraries
    that decode, resample and compute. `open_array` detects other dependencies of a module.
    """
    return {
        "weights": model.weights_hash,
        "sound": sound,
        "rate": model.sample_rate,
        "device": model.device.type,
        "precision": model.precision,
        "size": model.size,
        "versions": library_versions(),
        "corruption": corrupted.key if corrupted else None,
    }


@contextmanager
def open_array(
    folder: Path, count: int, model: HearModel, noise: np.ndarray
) -> Iterator[EmbeddingArray]:
    """Open the cached array of a model for this process alone, or create it.

    Its folder also contains the model's embedding of fixed noise, and the provenance. If the noise
    has another embedding now, the module depends on something outside the key, such as a file or an
    environment variable: then `<folder>-1` is used instead, and so on.
    """
    for number in itertools.count():
        own = folder.with_name(f"{folder.name}-{number}") if number else folder
        if not _is_of(own, noise, model.precision):
            continue
        with sole_use(own):
            if not _is_of(own, noise, model.precision):  # made meanwhile
                continue
            array = EmbeddingArray(own, count, model.size)
            if not (own / NOISE).exists():
                with atomic_write(own / NOISE) as file:
                    np.save(file, noise)
                where = {
                    "model": model.spec,
                    "weights_hash": model.weights_hash,
                    "precision": model.precision,
                    "device": str(model.device),
                    "python": platform.python_version(),
                    "packages": library_versions(),
                    "host": platform.node(),
                    "begun": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
                }
                write_text(own / PROVENANCE, json.dumps(where, indent=1) + "\n")
            yield array
            return


def _is_of(folder: Path, noise: np.ndarray, precision: str) -> bool:
    """Return whether an array is of a model with this embedding of noise, or does not exist."""
    try:
        kept = np.load(folder / NOISE)
    except FileNotFoundError:
        return not (folder / "embeddings.npy").exists()
    except (OSError, *DAMAGED):
        return False
    if kept.shape != noise.shape or not noise.size:
        return bool(kept.shape == noise.shape)
    apart = np.abs(kept - noise).max() / max(float(np.abs(kept).max()), 1e-12)
    return bool(apart <= (TOLERANCE if "16" not in precision else TOLERANCE_16))
