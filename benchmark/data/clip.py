"""The records that travel between the benchmark's parts: a clip, where it is from, and a task."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SplitPolicy = Literal["folds", "fixed"]


class TaskDataError(ValueError):
    """Data that is missing or malformed: says where it was looked for and what to put there."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One labelled sound file of a task.

    Attributes:
        clip_id: unique within the task, stable from machine to machine.
        path: of the file, relative to the task's root, with forward slashes.
        label: one of the task's classes; checked when the task is embedded, not when it is listed.
        split: as published: "fold01", "fold02", ... or "train", "valid", "test".
        group: what may never stand on both sides of a split (a speaker, a recording, a programme).
    """

    clip_id: str
    path: str
    label: str
    split: str
    group: str


@dataclass(frozen=True, slots=True)
class Source:
    """One official archive of a data set.

    Attributes:
        url: of the archive, or of the form one must fill in to get it.
        checksum: "md5:..." or "sha256:..." as published; "" where none was found.
        size: in bytes, as published; 0 where it was not found.
        repacked: whether the publisher packs the archive anew at will, so that its bytes and
            checksum may differ while its content is the same.
    """

    url: str
    checksum: str = ""
    size: int = 0
    repacked: bool = False

    @property
    def file(self) -> str:
        """The archive's file name."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class Corpus:
    """A data set to pretrain on: what `benchmark.download` must know of it.

    Attributes:
        name: of the set and of its data folder.
        title: for readers.
        licence: of the audio.
        citation: the publication to cite.
        sources: the official archives.
        layout: what the archives put below the folder, as one line.
    """

    name: str
    title: str
    licence: str
    citation: str
    sources: tuple[Source, ...]
    layout: str


@dataclass(frozen=True)
class Task:
    """A data set with its classes, its published split and the way to list its clips.

    Attributes:
        name: of the task, of its module and, unless `folder` says otherwise, of its data folder.
        title: for readers.
        classes: all labels, in the order of the label numbers.
        split_policy: "folds" (every clip is tested once) or "fixed" (train, valid, test).
        sample_counts: number of clips in the complete official set.
        clip_seconds: usual length of a clip in seconds, for information; None where it varies.
        licence: of the audio.
        citation: the publication to cite.
        sources: the official archives.
        layout: what to put where below `root`, as one line.
        index: lists the clips below a root; raises TaskDataError where it cannot.
        metric: headline metric.
        folder: name of the data folder where it is another task's; "" means `name`.
        note: what a reader of the scores must know, e.g. that a split is not the published one.
        by_hand: how to get the data where no command can fetch the sources, as one line.
        convention: where `index` chooses between splits by what it finds, says which it took; the
            answer belongs in the result.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    split_policy: SplitPolicy
    sample_counts: int
    clip_seconds: float | None
    licence: str
    citation: str
    sources: tuple[Source, ...]
    layout: str
    index: Callable[[Path], list[Clip]]
    metric: str = "accuracy"
    folder: str = ""
    note: str = ""
    by_hand: str = ""
    convention: Callable[[Path], str] | None = None

    @property
    def source(self) -> str:
        """The official sources as one line."""
        return ", ".join(f"{s.url} ({s.checksum})" if s.checksum else s.url for s in self.sources)


def missing_data(task: Task, looked_in: Path, what: str) -> TaskDataError:
    """The error of a task whose data is not there, with the place, the remedy and the source.

    Args:
        task: the task that was asked for.
        looked_in: the folder or file that was looked for.
        what: what was wrong there, as a clause.
    """
    return TaskDataError(
        f"{task.name}: {what} (looked in {looked_in}); put there {task.layout}; "
        f"official source: {task.source}"
    )
