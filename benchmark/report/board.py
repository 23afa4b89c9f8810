"""What a report shows of one protocol: models by tasks, each compared with a baseline."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmark.compare import Comparison, compare_pair
from benchmark.report.tables import TableError, in_order
from benchmark.results.failures import ResultKey
from benchmark.results.schema import Result, ResultError
from benchmark.stats.bootstrap import bootstrap_counts
from benchmark.stats.metrics import Interval
from benchmark.stats.paired import RESAMPLES, holm

BASELINES = ("baselines.log_mel", "baselines.content_random")
"""Taken as the baseline where none is named: features without any learning."""
LEVEL = 0.05
"""Of significance, after the correction."""


@dataclass(frozen=True)
class Cell:
    """One model on one task.

    Attributes:
        result: what was measured.
        comparison: with the baseline on shared clips; None for the baseline itself.
        adjusted: the p after Holm's correction over all comparisons of the board.
        why: the reason there is no comparison, where there should be one.
    """

    result: Result
    comparison: Comparison | None = None
    adjusted: float | None = None
    why: str = ""

    @property
    def verdict(self) -> int:
        """1 where significantly better than the baseline, -1 where worse, else 0."""
        if self.comparison is None or self.adjusted is None or self.adjusted >= LEVEL:
            return 0
        return 1 if self.comparison.left > self.comparison.right else -1


@dataclass(frozen=True)
class Board:
    """The results of one protocol.

    Attributes:
        protocol: name and version.
        tasks: by name, ascending.
        models: with the highest mean first; models without all tasks come last.
        baseline: the model that others are compared with; None where it has no result here.
        cells: by task and model.
        means: over all tasks by model, for models that have all.
        reasons: why there is no result, by task and model, where that is known.
    """

    protocol: str
    tasks: list[str]
    models: list[str]
    baseline: str | None
    cells: dict[tuple[str, str], Cell]
    means: dict[str, Interval]
    reasons: dict[tuple[str, str], str] = field(default_factory=dict)

    @property
    def gaps(self) -> dict[tuple[str, str], str]:
        """Why there is no result, for every (task, model) that has none."""
        places = [(task, model) for task in self.tasks for model in self.models]
        return {p: self.reasons.get(p, "not run") for p in places if p not in self.cells}

    def of_task(self, task: str) -> list[Cell]:
        """Return the cells of a task, best accuracy first."""
        found = [self.cells[task, model] for model in self.models if (task, model) in self.cells]
        return sorted(found, key=lambda cell: -cell.result.metrics["accuracy"]["value"])


def boards(
    results: Sequence[Result],
    baseline: str | None = None,
    missing: Mapping[ResultKey, str] | None = None,
) -> list[Board]:
    """Return one board for every protocol among the results.

    Args:
        results: of any protocols.
        baseline: the model to compare with; None takes the first of `BASELINES` that is there, or
            the first model by name.
        missing: why a (task, model, protocol) has no result; under a protocol that has some, task
            and model get a place all the same.

    Raises:
        TableError: the baseline has no result, or a model has two on one task under one protocol.
    """
    models = sorted({result.model for result in results})
    if baseline is not None and baseline not in models:
        raise TableError(f"no result of the baseline {baseline}: choose one of {', '.join(models)}")
    protocols = in_order({result.protocol for result in results})
    reasons: dict[str, dict[tuple[str, str], str]] = {protocol: {} for protocol in protocols}
    for (task, model, protocol), why in (missing or {}).items():
        if protocol in reasons:
            reasons[protocol][task, model] = why
    return [
        _board(protocol, [r for r in results if r.protocol == protocol], baseline, lacking)
        for protocol, lacking in reasons.items()
    ]


def _board(
    protocol: str,
    results: Sequence[Result],
    wanted: str | None,
    reasons: dict[tuple[str, str], str],
) -> Board:
    """Return the board of results of one protocol."""
    by_place: dict[tuple[str, str], Result] = {}
    for result in results:
        if by_place.setdefault((result.task, result.model), result) is not result:
            raise TableError(
                f"two results of {result.model} on {result.task} under {protocol}: keep one"
            )
    tested = {model for _, model in by_place}
    tasks = sorted({task for task, _ in [*by_place, *reasons]})
    models = sorted(tested | {model for _, model in reasons})
    baseline = wanted or next((name for name in BASELINES if name in tested), min(tested))
    means = {
        model: _mean([by_place[task, model] for task in tasks])
        for model in models
        if all((task, model) in by_place for task in tasks)
    }
    models.sort(key=lambda model: -means[model].value if model in means else 1.0)
    present = baseline if baseline in tested else None
    return Board(protocol, tasks, models, present, _compared(by_place, baseline), means, reasons)


def _compared(
    by_place: dict[tuple[str, str], Result], baseline: str
) -> dict[tuple[str, str], Cell]:
    """Return all results with their comparison to the baseline."""
    cells = {place: Cell(result) for place, result in by_place.items()}
    compared: dict[tuple[str, str], Comparison] = {}
    for (task, model), result in by_place.items():
        if model == baseline:
            continue
        if (task, baseline) not in by_place:
            cells[task, model] = Cell(result, why="the baseline has no result here")
            continue
        try:
            compared[task, model] = compare_pair(result, by_place[task, baseline])
        except ResultError as error:
            cells[task, model] = Cell(result, why=str(error))
    corrected = holm([comparison.p for comparison in compared.values()])
    for (place, comparison), adjusted in zip(compared.items(), corrected, strict=True):
        cells[place] = Cell(by_place[place], comparison, adjusted)
    return cells


def _mean(results: Sequence[Result]) -> Interval:
    """Return the mean accuracy over tasks; its interval has tasks fixed and clips resampled."""
    shares, sampled = [], []
    for number, result in enumerate(results):
        right = (result.labels() == result.predicted()).astype(np.int64)
        drawn = np.concatenate(list(bootstrap_counts(right, 2, result.groups(), RESAMPLES, number)))
        shares.append(float(right.mean()))
        sampled.append(drawn[:, 1] / drawn.sum(axis=1))
    low, high = np.percentile(np.mean(sampled, axis=0), [2.5, 97.5])
    return Interval(100 * float(np.mean(shares)), 100 * float(low), 100 * float(high))
