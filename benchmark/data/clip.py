"""The records of data: clip, archive, data set and task."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Literal

SplitPolicy = Literal["folds", "fixed"]
FIXED = ("train", "valid", "test")  # parts of a fixed split


class BenchmarkError(ValueError):
    """An error whose message is one line with the problem and the remedy."""


class TaskDataError(BenchmarkError):
    """Missing or malformed data; the message says where it was searched and what belongs there."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One labelled audio file of a task."""

    clip_id: str  #: unique within the task, stable from machine to machine
    path: str  #: of the file, relative to the task's root, with forward slashes
    #: one of the task's classes; checked when the task is embedded, not when it is listed
    label: str
    split: str  #: as published: "fold01", "fold02", ... or "train", "valid", "test".
    #: clips of a group (a speaker, a recording, an instrument) are never on both sides of a split,
    #: and are resampled together
    group: str


@dataclass(frozen=True, slots=True)
class Source:
    """One official archive of a data set."""

    url: str  #: of the archive, or of the form to fill in for access
    checksum: str = ""  #: "md5:..." or "sha256:..." as published, or ""
    size: int = 0  #: in bytes, as published, or 0
    #: whether the publisher may pack the archive again, so that bytes and checksum may change while
    #: the content is the same
    repacked: bool = False

    @property
    def file(self) -> str:
        """The archive's file name."""
        return self.url.rpartition("/")[2]


@dataclass(frozen=True)
class Corpus:
    """A data set that can be downloaded."""

    name: str
    title: str  #: for readers
    licence: str  #: of the audio
    citation: str  #: the publication to cite
    sources: tuple[Source, ...]  #: the official archives
    layout: str  #: files and folders below the data folder, as one line
    _: KW_ONLY
    folder: str = ""  #: name of the data folder, if not `name`
    top: str = ""  #: name of the folder that the archive unpacks to, if any
    by_hand: str = ""  #: how to get the data, as one line, if no command can download it


@dataclass(frozen=True)
class Task(Corpus):
    """A data set with its classes, its published split and the way to list its clips."""

    classes: tuple[str, ...]  #: all labels, in the order of the label numbers
    #: "folds" (every clip is tested once) or "fixed" (train, valid, test)
    split_policy: SplitPolicy
    n_clips: int  #: number of clips in the complete official set
    #: usual length of a clip in seconds, for fine-tuning; None where it varies
    clip_seconds: float | None
    #: lists the clips below a root; raises TaskDataError if the data is missing or malformed
    index: Callable[[Path], list[Clip]]
    #: for readers of the scores, such as that the split is not the published one
    note: str = ""
    #: returns a note on the split for the result, if it depends on the files that are there
    convention: Callable[[Path], str] | None = None
    #: all labels of each clip, by its id, if clips have several; `Clip.label` is the first
    labels: Mapping[str, Sequence[str]] | None = None
    labels_file: Path | None = None  #: the user's table or class folder, where that is the task

    @property
    def download_command(self) -> str:
        """The command that fetches the data, "" where none can."""
        if self.by_hand or not self.sources:
            return ""
        return f"python -m benchmark.download {self.folder or self.name}"

    @property
    def source(self) -> str:
        """The official sources as one line."""
        return ", ".join(f"{s.url} ({s.checksum})" if s.checksum else s.url for s in self.sources)


def missing_data(task: Task, looked_in: Path, what: str) -> TaskDataError:
    """The error of a task whose data is not there, with the folder, the remedy and the source."""
    fetch = f"run {task.download_command}, or " if task.download_command else ""
    text = f"{task.name}: {what} (looked in {looked_in}); {fetch}put there {task.layout}"
    return TaskDataError(f"{text}; official source: {task.source}" if task.sources else text)


def split_valid_clips(
    task: Task, clips: Sequence[Clip]
) -> tuple[list[Clip], list[tuple[str, str]]]:
    """Separate the clips whose label the task knows from errors: (clip id, message) of others."""
    twice = [name for name, n in Counter(clip.clip_id for clip in clips).items() if n > 1]
    if twice:
        raise TaskDataError(f"{task.name}: the clip {twice[0]} is listed twice; fix the list")
    known = set(task.classes)
    valid = [clip for clip in clips if clip.label in known]
    none = f"is none of the {len(known)} classes of {task.name}; fix the list"
    errors = [
        (clip.clip_id, f"{clip.path}: the label {clip.label!r} {none}")
        for clip in clips
        if clip.label not in known
    ]
    if not valid:
        raise TaskDataError(
            f"{task.name}: none of the {len(clips)} listed clips has a label of the task; put "
            f"there {task.layout}; official source: {task.source}"
        )
    return valid, errors
