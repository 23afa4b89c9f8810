"""The records of data: a clip, its archive and its task; and the check of what a task lists."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

SplitPolicy = Literal["folds", "fixed"]
FIXED = ("train", "valid", "test")
"""Parts of a fixed split."""


class TaskDataError(ValueError):
    """Data that is missing or malformed: says where it was looked for and what to put there."""


@dataclass(frozen=True, slots=True)
class Clip:
    """One labelled audio file of a task.

    Attributes:
        clip_id: unique within the task, stable from machine to machine.
        path: of the file, relative to the task's root, with forward slashes.
        label: one of the task's classes; checked when the task is embedded, not when it is listed.
        split: as published: "fold01", "fold02", ... or "train", "valid", "test".
        group: clips of one group are never on two sides of a split, and are resampled together (a
            speaker, a recording, a program).
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
        checksum: "md5:..." or "sha256:..." as published; "" where none is.
        size: in bytes, as published; 0 where none is.
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
    """A data set that can be downloaded.

    Attributes:
        name: of the set and, unless a task says otherwise, of its data folder.
        title: for readers.
        licence: of the audio.
        citation: the publication to cite.
        sources: the official archives.
        layout: what to put where below the folder, as one line.
    """

    name: str
    title: str
    licence: str
    citation: str
    sources: tuple[Source, ...]
    layout: str


@dataclass(frozen=True)
class Task(Corpus):
    """A data set with its classes, its published split and the way to list its clips.

    Attributes:
        name: of the task, of its module and, unless `folder` says otherwise, of its data folder.
        classes: all labels, in the order of the label numbers.
        split_policy: "folds" (every clip is tested once) or "fixed" (train, valid, test).
        n_clips: number of clips in the complete official set.
        clip_seconds: usual length of a clip in seconds, for fine-tuning; None where it varies.
        index: lists the clips below a root; raises TaskDataError where it cannot.
        folder: name of the data folder where it is another task's; "" means `name`.
        top: name of the folder that the archive itself unpacks to, "" for none.
        note: what a reader of the scores must know, e.g. that a split is not the published one.
        by_hand: how to get the data where no command can fetch the sources, as one line.
        convention: where `index` chooses between splits by what is there, or a published list has
            exceptions, says which; the answer belongs in the result.
    """

    classes: tuple[str, ...]
    split_policy: SplitPolicy
    n_clips: int
    clip_seconds: float | None
    index: Callable[[Path], list[Clip]]
    folder: str = ""
    top: str = ""
    note: str = ""
    by_hand: str = ""
    convention: Callable[[Path], str] | None = None

    @property
    def source(self) -> str:
        """The official sources as one line."""
        return ", ".join(f"{s.url} ({s.checksum})" if s.checksum else s.url for s in self.sources)


def missing_data(task: Task, looked_in: Path, what: str) -> TaskDataError:
    """The error of a task whose data is not there, with the folder, the remedy and the source."""
    return TaskDataError(
        f"{task.name}: {what} (looked in {looked_in}); put there {task.layout}; "
        f"official source: {task.source}"
    )


def split_valid_clips(
    task: Task, clips: Sequence[Clip]
) -> tuple[list[Clip], list[tuple[str, str]]]:
    """Separate the clips whose label the task knows from errors: (clip id, message) of the others.

    Raises:
        TaskDataError: where two clips share an id or no clip is left.
    """
    seen: set[str] = set()
    for clip in clips:
        if clip.clip_id in seen:
            raise TaskDataError(
                f"{task.name}: the clip {clip.clip_id} is listed twice; fix the list"
            )
        seen.add(clip.clip_id)
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
