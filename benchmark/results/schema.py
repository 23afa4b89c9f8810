"""One result, one JSON file: written whole or not at all, read strictly."""

import dataclasses
import hashlib
import json
import math
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

LONGEST = 120
"""Characters of a model in a file's name: file systems stop at 255 for the whole."""
METRICS = ("accuracy", "precision", "recall", "f1")


class ResultError(ValueError):
    """A result file that is damaged or not one of ours; one line with file and remedy."""


@dataclass(frozen=True)
class Result:
    """What one model scored on one task under one protocol.

    Attributes:
        task: name of the task.
        model: `module` or `module:weights`.
        protocol: name and version, such as "linear-1"; other protocols never share a column.
        n_clips: clips that were tested, on which all metrics stand.
        n_listed: clips the task listed.
        classes: labels by class number.
        metrics: value, low and high in percent (95 % over clips, those of one group together), by
            metric.
        by_class: the same by label and metric, for labels that have clips.
        fold_mean: unweighted mean and deviation of the folds' accuracies, in percent.
        folds: of each fold its name, number of clips, metrics, strength and validation curve.
        predictions: clip ids, true and predicted class numbers of all tested clips; and their
            groups, where clips share one.
        bad_clips: id and reason of every listed clip without an embedding.
        untrained: whether the model warned that its weights are untrained.
        partial: what the data lacks of the official set; None where it is complete.
        notes: what a reader of the scores must know.
        provenance: revision, versions, hashes, seeds, times, speed, machine.
        seeds: of a protocol run with several seeds their count, and the mean, deviation and
            values of accuracy and F1; all else is of the first seed. None where one was run.
        map: of some clips the first two principal components; see `embedding_map`.
        corrupted: by corruption the number of clips, the metrics, and the difference in accuracy
            to the same clips when clean; see `benchmark.corrupted.rescore`.
    """

    task: str
    model: str
    protocol: str
    n_clips: int
    n_listed: int
    classes: list[str]
    metrics: dict[str, dict[str, float]]
    by_class: dict[str, dict[str, dict[str, float]]]
    fold_mean: dict[str, float]
    folds: list[dict[str, Any]]
    predictions: dict[str, list[Any]]
    bad_clips: list[dict[str, str]]
    untrained: bool
    partial: str | None
    notes: list[str]
    provenance: dict[str, Any]
    seeds: dict[str, Any] | None = None
    map: dict[str, Any] | None = None
    corrupted: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def file_name(self) -> str:
        """The name of the file: task, model and protocol, safe on any system."""
        model = re.sub(r"[^A-Za-z0-9._]+", "_", self.model)
        if len(model) > LONGEST or "?" in self.model:  # mean=-5 and mean=5 read alike
            model = f"{model[-LONGEST:]}_{hashlib.sha256(self.model.encode()).hexdigest()[:8]}"
        return f"{self.task}--{model}--{self.protocol}.json"

    def labels(self) -> np.ndarray:
        """Return the true class numbers of the tested clips, int64 `[n_clips]`."""
        return np.array(self.predictions["label"], dtype=np.int64)

    def groups(self) -> np.ndarray | None:
        """Return the groups of the tested clips, `[n_clips]`; None where each is one of its own."""
        groups = self.predictions.get("group")
        return None if groups is None else np.array(groups)

    def predicted(self) -> np.ndarray:
        """Return the predicted class numbers of the tested clips, int64 `[n_clips]`."""
        return np.array(self.predictions["predicted"], dtype=np.int64)


def write_result(result: Result, folder: Path) -> Path:
    """Write a result into a folder, which is made, and return the file.

    Raises:
        ResultError: the result contradicts itself, or holds a number that is not finite.
        OSError: the folder cannot be written.
    """
    path = folder / result.file_name
    values = vars(result)  # no copies: `Result` holds plain values, and a place for every clip
    _check(values, path)
    try:
        text = json.dumps(values, indent=1, allow_nan=False)
    except ValueError as error:
        raise ResultError(f"{path}: {error}") from error
    # Numbers of a list go on one line: a file then has hundreds of lines, not one for each clip.
    text = re.sub(r"\[[^\[\]{}\"]*\]", lambda found: re.sub(r"\s+", " ", found.group()), text)
    folder.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    beside.write_text(text + "\n", encoding="utf-8")
    beside.replace(path)
    return path


def read_result(path: Path) -> Result:
    """Read a result and check that it says what a result must say.

    Raises:
        ResultError: the file is absent, damaged, or lacks or contradicts something.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_constant)
    except OSError as error:
        raise ResultError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ResultError(f"{path}: is no JSON result ({error}); run the benchmark again") from None
    _check(values, path)
    return Result(**values)


def read_results(place: Path) -> list[Result]:
    """Read a result file, or all results of a folder in the order of their names.

    Raises:
        ResultError: there is none, or one cannot be read.
    """
    paths = sorted(place.glob("*--*--*.json")) if place.is_dir() else [place]
    if not paths:
        raise ResultError(f"{place}: holds no result; run python -m benchmark.run --out {place}")
    return [read_result(path) for path in paths]


def _no_constant(name: str) -> float:
    """Refuse NaN and Infinity, which json reads although no JSON may hold them."""
    raise ValueError(f"holds {name}")


def _check(values: object, path: Path) -> None:
    """Raise ResultError unless values are those of a Result that agrees with itself."""
    remedy = "run the benchmark again"
    if not isinstance(values, dict):
        raise ResultError(f"{path}: is no result but a {type(values).__name__}; {remedy}")
    fields = {field.name for field in dataclasses.fields(Result)}
    # What has a default is absent from files of earlier versions, which had none of it.
    unset = dataclasses.MISSING
    optional = {
        f.name
        for f in dataclasses.fields(Result)
        if f.default is not unset or f.default_factory is not unset
    }
    needed = fields - optional
    for what, names in (("lacks", needed - set(values)), ("has unknown", set(values) - fields)):
        if names:
            raise ResultError(f"{path}: {what} {', '.join(sorted(names))}; {remedy}")
    metrics = values["metrics"]
    if not isinstance(metrics, dict) or set(metrics) != set(METRICS):
        raise ResultError(f"{path}: metrics must be {', '.join(METRICS)}; {remedy}")
    for name, interval in metrics.items():
        if set(interval) != {"value", "low", "high"} or not all(
            isinstance(x, int | float) and math.isfinite(x) and 0 <= x <= 100
            for x in interval.values()
        ):
            raise ResultError(f"{path}: {name} is no interval in percent: {interval}; {remedy}")
    predictions = values["predictions"]
    told = set(predictions) - {"group"} if isinstance(predictions, dict) else None
    if told != {"clip", "label", "predicted"}:
        raise ResultError(f"{path}: predictions need clip, label and predicted; {remedy}")
    lengths = {len(column) for column in predictions.values()}
    if lengths != {values["n_clips"]}:
        raise ResultError(
            f"{path}: n_clips is {values['n_clips']}, but predictions have "
            f"{' and '.join(map(str, sorted(lengths)))}; {remedy}"
        )
