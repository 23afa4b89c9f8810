"""Embeddings of a HEAR task in the form heareval leaves them in, made with our own batches.

heareval embeds in batches as the split lists the clips, one at a time where lengths differ, and
reads between the batches. Here all splits are one queue of batches of equal length, decoded ahead
by threads; clips that the model itself would pad to one length are padded before. The files are
those of heareval 2021.1.3 (embeddings/task_embeddings.py), down to the order of the rows, so that
its predictions runner takes them for its own.
"""

import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from benchmark.data.hear_catalogue import HearTaskError
from benchmark.data.hear_folder import HearTask
from benchmark.embed.embedder import reading_ahead
from benchmark.embed.model import EncodeError, HearError, HearModel
from benchmark.heareval.form import SceneArrays, gather_events, labels_at
from wavebyol_hear.files.read_ahead import Batch, ahead, of_one_length, read_batches

DONE = ".done.embeddings"


@dataclass
class Effort:
    """What embedding a task took in this run.

    Attributes:
        clips: embedded, 0 where all were there.
        calls: of the model.
        seconds: from the first header read to the last file written.
    """

    clips: int = 0
    calls: int = 0
    seconds: float = 0.0


def embed_hear(
    task: HearTask,
    sounds: Path,
    model: HearModel,
    folder: Path,
    *,
    fingerprint: str,
    workers: int = 2,
    batch_seconds: float = 81.92,
) -> Effort:
    """Embed a task into a folder, or go on where an interrupted run stopped.

    Args:
        task: read and checked.
        sounds: holds `<split>/<file name>` at the model's rate.
        model: a loaded HEAR module.
        folder: of this model's weights and this task alone; made where it is absent.
        fingerprint: of the sound and the task's text; what was made of other content is dropped.
        workers: threads that read ahead, >= 0.
        batch_seconds: most sound in one batch, in seconds; a longer clip goes alone.

    Raises:
        HearTaskError: a sound cannot be read.
        HearError: the module fails or returns other shapes than it says.
        EmbedError: there is no memory to read ahead.
        OSError: the folder cannot be written.
    """
    start = time.monotonic()
    effort = Effort()
    _prepare(task, folder, fingerprint)
    if (folder / DONE).exists():
        return effort
    scenes = SceneArrays(task, folder, model.size) if task.embedding == "scene" else None
    writer = Writer(task, model, folder, effort, scenes)
    listed = [(split, name) for split, clips in task.clips.items() for name in clips]
    paths = [str(sounds / split / name) for split, name in listed]
    there = [embedding_file(folder, *clip).exists() for clip in listed]
    todo = [row for row, done in enumerate(there) if not done]
    if scenes is not None:
        scenes.recall([clip for clip, done in zip(listed, there, strict=True) if done])
    writer.fill(paths, todo, listed, workers, batch_seconds)
    if scenes is None:
        gather_events(task, folder)
    else:
        scenes.finish()
    effort.seconds = time.monotonic() - start
    profile = {"time_elapsed": effort.seconds, "gpu_max_mem": None, "gpu_device_name": "unknown"}
    (folder / "profile.embeddings.json").write_text(json.dumps(profile, indent=4))
    (folder / DONE).touch()
    return effort


def _prepare(task: HearTask, folder: Path, fingerprint: str) -> None:
    """Make the folder, empty where it was of other content, with the task's own files."""
    mark = folder / "fingerprint.txt"
    if not mark.is_file() or mark.read_text(encoding="utf-8") != fingerprint:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        mark.write_text(fingerprint, encoding="utf-8")
    for name in ("task_metadata.json", "labelvocabulary.csv", *(f"{s}.json" for s in task.clips)):
        shutil.copyfile(task.folder / name, folder / name)
    for split in task.clips:
        (folder / split).mkdir(exist_ok=True)


def embedding_file(folder: Path, split: str, name: str) -> Path:
    """Return the file of a clip's embedding."""
    return folder / split / f"{name}.embedding.npy"


class Writer:
    """Embeds batches and writes each clip's files, the embedding last and whole.

    Args:
        task: whose labels are written beside.
        model: to embed with.
        folder: of the task's embeddings.
        effort: counts clips and calls.
        scenes: take the embeddings too; None where the task is of events.
    """

    def __init__(
        self,
        task: HearTask,
        model: HearModel,
        folder: Path,
        effort: Effort,
        scenes: SceneArrays | None,
    ) -> None:
        """Keep what every batch needs."""
        self.task, self.model, self.folder, self.effort = task, model, folder, effort
        self.scenes = scenes

    def fill(
        self,
        paths: list[str],
        todo: list[int],
        listed: list[tuple[str, str]],
        workers: int,
        batch_seconds: float,
    ) -> None:
        """Embed rows and write their files.

        Args:
            paths: of the sounds, by row.
            todo: rows to embed.
            listed: split and file name by row.
            workers: see `embed_hear`.
            batch_seconds: see `embed_hear`.
        """
        pad_to = 0 if self.scenes is None else self.model.pads_scenes_to
        rate, title = self.model.sample_rate, f"{self.task.folder.name}, {self.model.spec}"
        with (
            tqdm(total=len(todo), desc=title, unit="clip", delay=1) as bar,
            reading_ahead(title),
            closing(
                read_batches(paths, todo, rate, workers, batch_seconds, min_samples=pad_to)
            ) as read,
            # Writing two files a clip takes as long as embedding a short one: side by side.
            closing(ahead(self.embedded, read, min(workers, 1))) as done,
        ):
            for batch in done:
                for row, values, stamps in batch:
                    self.write(*listed[row], values, stamps)
                bar.update(len(batch))

    def embedded(self, batch: Batch) -> list[tuple[int, np.ndarray, np.ndarray | None]]:
        """Return the rows of a batch with their embeddings and timestamps.

        Raises:
            HearTaskError: a sound could not be read.
        """
        read = []
        for row, wave in batch:
            if isinstance(wave, str):
                raise HearTaskError(wave)
            read.append((row, wave))
        return [
            (row, *values)
            for rows, waves in of_one_length(read)
            for row, values in zip(rows, self.embed(waves), strict=True)
        ]

    def embed(self, waves: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray | None]]:
        """Yield each clip's embedding and timestamps; where a batch fails, each clip by itself.

        Shape:
            waves `[B, n]`; a scene yields `[D]` and None, events `[T, D]` and `[T]`.
        """
        self.effort.calls += 1
        try:
            if self.scenes is not None:
                values, stamps = self.model.scenes(waves), [None] * len(waves)
            else:
                values, stamps = self.model.timestamps(waves)  # type: ignore[assignment]
        except EncodeError:
            if len(waves) == 1:
                raise
            for wave in waves:
                yield from self.embed(wave[None])
            return
        yield from zip(values, stamps, strict=True)

    def write(self, split: str, name: str, values: np.ndarray, stamps: np.ndarray | None) -> None:
        """Write the files of one clip.

        Raises:
            HearError: the embedding holds NaN or infinity, on which heareval would stop.
        """
        if not np.isfinite(values).all():
            raise HearError(
                f"{self.model.spec}: the embedding of {name} holds NaN or infinity; mend the module"
            )
        # Plain strings: with three files a clip, Path objects took as long as the files.
        stem = f"{self.folder}/{split}/{name}"
        labels: Any = self.task.clips[split][name]
        if stamps is not None:
            labels = labels_at(labels, stamps)
            _write(f"{stem}.timestamps.json", stamps.tolist())
        _write(f"{stem}.target-labels.json", labels)
        if self.scenes is not None:
            self.scenes.put(split, name, values)
        beside = f"{stem}.embedding.npy.part"
        with open(beside, "wb") as file:
            np.save(file, values)
        os.replace(beside, f"{stem}.embedding.npy")
        self.effort.clips += 1


def _write(path: str, content: list[Any]) -> None:
    """Write a list to a JSON file."""
    with open(path, "w", encoding="utf-8") as file:
        file.write(json.dumps(content))
