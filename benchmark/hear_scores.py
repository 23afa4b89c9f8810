"""What heareval scored a model on a task: one record, one JSON file, apart from our own results.

A `Result` rests on the prediction of every clip, in percent with an interval; heareval leaves means
of its own measures, of which mAP and onset F are no share of right clips. So its scores are a
record of their own, in heareval's units, and never meet a linear probe's in a column.
"""

import dataclasses
import hashlib
import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmark.results.schema import LONGEST, ResultError
from wavebyol_hear.files.atomic import write_text

FOLDER = "hear"
"""Below the folder of the results, where no other result is looked for."""


@dataclass(frozen=True)
class HearScore:
    """What heareval measured of one model on one task folder.

    Attributes:
        task: name of the task folder, with version and mode.
        known: name of the HEAR task it holds in full; None where it is a part, or another task.
        model: `module` or `module:weights`.
        protocol: heareval's version, and its grid where that is not the default.
        metric: the first measure of the task, by which it is ranked.
        n_clips: of all splits.
        metrics: by measure the mean over the tested parts and, with two or more, their standard
            deviation (n - 1, as heareval gives it); as fractions, errors and d' as they are. Under
            "multilabel-2" also low and high, the mean's 95 % bootstrap interval over clips.
        folds: the measures of each tested part.
        hyperparameters: of the network heareval chose.
        untrained: whether the model warned that its weights are untrained.
        notes: what a reader of the scores must know.
        provenance: revision, versions, hashes, times, machine.
    """

    task: str
    known: str | None
    model: str
    protocol: str
    metric: str
    n_clips: int
    metrics: dict[str, dict[str, float | None]]
    folds: dict[str, dict[str, float]]
    hyperparameters: dict[str, Any]
    untrained: bool
    notes: list[str]
    provenance: dict[str, Any]

    @property
    def value(self) -> float:
        """The mean of the first measure."""
        value = self.metrics[self.metric]["mean"]
        assert value is not None  # only a deviation may be absent
        return value

    @property
    def shown(self) -> str:
        """The mean of the first measure, with its interval where it has one."""
        first = self.metrics[self.metric]
        interval = f" ({first['low']:.3f}-{first['high']:.3f})" if "low" in first else ""
        return f"{self.value:.3f}{interval}"

    @property
    def file_name(self) -> str:
        """The name of the file: task, model and protocol, safe on any system."""
        task, model = (re.sub(r"[^A-Za-z0-9._]+", "_", x) for x in (self.task, self.model))
        if len(model) > LONGEST or "?" in self.model:  # mean=-5 and mean=5 read alike
            model = f"{model[-LONGEST:]}_{hashlib.sha256(self.model.encode()).hexdigest()[:8]}"
        return f"{task[:LONGEST]}--{model}--{self.protocol}.json"


def means(folds: dict[str, dict[str, float]]) -> dict[str, dict[str, float | None]]:
    """Return mean and deviation over folds of every measure.

    Args:
        folds: one or more, with the same measures.
    """
    found: dict[str, dict[str, float | None]] = {}
    for name in next(iter(folds.values())):
        values = [fold[name] for fold in folds.values()]
        mean = math.fsum(values) / len(values)
        squares = math.fsum((value - mean) ** 2 for value in values)
        deviation = math.sqrt(squares / (len(values) - 1)) if len(values) > 1 else None
        found[name] = {"mean": mean, "deviation": deviation}
    return found


def finite_measures(
    folds: dict[str, dict[str, float]],
) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Return the measures that are finite on all folds, and the names of the others.

    d' is infinite as soon as one label is ranked without a mistake, which few test clips make easy.

    Args:
        folds: one or more, with the same measures.
    """
    names = next(iter(folds.values()))
    dropped = [
        name for name in names if not all(math.isfinite(one[name]) for one in folds.values())
    ]
    kept = {
        part: {name: value for name, value in one.items() if name not in dropped}
        for part, one in folds.items()
    }
    return kept, dropped


def not_finite(task: str, dropped: list[str]) -> list[str]:
    """Return the notes on measures of a task that were dropped."""
    return [f"{task}: {name} is not finite and left out" for name in dropped]


def write_score(score: HearScore, out: Path) -> Path:
    """Write a score below the folder of the results and return the file.

    Raises:
        ResultError: a number is not finite.
        OSError: the folder cannot be written.
    """
    path = out / FOLDER / score.file_name
    try:
        text = json.dumps(dataclasses.asdict(score), indent=1, allow_nan=False)
    except ValueError as error:
        raise ResultError(f"{path}: {error}") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text + "\n")
    return path


def read_scores(out: Path) -> list[HearScore]:
    """Read all scores below the folder of the results, in the order of their names.

    Raises:
        ResultError: a file is damaged or holds no score.
    """
    return [read_score(path) for path in sorted((out / FOLDER).glob("*--*--*.json"))]


def read_score(path: Path) -> HearScore:
    """Read one score.

    Raises:
        ResultError: the file is absent or damaged, or holds no score.
    """
    remedy = "run the benchmark again"
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ResultError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise ResultError(f"{path}: is no JSON score ({error}); {remedy}") from None
    fields = {field.name for field in dataclasses.fields(HearScore)}
    if not isinstance(values, dict) or set(values) != fields:
        raise ResultError(f"{path}: is no score of heareval's; {remedy}")
    metrics = values["metrics"]
    if not isinstance(metrics, dict) or values["metric"] not in metrics:
        raise ResultError(f"{path}: metrics lack {values['metric']}; {remedy}")
    for name, found in metrics.items():
        mean = found.get("mean") if isinstance(found, dict) else None
        if not isinstance(mean, int | float) or not math.isfinite(mean):
            raise ResultError(f"{path}: {name} has no finite mean; {remedy}")
    return HearScore(**values)
