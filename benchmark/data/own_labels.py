"""A task of one's own, without code: `--csv labels.csv`, or `--folder DIR` of class folders."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from benchmark.data.clip import Clip, Task, TaskDataError
from benchmark.data.registry import load_tasks
from wavebyol_hear.files.labels import read_labels
from wavebyol_hear.files.tables import TableError


def own_tasks(sources: Sequence[Path]) -> list[Task]:
    """Return a task for each table of labels and each folder of classes."""
    tasks = [own_task(source) for source in sources]
    for i, task in enumerate(tasks):
        if task.name in [other.name for other in tasks[:i]]:
            raise TaskDataError(f"{sources[i]}: another source is called {task.name}; rename one")
    return tasks


def own_task(source: Path) -> Task:
    """Return the task of a table of labels or of class folders, named after it; see `read_labels`.

    Its data is where the table says, wherever the data folder is.
    """
    try:
        labeled = read_labels(source)
    except TableError as error:
        raise TaskDataError(str(error)) from error
    except OSError as error:
        raise TaskDataError(f"{source}: cannot be read ({error.strerror})") from error
    root = labeled.root.resolve()
    paths = [os.path.relpath(root / file.path, root) for file in labeled.files]
    clips = [
        Clip(file.path, path.replace(os.sep, "/"), file.labels[0], file.split, file.group)
        for file, path in zip(labeled.files, paths, strict=True)
    ]
    name = re.sub(r"[^\w.-]+", "_", source.resolve().stem if source.is_file() else root.name)
    return Task(
        name=f"{name}_labels" if name in load_tasks() else name,
        title=f"{source.name}, {len(clips)} labeled clips",
        licence="not stated",
        citation="",
        sources=(),
        layout="the files that the table names",
        classes=labeled.classes,
        split_policy="fixed" if labeled.fixed else "folds",
        n_clips=len(clips),
        clip_seconds=None,
        index=lambda _: clips,
        folder=str(root),
        note=labeled.note,
        labels={file.path: file.labels for file in labeled.files} if labeled.multilabel else None,
    )
