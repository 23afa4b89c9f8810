"""What heareval's predictions runner reads of a split: all rows in one array, and their labels.

As heareval 2021.1.3 writes them (embeddings/task_embeddings.py, `memmap_embeddings`).
"""

import json
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.hear.folder import HearTask

SEED = 0
"""Of the order of clips within a split; one generator goes through all splits of a task."""
TAIL_MS = 0.0001
"""Added to an event's end, so that an instant exactly there belongs to it."""


def clip_order(task: HearTask) -> dict[str, list[str]]:
    """Return the order in which heareval stores the clips of each split."""
    generator = random.Random(SEED)
    order = {}
    for split, clips in task.clips.items():
        order[split] = list(clips)
        generator.shuffle(order[split])
    return order


def embedding_size(task: HearTask, folder: Path) -> int:
    """Return the length of the embeddings that `gather` put in a folder."""
    name = f"{next(iter(task.clips))}.embedding-dimensions.json"
    return int(json.loads((folder / name).read_text())[1])


def labels_at(events: list[dict[str, Any]], stamps: np.ndarray) -> list[list[Any]]:
    """Return the labels of the events that are on at each instant.

    Args:
        events: with label, start and end in ms; one that comes twice counts once.
        stamps: instants, in ms.

    Shape:
        stamps `[T]`, T lists.
    """
    found: list[list[Any]] = [[] for _ in stamps]
    distinct = {(event["start"], event["end"], event["label"]) for event in events}
    for start, end, label in sorted(distinct, key=lambda one: (one[0], one[1], str(one[2]))):
        for place in np.flatnonzero((stamps >= start) & (stamps < end + TAIL_MS)):
            found[place].append(label)
    return found


def gather(task: HearTask, folder: Path) -> None:
    """Put the clips of each split in one array, and their labels and instants beside it.

    Args:
        task: whose clips all have their own files in the folder.
        folder: of the task's embeddings.
    """
    for split, names in clip_order(task).items():
        stems = [f"{folder}/{split}/{name}" for name in names]
        shape = _shape(stems, scenes=task.embedding == "scene")
        (folder / f"{split}.embedding-dimensions.json").write_text(json.dumps(shape))
        array = np.memmap(folder / f"{split}.embeddings.npy", np.float32, "w+", shape=shape)
        labels: list[list[Any]] = []
        instants: list[tuple[str, float]] = []
        place = 0
        for stem in stems:
            # One by one, closed again: speech_commands_full has more clips in its training part
            # than Linux lets a process map files.
            block = np.atleast_2d(np.load(f"{stem}.embedding.npy"))
            own = _read(f"{stem}.target-labels.json")
            array[place : place + len(block)] = block
            place += len(block)
            labels += own if task.embedding == "event" else [own]
            if task.embedding == "event":
                instants += [(stem, time) for time in _read(f"{stem}.timestamps.json")]
        array.flush()
        with (folder / f"{split}.target-labels.pkl").open("wb") as file:
            pickle.dump(labels, file)
        if task.embedding == "event":
            text = json.dumps(instants, indent=4)
            (folder / f"{split}.filename-timestamps.json").write_text(text)


def _shape(stems: list[str], *, scenes: bool) -> tuple[int, int]:
    """Return how many rows the embeddings of clips have together, and how long a row is."""
    if scenes:
        return len(stems), len(np.load(f"{stems[0]}.embedding.npy"))
    shapes = [np.load(f"{stem}.embedding.npy", mmap_mode="r").shape for stem in stems]
    return sum(rows for rows, _ in shapes), shapes[0][1]


def _read(path: str) -> list[Any]:
    """Return the list in a JSON file."""
    with open(path, encoding="utf-8") as file:
        return list(json.load(file))
