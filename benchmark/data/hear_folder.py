"""Reading a HEAR task folder, with strict checks, and listing it as a task."""

import itertools
import json
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.data.archive_layout import read_json, read_table
from benchmark.data.clip import FIXED, Clip, Task, TaskDataError

METRICS = (
    *("top1_acc", "pitch_acc", "chroma_acc", "mAP", "d_prime", "aucroc", "segment_1s_er"),
    *("event_onset_200ms_fms", "event_onset_50ms_fms", "event_onset_offset_50ms_20perc_fms"),
)
"""Metrics of heareval 2021.1.3 (heareval/score.py, `available_scores`)."""
MODES = ("trainvaltest", "presplit_kfold", "new_split_kfold")
GRID = ("median_filter_ms", "min_duration")
SEED = 0  # of the order of clips within a split; one generator goes through all splits of a task


@dataclass(frozen=True)
class HearTask:
    """The validated content of a task folder."""

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
    try:
        metadata = read_json(path)
        embedding = _text(path, metadata, "embedding_type", ("scene", "event"))
        prediction = _text(path, metadata, "prediction_type", ("multiclass", "multilabel"))
        mode = _text(path, metadata, "split_mode", MODES)
        name, metrics = _text(path, metadata, "task_name"), _texts(path, metadata, "evaluation")
        splits = _texts(path, metadata, "splits")
        unknown = [metric for metric in metrics if metric not in METRICS]
        duration = metadata.get("sample_duration", "absent")
        if embedding == "event" and prediction != "multilabel":
            raise TaskDataError(f"{path}: an event task must be multilabel; fix prediction_type")
        if unknown:
            raise TaskDataError(
                f"{path}: evaluation names {unknown[0]!r}, which heareval does not have"
            )
        if duration is not None and not (_is_number(duration) and duration > 0):
            raise TaskDataError(f"{path}: sample_duration is {duration!r}; give seconds or null")
        for split in splits:
            _check_name(path, split)
        if mode == "trainvaltest" and set(splits) != set(FIXED):
            raise TaskDataError(f"{path}: splits are {', '.join(splits)}, not {', '.join(FIXED)}")
        if len(splits) < 3 or len(set(splits)) < len(splits):
            raise TaskDataError(f"{path}: needs three different splits or more, has {splits}")
        labels = _vocabulary(folder / "labelvocabulary.csv")
        kind = embedding, prediction
        clips = {split: _clips(folder / f"{split}.json", *kind, labels) for split in splits}
        grid = _postprocessing(path, metadata)
    except OSError as error:
        raise TaskDataError(
            f"{error.filename}: cannot be read ({error.strerror}); restore it"
        ) from error
    return HearTask(folder, name, *kind, mode, tuple(metrics), labels, clips, grid)


def clip_order(hear: HearTask) -> dict[str, list[str]]:
    """Return the order in which heareval stores the clips of each split."""
    generator = random.Random(SEED)
    order = {}
    for split, clips in hear.clips.items():
        order[split] = list(clips)
        generator.shuffle(order[split])
    return order


def hear_source(hear: HearTask) -> Task:
    """Return a HEAR task as a `Task`, which lists clips in heareval's order.

    For clips with several labels, or with events, the label is their JSON text, and the classes are
    all such texts.
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


def _postprocessing(path: Path, metadata: dict[str, Any]) -> tuple[tuple[float, float], ...]:
    """Return the postprocessing grid that the task specifies, or ()."""
    parameters = metadata.get("evaluation_params", {})
    grid = parameters.get("event_postprocessing_grid") if isinstance(parameters, dict) else None
    if grid is None:
        return ()
    values: list[Any] = [grid.get(name) for name in GRID] if isinstance(grid, dict) else [None]
    for one in values:
        if not isinstance(one, list) or not one or not all(_is_number(x) and x >= 0 for x in one):
            raise TaskDataError(f"{path}: event_postprocessing_grid lacks lists of {GRID}")
    return tuple((filter_ms, duration) for filter_ms, duration in itertools.product(*values))


def _vocabulary(path: Path) -> tuple[str, ...]:
    """Return the labels by number."""
    rows = [row for _, row in read_table(path, ("idx", "label"))]
    if sorted(row["idx"] for row in rows) != sorted(map(str, range(max(2, len(rows))))):
        raise TaskDataError(f"{path}: idx must count from 0, two labels or more; fetch it again")
    if len({row["label"] for row in rows}) < len(rows):
        raise TaskDataError(f"{path}: a label is listed twice; fetch it again")
    return tuple(row["label"] for row in sorted(rows, key=lambda row: int(row["idx"])))


def _clips(
    path: Path, embedding: str, prediction: str, vocabulary: Sequence[str]
) -> dict[str, list[Any]]:
    """Return the labels or events of a split's clips."""
    split, known = read_json(path), set(vocabulary)
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
        labels = [event["label"] for event in content] if embedding == "event" else content
        for label in labels:
            if str(label) not in known:
                raise TaskDataError(
                    f"{path}: {name} has the label {label!r:.60}, which labelvocabulary.csv has "
                    "not; fix one of them"
                )
        if prediction == "multiclass" and len(labels) != 1:
            raise TaskDataError(f"{path}: {name} has {len(labels)} labels, not one; fix it")
    return split


def _is_event(event: object) -> bool:
    """Return whether an event has a label, a start and a later end in ms."""
    if not isinstance(event, dict) or not {"label", "start", "end"} <= set(event):
        return False
    start, end = event["start"], event["end"]
    return _is_number(start) and _is_number(end) and bool(0 <= start <= end)


def _check_name(path: Path, name: str) -> None:
    """Raise unless a name is a plain file name."""
    if not name or name in (".", "..") or any(c in "/\\" or c < " " for c in name):
        raise TaskDataError(f"{path}: the name {name!r:.80} is not a plain file name; fix it")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _text(path: Path, metadata: dict[str, Any], key: str, choices: Sequence[str] = ()) -> str:
    """Return the text of a key, which is one of some where there are choices."""
    value = metadata.get(key)
    if not isinstance(value, str) or not value or (choices and value not in choices):
        wanted = f"not {' or '.join(choices)}" if choices else "not a text"
        raise TaskDataError(f"{path}: {key} is {value!r:.60}, {wanted}; fix it")
    return value


def _texts(path: Path, metadata: dict[str, Any], key: str) -> list[str]:
    """Return the texts of a key, one or more."""
    value = metadata.get(key)
    if not isinstance(value, list) or not value or not all(isinstance(x, str) for x in value):
        raise TaskDataError(f"{path}: {key} is {value!r:.60}; give a list of names")
    return value
