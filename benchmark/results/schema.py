"""One result: its record, the writer of its JSON file, and a reader that validates it."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from inspect import signature
from pathlib import Path
from typing import Annotated, Any, get_type_hints

import numpy as np

from benchmark.data.clip import BenchmarkError, Task
from benchmark.results.json_types import misfits
from wavebyol_hear.files.atomic import read_object, regular, write_text

SCHEMA = 2
"""Version of the files' format."""
MAX_NAME = 120
"""Maximum characters of a task or model in a file name; file systems allow 255 in total."""
METRICS = ("accuracy", "precision", "recall", "f1")
REMEDY = "run the benchmark again"
ResultKey = tuple[str, str, str]
"""Task, model and version of the protocol."""


class ResultError(BenchmarkError):
    """An invalid result file; one line with file and remedy."""


# The structure that readers rely on, checked by `misfits`; a file may contain more.
POINT = {"value": float, "low?": float, "high?": float, "deviation?": float}
FOLD = {
    "name": str,
    "metrics": {"*": POINT},
    "n_train?": int,
    "n_valid?": int,
    "n_test?": int,
    "validation?": list[dict[str, float]],
}
SEEDS = {"count": int, "*": {"mean": float, "deviation": float, "*": Any}}
MAP = {"x": list[float], "y": list[float], "label": list[int], "explained": list[float]}
CORRUPTED = {"n_clips": int, "metrics": {"*": POINT}, "difference": dict[str, float]}
COST = {
    "parameters": int | None,
    "gflop_per_second": float | None,
    "real_time_factor": float | None,
    "peak_bytes": int | None,
    "missing": dict[str, str],
    "counted": str,
}
PROVENANCE = {
    "git_revision?": str,
    "packages?": dict[str, str],
    "precision?": str,
    "data_hash?": str,
    "written?": str,
    "machine?": dict[str, Any],
    "cost?": COST,
    "labels_file?": str,
    "embedding_size?": int,
    "clips_per_second?": float,
}


@dataclass(frozen=True)
class Result:
    """The scores of one model on one task under one protocol.

    The second part of an `Annotated` type is the structure that readers of the file rely on.
    """

    task: str  #: name of the task
    model: str  #: `module` or `module:weights`
    protocol: str  #: name and version, such as "linear-1"
    n_clips: int  #: number of test clips; for heareval's metrics, clips of all splits
    #: by name the value and, where known, its 95 % interval (low, high; over clips, resampled by
    #: group) and its standard deviation over folds (n - 1); see `unit`
    metrics: Annotated[dict[str, dict[str, float]], {"*": POINT}]
    folds: Annotated[list[dict[str, Any]], [FOLD]]
    untrained: bool  #: whether the model warned that its weights are untrained
    notes: list[str]  #: for readers of the scores
    #: code revision, versions, hashes, seeds, times, speed, machine
    provenance: Annotated[dict[str, Any], PROVENANCE]
    metric: str = "accuracy"  #: by which the task is ranked
    #: "percent", or "own" if metrics are in HEAR's own units: fractions, d', error rates
    unit: str = "percent"
    n_listed: int = 0  #: clips the task listed, usable or not
    classes: list[str] = field(default_factory=list)  #: labels by class number
    #: metrics by label, for labels that have clips
    by_class: Annotated[
        dict[str, dict[str, dict[str, float]]],
        {"*": {"precision": POINT, "recall": POINT, "f1": POINT}},
    ] = field(default_factory=dict)
    #: unweighted mean and deviation of the folds' accuracies, in percent
    fold_mean: dict[str, float] = field(default_factory=dict)
    #: ids, true and predicted class numbers of all test clips, and their groups if clips share
    #: them; empty if `unit` is "own"
    predictions: dict[str, list[Any]] = field(default_factory=dict)
    #: id and reason of every listed clip without an embedding
    bad_clips: Annotated[list[dict[str, str]], [{"clip": str, "reason": str}]] = field(
        default_factory=list
    )
    #: what the data lacks of the official set; None where it is complete
    partial: str | None = None
    hear_task: str | None = None  #: name of the HEAR task, if the data is all of it
    #: with several seeds: mean, standard deviation and values of accuracy and F1; all other fields
    #: are those of the first seed
    seeds: Annotated[dict[str, Any] | None, SEEDS] = None
    map: Annotated[dict[str, Any] | None, MAP] = None  #: see `embedding_map`
    #: by corruption; see `benchmark.results.score.rescore`
    corrupted: Annotated[dict[str, dict[str, Any]], {"*": CORRUPTED}] = field(default_factory=dict)
    schema: int = SCHEMA  #: of the file

    @property
    def key(self) -> ResultKey:
        """Task, model and protocol, which identify a result."""
        return self.task, self.model, self.protocol

    @property
    def data_hash(self) -> str:
        """The hash of audio, labels, splits and groups; "" in results of earlier versions."""
        return str(self.provenance.get("data_hash", ""))

    @property
    def file_name(self) -> str:
        """The name of the file, from task, model and protocol, valid on any system."""
        task = re.sub(r"[^A-Za-z0-9._]+", lambda part: "-" if part[0] == "-" else "_", self.task)
        model = re.sub(r"[^A-Za-z0-9._]+", "_", self.model)
        return f"{_short(task, self.task)}--{_short(model, self.model)}--{self.protocol}.json"

    def labels(self) -> np.ndarray:
        """Return the true class numbers of the tested clips, int64 `[n_clips]`."""
        return np.array(self.predictions["label"], dtype=np.int64)

    def predicted(self) -> np.ndarray:
        """Return the predicted class numbers of the tested clips, int64 `[n_clips]`."""
        return np.array(self.predictions["predicted"], dtype=np.int64)

    def groups(self) -> np.ndarray | None:
        """Return the groups of the tested clips, `[n_clips]`; None where each is one of its own."""
        groups = self.predictions.get("group")
        return None if groups is None else np.array(groups)


def _short(safe: str, name: str) -> str:
    """Return the end of a safe name, with a hash if the original name was different or longer."""
    if len(safe) <= MAX_NAME and safe == name:
        return safe
    return f"{safe[-MAX_NAME:]}_{hashlib.sha256(name.encode(errors='replace')).hexdigest()[:8]}"


def write_result(result: Result, folder: Path) -> Path:
    """Write a result to a folder, which is created, and return the file.

    Raises:
        ResultError: the result contradicts itself, holds a number that is not finite, or would
            replace that of other labels of one name.
        OSError: the folder cannot be written.
    """
    path = folder / result.file_name
    _refuse_other_labels(result.provenance.get("labels_file"), read_object(path), path)
    try:
        text = json.dumps(vars(result), indent=1, allow_nan=False)
    except ValueError as error:
        raise ResultError(f"{path}: {error}") from error
    _check(vars(result), path)
    # Lists of numbers go on one line: otherwise the file would have a line for each clip.
    text = re.sub(r"\[[^\[\]{}\"]*\]", lambda part: re.sub(r"\s+", " ", part.group()), text)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(path, text + "\n")
    return path


def read_result(path: Path) -> Result:
    """Read a result and check types, ranges and lengths.

    Raises:
        ResultError: the file is absent, damaged, of a newer schema, or contradicts itself.
    """
    try:
        with open(path, encoding="utf-8", opener=regular) as file:
            values = json.load(file, parse_constant=_refuse_constant)
    except OSError as error:
        raise ResultError(f"{path}: cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise ResultError(f"{path}: is not a JSON result ({error}); {REMEDY}") from None
    if not isinstance(values, dict):
        raise ResultError(f"{path}: is not a result but a {type(values).__name__}; {REMEDY}")
    version = values.get("schema")
    if isinstance(version, int) and version > SCHEMA:
        raise ResultError(f"{path}: has schema {version}, newer than {SCHEMA}; update this program")
    _check(values, path)
    return Result(**values)


def read_results(path: Path, bad: list[str] | None = None) -> list[Result]:
    """Read a result file, or all results of a folder in the order of their names.

    `bad` receives a line on each file of a folder that cannot be read, and the others are returned;
    without it the first one raises.

    Raises:
        ResultError: there is none, or one cannot be read.
    """
    if not path.is_dir():
        return [read_result(path)]
    paths = sorted(path.glob("*--*--*.json"))
    if not paths:
        raise ResultError(f"{path}: holds no result; run python -m benchmark.run --out {path}")
    results: list[Result] = []
    for each in paths:
        try:
            results.append(read_result(each))
        except ResultError as error:
            if bad is None:
                raise
            bad.append(str(error))
    return results


def refuse_other_labels(tasks: Iterable[Task], folder: Path) -> None:
    """Check that the folder holds no results of other labels under the name of a task.

    Raises:
        ResultError: the folder holds results of another table or class folder under a task's name.
    """
    files = {task.name: str(task.labels_file) for task in tasks if task.labels_file}
    if not files or not any(folder.glob("*--*--*.json")):
        return
    for result in read_results(folder, bad=[]):
        _refuse_other_labels(files.get(result.task), vars(result), folder / result.file_name)


def _refuse_other_labels(own: str | None, values: dict[str, Any], path: Path) -> None:
    """Raise ResultError where a file's values are of other labels than one's own."""
    provenance = values.get("provenance")
    other = provenance.get("labels_file") if isinstance(provenance, dict) else None
    if own and other and own != other:
        raise ResultError(
            f"{path} is the result of other labels ({other}): give another --out, or rename {own}"
        )


def _refuse_constant(name: str) -> float:  # NaN and Infinity, which no JSON may hold
    raise ValueError(f"holds {name}")


HINTS = get_type_hints(Result, include_extras=True)
REQUIRED = {p.name for p in signature(Result).parameters.values() if p.default is p.empty}


def _check(values: dict[str, Any], path: Path) -> None:
    """Raise ResultError unless values are those of a Result that agrees with itself."""

    def refuse(what: str) -> ResultError:
        return ResultError(f"{path}: {what}; {REMEDY}")

    differences = {"lacks": REQUIRED - set(values), "has unknown": set(values) - set(HINTS)}
    for what, names in differences.items():
        if names:
            raise refuse(f"{what} {', '.join(sorted(names))}")
    for name, value in values.items():
        for wrong in misfits(value, HINTS[name], name):
            raise refuse(wrong)
    metrics, n_clips = values["metrics"], values["n_clips"]
    metric, unit = values.get("metric", "accuracy"), values.get("unit", "percent")
    if unit == "own" and metric in metrics:
        return
    if unit != "percent":
        raise refuse(f"metrics lack {metric}" if unit == "own" else f"the unit is {unit!r}")
    if set(metrics) != set(METRICS):
        raise refuse(f"metrics must be {', '.join(METRICS)}")
    for name, point in metrics.items():
        inside = all(0 <= x <= 100 for x in point.values())
        if {"low", "high"} - set(point) or not inside or point["low"] > point["high"]:
            raise refuse(f"{name} is not an interval in percent: {point}")
    predictions = values.get("predictions", {})
    if set(predictions) - {"group"} != {"clip", "label", "predicted"}:
        raise refuse("predictions need clip, label and predicted")
    lengths = {len(column) for column in predictions.values()}
    if lengths != {n_clips} or not n_clips:
        counted = " and ".join(map(str, sorted(lengths)))
        raise refuse(f"n_clips is {n_clips}, but predictions have {counted}")
    for name in ("label", "predicted"):
        numbers = np.array(predictions[name])
        outside = numbers.dtype.kind != "i" or numbers.min() < 0
        if outside or numbers.max() >= len(values["classes"]):
            raise refuse(f"predictions: {name} holds what is not a class number")
    for name in ("clip", "group"):
        if not all(isinstance(each, str) for each in predictions.get(name, ())):
            raise refuse(f"predictions: a {name} is not text")
    share = 100 * np.mean(np.equal(predictions["label"], predictions["predicted"]))
    if abs(share - metrics["accuracy"]["value"]) > 1e-6:
        raise refuse(f"accuracy is {metrics['accuracy']['value']}, but predictions have {share}")
    if points := values.get("map"):
        sizes = {len(points[name]) for name in ("x", "y", "label")}
        if len(sizes) > 1 or len(points["explained"]) != 2:
            raise refuse("the map's columns are of several lengths")
        if not set(points["label"]) <= set(range(len(values["classes"]))):
            raise refuse("the map holds what is not a class number")
