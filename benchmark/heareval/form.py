"""What heareval's predictions runner reads of a split: all rows in one array, and their labels.

As heareval 2021.1.3 writes them (embeddings/task_embeddings.py, `memmap_embeddings`).
"""

import json
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data.hear_folder import HearTask

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
    """Return the length of the embeddings of a task that lie in a folder."""
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


class SceneArrays:
    """The embeddings of a scene task, one file a split, filled clip by clip in any order.

    Args:
        task: whose clips have a row each.
        folder: of the task's embeddings.
        size: numbers of an embedding.
    """

    def __init__(self, task: HearTask, folder: Path, size: int) -> None:
        """Make the files, all zeros."""
        self.task, self.folder, self.size = task, folder, size
        self.order = clip_order(task)
        self.rows: dict[tuple[str, str], int] = {}
        self.arrays: dict[str, np.memmap] = {}
        for split, names in self.order.items():
            shape = (len(names), size)
            array = np.memmap(folder / f"{split}.embeddings.npy", np.float32, "w+", shape=shape)
            self.arrays[split] = array
            self.rows |= {(split, name): row for row, name in enumerate(names)}

    def put(self, split: str, name: str, values: np.ndarray) -> None:
        """Keep a clip's embedding `[D]`."""
        self.arrays[split][self.rows[split, name]] = values

    def recall(self, clips: list[tuple[str, str]]) -> None:
        """Take the embeddings of clips, by split and name, from the files that they have."""
        for split, name in clips:
            self.put(split, name, np.load(f"{self.folder}/{split}/{name}.embedding.npy"))

    def finish(self) -> None:
        """Bring the rows to the disk, and their labels beside them."""
        for split, names in self.order.items():
            self.arrays[split].flush()
            _write_shape(self.folder, split, (len(names), self.size))
            _write_labels(self.folder, split, [self.task.clips[split][name] for name in names])


def gather_events(task: HearTask, folder: Path) -> None:
    """Put the clips of each split in one array, and their labels and instants beside it.

    Args:
        task: of events, whose clips all have their own files in the folder.
        folder: of the task's embeddings.
    """
    for split, names in clip_order(task).items():
        stems = [f"{folder}/{split}/{name}" for name in names]
        shapes = [np.load(f"{stem}.embedding.npy", mmap_mode="r").shape for stem in stems]
        shape = (sum(rows for rows, _ in shapes), shapes[0][1])
        _write_shape(folder, split, shape)
        array = np.memmap(folder / f"{split}.embeddings.npy", np.float32, "w+", shape=shape)
        labels: list[list[Any]] = []
        instants: list[tuple[str, float]] = []
        place = 0
        for stem in stems:
            # One by one, closed again: Linux bounds how many files a process maps.
            block = np.load(f"{stem}.embedding.npy")
            array[place : place + len(block)] = block
            place += len(block)
            labels += _read(f"{stem}.target-labels.json")
            instants += [(stem, time) for time in _read(f"{stem}.timestamps.json")]
        array.flush()
        _write_labels(folder, split, labels)
        text = json.dumps(instants, indent=4)
        (folder / f"{split}.filename-timestamps.json").write_text(text)


def _write_shape(folder: Path, split: str, shape: tuple[int, int]) -> None:
    """Write how many rows a split has, and how long they are."""
    (folder / f"{split}.embedding-dimensions.json").write_text(json.dumps(shape))


def _write_labels(folder: Path, split: str, labels: list[list[Any]]) -> None:
    """Write the labels of a split's rows."""
    with (folder / f"{split}.target-labels.pkl").open("wb") as file:
        pickle.dump(labels, file)


def _read(path: str) -> list[Any]:
    """Return the list in a JSON file."""
    with open(path, encoding="utf-8") as file:
        return list(json.load(file))
