"""One HEAR task folder, read strictly: it may come from anyone; its audio at a model's rate."""

import csv
import itertools
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.data.clip import FIXED, TaskDataError
from wavebyol_hear.files.atomic import regular

METRICS = (
    *("top1_acc", "pitch_acc", "chroma_acc", "mAP", "d_prime", "aucroc", "segment_1s_er"),
    *("event_onset_200ms_fms", "event_onset_50ms_fms", "event_onset_offset_50ms_20perc_fms"),
)
"""What heareval 2021.1.3 can measure (heareval/score.py, `available_scores`)."""
MODES = ("trainvaltest", "presplit_kfold", "new_split_kfold")
GRID = ("median_filter_ms", "min_duration")
LARGEST_TEXT = 1 << 30
"""Bytes of a text file above which it is no task's."""


@dataclass(frozen=True)
class HearTask:
    """What a task folder says, checked."""

    folder: Path  #: its name is the task's, with version and mode
    name: str  #: of the task, without them
    embedding: str  #: "scene" or "event"
    prediction: str  #: "multiclass" or "multilabel"
    split_mode: str  #: one of `MODES`
    metrics: tuple[str, ...]  #: that heareval measures; the first decides
    labels: tuple[str, ...]  #: by number
    #: by split and file name the clip's labels, or its events with label, start and end in ms; all
    #: as in the split's JSON file
    clips: dict[str, dict[str, list[Any]]]
    #: median filters in ms and minimum durations in ms of frame-wise predictions, to choose from on
    #: validation clips; () for heareval's own grid
    postprocessing: tuple[tuple[float, float], ...] = ()

    @property
    def count(self) -> int:
        """The number of clips of all splits."""
        return sum(map(len, self.clips.values()))


def read_task(folder: Path) -> HearTask:
    """Read a task folder's metadata, vocabulary and splits; no audio is read."""
    path = folder / "task_metadata.json"
    metadata = _read_json(path)
    embedding = _field(path, metadata, "embedding_type", ("scene", "event"))
    prediction = _field(path, metadata, "prediction_type", ("multiclass", "multilabel"))
    mode = _field(path, metadata, "split_mode", MODES)
    if embedding == "event" and prediction != "multilabel":
        raise TaskDataError(f"{path}: an event task must be multilabel; fix prediction_type")
    metrics = _names(path, metadata, "evaluation")
    unknown = [name for name in metrics if name not in METRICS]
    if unknown:
        raise TaskDataError(f"{path}: evaluation names {unknown[0]!r}, which heareval has not")
    duration = metadata.get("sample_duration", "absent")
    if duration is not None and not (_is_number(duration) and duration > 0):
        raise TaskDataError(f"{path}: sample_duration is {duration!r}; give seconds or null")
    splits = _names(path, metadata, "splits")
    for split in splits:
        _check_name(path, split)
    if mode == "trainvaltest" and set(splits) != set(FIXED):
        raise TaskDataError(f"{path}: splits are {', '.join(splits)}, not {', '.join(FIXED)}")
    if len(splits) < 3 or len(set(splits)) < len(splits):
        raise TaskDataError(f"{path}: needs three different splits or more, has {splits}")
    labels = _read_vocabulary(folder / "labelvocabulary.csv")
    clips = {split: _read_split(folder / f"{split}.json", embedding) for split in splits}
    kind = (embedding, prediction, mode, tuple(metrics))
    name, grid = _field(path, metadata, "task_name"), _postprocessing(path, metadata)
    task = HearTask(folder, name, *kind, labels, clips, grid)
    _check_labels(task)
    return task


def _postprocessing(path: Path, metadata: dict[str, Any]) -> tuple[tuple[float, float], ...]:
    """Return what the task itself says of postprocessing; () where it says nothing."""
    parameters = metadata.get("evaluation_params", {})
    grid = parameters.get("event_postprocessing_grid") if isinstance(parameters, dict) else None
    if grid is None:
        return ()
    values: list[Any] = [grid.get(name) for name in GRID] if isinstance(grid, dict) else [None]
    for one in values:
        if not isinstance(one, list) or not one or not all(_is_number(x) and x >= 0 for x in one):
            raise TaskDataError(f"{path}: event_postprocessing_grid lacks lists of {GRID}")
    return tuple((filter_ms, duration) for filter_ms, duration in itertools.product(*values))


def _read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object of a file."""
    try:
        if path.stat().st_size > LARGEST_TEXT:
            raise TaskDataError(f"{path}: is larger than {LARGEST_TEXT} bytes; fetch it again")
        with open(path, "rb", opener=regular) as file:
            content = json.load(file)
    except OSError as error:
        raise TaskDataError(f"{path}: cannot be read ({error.strerror}); restore it") from error
    except (ValueError, RecursionError) as error:
        raise TaskDataError(f"{path}: is no valid JSON ({error}); fetch it again") from error
    if not isinstance(content, dict):
        raise TaskDataError(f"{path}: holds no JSON object; fetch it again")
    return content


def _read_vocabulary(path: Path) -> tuple[str, ...]:
    """Return the labels by number."""
    try:
        with open(path, newline="", encoding="utf-8-sig", opener=regular) as table:
            rows = list(csv.DictReader(table))
        numbers = [int(row["idx"]) for row in rows]
        labels = [str(row["label"]) for row in rows]
    except OSError as error:
        raise TaskDataError(f"{path}: cannot be read ({error.strerror}); restore it") from error
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise TaskDataError(
            f"{path}: is no table of idx and label ({error}); fetch it again"
        ) from error
    if len(rows) < 2 or sorted(numbers) != list(range(len(rows))):
        raise TaskDataError(f"{path}: idx must count from 0, two labels or more; fetch it again")
    if len(set(labels)) < len(labels):
        raise TaskDataError(f"{path}: a label comes twice; fetch it again")
    return tuple(label for _, label in sorted(zip(numbers, labels, strict=True)))


def _read_split(path: Path, embedding: str) -> dict[str, list[Any]]:
    """Return the labels or events of a split's clips."""
    split = _read_json(path)
    if not split:
        raise TaskDataError(f"{path}: lists no clip; fetch it again")
    for name, content in split.items():
        _check_name(path, name)
        if not isinstance(content, list):
            raise TaskDataError(f"{path}: {name} has no list but {content!r:.60}; fetch it again")
        for event in content if embedding == "event" else ():
            if not _is_event(event):
                raise TaskDataError(
                    f"{path}: {name} has {event!r:.80}; an event needs label, start and end in ms"
                )
    return split


def _is_event(event: object) -> bool:
    """Return whether an event has a label, a start and a later end in ms."""
    if not isinstance(event, dict) or not {"label", "start", "end"} <= set(event):
        return False
    start, end = event["start"], event["end"]
    return _is_number(start) and _is_number(end) and bool(0 <= start <= end)


def _check_labels(task: HearTask) -> None:
    """Raise where a clip has a label outside the vocabulary, or not one where one is wanted."""
    known = set(task.labels)
    for split, clips in task.clips.items():
        path = task.folder / f"{split}.json"
        for name, content in clips.items():
            labels = [x["label"] for x in content] if task.embedding == "event" else content
            for label in labels:
                if str(label) not in known:
                    raise TaskDataError(
                        f"{path}: {name} has the label {label!r:.60}, which labelvocabulary.csv "
                        "has not; fix one of them"
                    )
            if task.prediction == "multiclass" and len(labels) != 1:
                raise TaskDataError(f"{path}: {name} has {len(labels)} labels, not one; fix it")


def _check_name(path: Path, name: str) -> None:
    """Raise unless a name is that of something directly in a folder."""
    if not name or name in (".", "..") or any(c in "/\\" or c < " " for c in name):
        raise TaskDataError(f"{path}: the name {name!r:.80} is no plain file name; fix it")


def _is_number(value: object) -> bool:
    """Return whether a value is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _field(path: Path, metadata: dict[str, Any], key: str, choices: Sequence[str] = ()) -> str:
    """Return the text of a key, which is one of some where there are choices."""
    value = metadata.get(key)
    if not isinstance(value, str) or not value or (choices and value not in choices):
        wanted = f"not {' or '.join(choices)}" if choices else "not a text"
        raise TaskDataError(f"{path}: {key} is {value!r:.60}, {wanted}; fix it")
    return value


def _names(path: Path, metadata: dict[str, Any], key: str) -> list[str]:
    """Return the texts of a key, one or more."""
    value = metadata.get(key)
    if not isinstance(value, list) or not value or not all(isinstance(x, str) for x in value):
        raise TaskDataError(f"{path}: {key} is {value!r:.60}; give a list of names")
    return value
