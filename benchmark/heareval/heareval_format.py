"""Scores of heareval on a HEAR task, and the folder that its runner reads.

The folder has, per split, the embeddings in one array and the labels, in the format of heareval
2021.1.3 (embeddings/task_embeddings.py, `memmap_embeddings`).
"""

import hashlib
import json
import pickle
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data.hear_folder import HearTask, clip_order
from benchmark.embed.cache import cache_folder
from benchmark.embed.embed import EmbeddedTask, array_key
from benchmark.embed.events import EventEmbeddings
from benchmark.heareval.predict import predict, protocol
from benchmark.results.schema import Result
from benchmark.results.score import Subject, measure_result
from wavebyol_hear.files.atomic import file_hash
from wavebyol_hear.files.hear_module import HearModel

TAIL_MS = 0.0001
"""Added to the end of an event, so that a timestamp exactly there belongs to it."""
DONE = ".done.embeddings"
BLOCK_ROWS = 1024


def heareval_folder(
    hear: HearTask, model: HearModel, embedded: EmbeddedTask | EventEmbeddings, cache_dir: Path
) -> Path:
    """Return the folder that heareval works in: one for all that its scores depend on."""
    digest = hashlib.blake2b(digest_size=16)
    for name in texts_of(hear):
        digest.update(file_hash(hear.folder / name).encode())
    if not isinstance(embedded, EventEmbeddings):
        for start in range(0, len(embedded.embeddings), BLOCK_ROWS):
            digest.update(embedded.embeddings[start : start + BLOCK_ROWS].tobytes())
    key = array_key(model, embedded.data_hash, None) | {"content": digest.hexdigest()}
    return cache_folder(cache_dir / "heareval", model.spec, hear.folder.name, **key)


def heareval_result(grid: str, points: int, subject: Subject) -> Result:
    """Score a HEAR task by heareval, with so many points of one of its grids.

    Raises:
        HearevalError: heareval is not there, or fails.
        ProbeError: the task's first measure is not finite.
    """
    hear, folder, embedded = subject.source.hear, subject.heareval_folder, subject.embedded
    assert hear is not None
    assert folder is not None
    assert isinstance(embedded, EmbeddedTask | EventEmbeddings)
    write_embeddings(hear, embedded, folder)
    predicted = predict(folder, grid, points, subject.device)
    return measure_result(
        subject,
        protocol(grid, points),
        predicted.folds,
        metric=hear.metrics[0],
        seconds=predicted.seconds,
        settings=predicted.hyperparameters,
    )


def texts_of(hear: HearTask) -> list[str]:
    """Return the names of a task folder's files that say what is in it, audio aside."""
    return ["task_metadata.json", "labelvocabulary.csv", *(f"{split}.json" for split in hear.clips)]


def labels_at(events: list[dict[str, Any]], timestamps: np.ndarray) -> list[list[Any]]:
    """Return the labels of the events that are on at each instant.

    Args:
        events: with label, start and end in ms; one that is listed twice counts once.
        timestamps: in ms.

    Shape:
        timestamps `[T]`, T lists.
    """
    labels: list[list[Any]] = [[] for _ in timestamps]
    distinct = {(event["start"], event["end"], event["label"]) for event in events}
    for start, end, label in sorted(distinct, key=lambda one: (one[0], one[1], str(one[2]))):
        for row in np.flatnonzero((timestamps >= start) & (timestamps < end + TAIL_MS)):
            labels[row].append(label)
    return labels


def write_embeddings(
    hear: HearTask, embedded: EmbeddedTask | EventEmbeddings, folder: Path
) -> None:
    """Write the folder of a task under one model for heareval, unless it is complete.

    Scenes are those of all clips in heareval's order, see `clip_order`.
    """
    if (folder / DONE).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    for name in texts_of(hear):
        shutil.copyfile(hear.folder / name, folder / name)
    start = 0
    for split, names in clip_order(hear).items():
        listed = [hear.clips[split][name] for name in names]
        if isinstance(embedded, EventEmbeddings):
            times = [embedded.read(split, name)[1] for name in names]
            frames = (embedded.read(split, name)[0] for name in names)
            labels = [on for clip in map(labels_at, listed, times) for on in clip]
            _write_split(folder, split, len(labels), frames, labels)
            paths = [f"{folder}/{split}/{name}" for name in names]
            instants = [(p, time) for p, t in zip(paths, times, strict=True) for time in t.tolist()]
            text = json.dumps(instants, indent=4)
            (folder / f"{split}.filename-timestamps.json").write_text(text)
        else:
            rows = embedded.embeddings[start : start + len(names)]
            start += len(names)
            _write_split(folder, split, len(rows), [rows], listed)
    (folder / DONE).touch()


def _write_split(
    folder: Path, split: str, count: int, blocks: Iterable[np.ndarray], labels: Sequence[list[Any]]
) -> None:
    """Write the rows of a split, block by block, with their number, length and labels."""
    size, start = 0, 0
    for block in blocks:
        if not start:
            size = block.shape[1]
            path = folder / f"{split}.embeddings.npy"
            array = np.memmap(path, np.float32, "w+", shape=(count, size))
        array[start : start + len(block)] = block
        start += len(block)
    array.flush()
    (folder / f"{split}.embedding-dimensions.json").write_text(json.dumps((count, size)))
    with (folder / f"{split}.target-labels.pkl").open("wb") as file:
        pickle.dump(list(labels), file)
