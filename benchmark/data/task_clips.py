"""A task with the clips that it lists: of a data set, or of a HEAR task folder."""

import json
import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.data.clip import Clip, Task, missing_data
from benchmark.data.hear_folder import HearTask, read_task
from benchmark.data.registry import absent_files, completeness, list_clips, task_root
from benchmark.data.split import make_folds

BAD_SHARE = 0.01
"""Share of listed clips that may be unusable before the data counts as partial."""
SEED = 0
"""Of the order of clips within a split; one generator goes through all splits of a task."""


@dataclass(frozen=True)
class TaskClips:
    """A task and its clips."""

    task: Task
    clips: list[Clip]  #: that the task lists
    root: Path  #: of the task's data
    partial: str | None = None  #: what the data lacks of the official set
    hear: HearTask | None = None  #: the task folder where it is one of HEAR's


def read_clips(
    task: Task | Path, data_dir: Path | None = None, *, allow_partial: bool = False
) -> TaskClips:
    """List the clips of a task, or of a HEAR task folder, and check them before any work.

    Args:
        task: a data set, or the folder of a HEAR task.
        data_dir: folder of the data sets; None takes the default.
        allow_partial: whether a part of the data set will do.

    Raises:
        TaskDataError: the data is missing or malformed, or partial without leave.
        SplitError: the listed clips do not make the task's split, whatever files are there.
    """
    if isinstance(task, Path):
        hear = read_task(task)
        record = hear_source(hear)
        return TaskClips(record, record.index(task), task, hear=hear)
    root = task_root(task, data_dir)
    clips = list_clips(task, root)
    lack = completeness(task, clips)
    absent = absent_files(clips, root)
    if len(absent) > BAD_SHARE * len(clips):
        gone = f"{len(absent)} of {len(clips)} listed files are absent, the first is {absent[0]}"
        lack = f"{lack}; {gone}" if lack else gone
    if lack and not allow_partial:
        raise missing_data(task, root, f"{lack} (--allow-partial evaluates on what is there)")
    # Before hours of embedding; once more after it, on the clips that could be read.
    splits, groups = (np.array([getattr(c, name) for c in clips]) for name in ("split", "group"))
    make_folds(task.split_policy, splits, groups)
    return TaskClips(task, clips, root, lack)


def clip_order(hear: HearTask) -> dict[str, list[str]]:
    """Return the order in which heareval stores the clips of each split."""
    generator = random.Random(SEED)
    order = {}
    for split, clips in hear.clips.items():
        order[split] = list(clips)
        generator.shuffle(order[split])
    return order


def hear_source(hear: HearTask) -> Task:
    """Return a HEAR task as a record of our own, which lists clips in heareval's order.

    A clip's label is its one label; where it has several, or events, it is their JSON text, and the
    classes are the texts there are.
    """
    single = hear.embedding == "scene" and hear.prediction == "multiclass"

    def text(split: str, name: str) -> str:
        labels = hear.clips[split][name]
        return str(labels[0]) if single else json.dumps(labels, sort_keys=True)

    def index(root: Path) -> list[Clip]:
        return [
            Clip(f"{split}/{name}", f"{split}/{name}", text(split, name), split, f"{split}/{name}")
            for split, names in clip_order(hear).items()
            for name in names
        ]

    classes = hear.labels if single else tuple(dict.fromkeys(c.label for c in index(hear.folder)))
    return Task(
        name=hear.folder.name,
        title=f"HEAR: {hear.name}",
        classes=classes,
        split_policy="fixed" if hear.split_mode == "trainvaltest" else "folds",
        n_clips=hear.count,
        clip_seconds=None,
        licence="see the task's source",
        citation="J. Turian et al., HEAR: Holistic Evaluation of Audio Representations, 2022",
        sources=(),
        layout="the folder as HEAR publishes it",
        index=index,
    )
