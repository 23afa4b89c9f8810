"""The models of one protocol in the order of their scores, each compared with a baseline."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.compare import compare_pair, same_data
from benchmark.report.table import TableError
from benchmark.results.schema import Result, ResultError, ResultKey
from benchmark.stats.paired import Paired, holm, mean_difference, paired

BASELINES = ("baselines.log_mel", "baselines.content_random")
"""Taken as the baseline where none is named: features without any learning."""
LEVEL = 0.05
"""Significance level, after the correction."""


@dataclass(frozen=True)
class Entry:
    """One model on one task."""

    result: Result
    comparison: Paired | None = None  #: with the baseline on shared clips
    adjusted: float | None = None  #: the p after Holm's correction over the protocol's comparisons
    reason: str = ""  #: why there is no comparison

    @property
    def mark(self) -> int:
        """1 where significantly better than the baseline, -1 where worse, else 0."""
        if self.comparison is None or self.adjusted is None or self.adjusted >= LEVEL:
            return 0
        return 1 if self.comparison.left > self.comparison.right else -1


@dataclass(frozen=True)
class Leaderboard:
    """The results of one protocol; entries and failures are by task and model."""

    protocol: str  #: name and version
    tasks: list[str]  #: by name, ascending
    models: list[str]  #: highest mean first; models without all tasks come last
    baseline: str | None  #: model to compare with; None if it has no result here
    entries: dict[tuple[str, str], Entry]
    #: over all tasks by model, for models that have all on common data: value, low and high
    means: dict[str, dict[str, float]]
    ranks: dict[str, int]  #: of these; tied models share the first one's
    #: difference of the first model to the baseline in points: value, low, high; None without one
    lead: dict[str, float] | None
    failures: dict[tuple[str, str], str]  #: why a pair has no result

    def of_task(self, task: str) -> list[Entry]:
        """Return the entries of a task, highest accuracy first."""
        present = [self.entries[task, m] for m in self.models if (task, m) in self.entries]
        return sorted(present, key=lambda entry: -accuracy(entry.result))


def accuracy(result: Result) -> float:
    """Return the accuracy of a result in percent."""
    return result.metrics["accuracy"]["value"]


def protocol_order(protocols: Iterable[str]) -> list[str]:
    """Return protocols by name and version, the linear probe before all others."""
    return sorted(protocols, key=lambda protocol: (not protocol.startswith("linear-"), protocol))


def leaderboards(
    results: Sequence[Result],
    baseline: str | None = None,
    failures: Mapping[ResultKey, str] | None = None,
) -> list[Leaderboard]:
    """Return one leaderboard per protocol that has results; failures get columns and rows too.

    The default baseline is the first of `BASELINES` that has a result under the protocol, or else
    the first model by name.

    Raises:
        TableError: the baseline has no result, or a model has two on one task under one protocol.
    """
    models = sorted({result.model for result in results})
    if baseline is not None and baseline not in models:
        raise TableError(f"no result of the baseline {baseline}: choose one of {', '.join(models)}")
    for key, count in Counter(result.key for result in results).items():
        if count > 1:
            raise TableError("two results of {1} on {0} under {2}: keep one".format(*key))
    boards = []
    for protocol in protocol_order({result.protocol for result in results}):
        by_key = {(r.task, r.model): r for r in results if r.protocol == protocol}
        reasons = {key[:2]: why for key, why in (failures or {}).items() if key[2] == protocol}
        boards.append(_leaderboard(protocol, by_key, baseline, reasons))
    return boards


def _leaderboard(
    protocol: str,
    by_key: dict[tuple[str, str], Result],
    baseline: str | None,
    reasons: dict[tuple[str, str], str],
) -> Leaderboard:
    tested = {model for _, model in by_key}
    baseline = baseline or next((name for name in BASELINES if name in tested), min(tested))
    tasks = sorted({task for task, _ in [*by_key, *reasons]})
    own = {
        model: [by_key[task, model] for task in tasks if (task, model) in by_key]
        for model in sorted(tested | {model for _, model in reasons})
    }

    def order(model: str) -> tuple[bool, float]:
        accuracies = [accuracy(result) for result in own[model]]
        return len(accuracies) < len(tasks), -float(np.mean(accuracies or [0.0]))

    models = sorted(own, key=order)
    # The data of most results on a task: means over other data are not comparable.
    counts = {task: Counter[str]() for task in tasks}
    for (task, _), result in by_key.items():
        counts[task][result.data_hash] += 1
    common = {task: count.most_common(1)[0][0] for task, count in counts.items() if count}
    complete = [
        model
        for model in models
        if len(own[model]) == len(tasks)
        and all(result.data_hash == common[result.task] for result in own[model])
    ]
    ranks: dict[str, int] = {}
    first = ""
    for position, model in enumerate(complete, start=1):
        if first and _tied(own[first], own[model]):
            ranks[model] = ranks[first]
        else:
            first, ranks[model] = model, position
    means = {model: _mean(own[model]) for model in complete}
    gaps = [(task, m) for task in tasks for m in models if (task, m) not in by_key]
    failures = {key: reasons.get(key, "not run") for key in gaps}
    entries, present = _compared(by_key, baseline), baseline if baseline in tested else None
    lead = None
    if baseline in complete[1:]:
        lead = _difference(own[complete[0]], own[baseline])
    return Leaderboard(protocol, tasks, models, present, entries, means, ranks, lead, failures)


def _compared(by_key: dict[tuple[str, str], Result], baseline: str) -> dict[tuple[str, str], Entry]:
    compared: dict[tuple[str, str], Paired] = {}
    reasons: dict[tuple[str, str], str] = {}
    for (task, model), result in by_key.items():
        if model == baseline:
            continue
        if (task, baseline) not in by_key:
            reasons[task, model] = "the baseline has no result here"
            continue
        if not same_data(result, by_key[task, baseline]):
            reasons[task, model] = "measured on other data; run both on the same data"
            continue
        try:
            compared[task, model] = compare_pair(result, by_key[task, baseline])
        except ResultError as error:
            reasons[task, model] = str(error)
    corrected = holm([comparison.p for comparison in compared.values()])
    adjusted = dict(zip(compared, corrected, strict=True))
    return {
        key: Entry(result, compared.get(key), adjusted.get(key), reasons.get(key, ""))
        for key, result in by_key.items()
    }


def _mean(results: Sequence[Result]) -> dict[str, float]:
    """Return the mean accuracy over tasks; its interval has tasks fixed and clips resampled."""
    if len(results) == 1:
        return results[0].metrics["accuracy"]
    above_none = []  # differences to a model that is always wrong
    for seed, result in enumerate(results):
        correct = result.labels() == result.predicted()
        above_none.append(paired(correct, np.zeros_like(correct), result.groups(), seed=seed))
    return mean_difference(above_none)


def _tied(one: Sequence[Result], other: Sequence[Result]) -> bool:
    """Return whether the interval of the difference of two models contains 0."""
    difference = _difference(one, other)
    return difference is not None and difference["low"] <= 0 <= difference["high"]


def _difference(one: Sequence[Result], other: Sequence[Result]) -> dict[str, float] | None:
    """Return the difference in the mean over tasks, with the interval of the paired bootstrap.

    None for results on different data, or without clips in common.
    """
    if not all(map(same_data, one, other)):
        return None
    try:
        pairs = zip(one, other, strict=True)
        compared = [compare_pair(a, b, seed=seed) for seed, (a, b) in enumerate(pairs)]
    except ResultError:
        return None
    return mean_difference(compared)
