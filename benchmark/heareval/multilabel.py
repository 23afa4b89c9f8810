"""The protocol "multilabel-2": a logistic regression per label, for clips of any number of labels.

C is selected on validation rows; the probe is fitted again on training and validation rows together
and then sees the test rows of every fold once.
"""

import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

import numpy as np

from benchmark.data.registry import TaskClips
from benchmark.data.split import Fold, make_folds
from benchmark.embed.embed import EmbeddedTask
from benchmark.probes.linear import C_GRID, LinearProbe, logistic_path
from benchmark.probes.rows import Examples, ProbeError, Rows, Selection, check_validation
from benchmark.results.schema import Result
from benchmark.results.score import SEED, Subject, measure_result
from benchmark.stats.ranking import MEASURES, bootstrap, interval, ranking

PROTOCOL = "multilabel-2"
"""Changes whenever the same embeddings could score otherwise; results then no longer mix.

In "multilabel-1" all values of C were tried.
"""


def select_and_predict(
    embeddings: np.ndarray,
    targets: np.ndarray,
    fold: Fold,
    measure: Callable[[np.ndarray, np.ndarray], float],
    *,
    c_grid: Sequence[float] = C_GRID,
    device: str = "cpu",
) -> tuple[Selection, np.ndarray]:
    """Select C on validation rows, fit again, and predict the labels of the test rows.

    Values of C are tried from the strongest regularization on until the measure has fallen twice in
    a row: the weakest take most iterations by far, and few sets ever select them. A tie goes to the
    strongest regularization.

    Args:
        embeddings: possibly memory-mapped `[n, D]`.
        targets: whether a row has a label, bool `[n, K]`.
        fold: whose test rows are read once, after the selection.
        measure: decides among values of C: (probabilities `[n, K]`, targets `[n, K]`) -> a score,
            the higher the better.
        c_grid: values to compare, scikit-learn's C, ascending.
        device: torch device that does the work.

    Returns:
        the selection, with all values of the measure, and the probability of each label for each
        test row, float32 `[n, K]`.

    Raises:
        ProbeError: a part has no row, the measure is NaN or infinite on the validation rows, or an
            embedding is.
    """
    unlabeled = np.full(len(embeddings), -1)
    train, valid, development = next(Examples(embeddings, unlabeled, [fold], 0).parts())
    check_validation([valid])
    probes: list[LinearProbe] = []
    values: list[float] = []
    # Closing lets go of the training rows before the last fit reads its own.
    with closing(logistic_path(train, targets[fold.train], c_grid, device=device)) as path:
        for probe in path:
            probes.append(probe)
            values.append(measure(probe.probabilities(valid), targets[fold.valid]))
            if not np.isfinite(values[-1]):
                raise ProbeError(
                    f"fold {fold.name}: the measure to select by is {values[-1]} on the validation "
                    "rows; every label needs rows with it and rows without"
                )
            if len(values) > 2 and values[-3] > values[-2] > values[-1]:
                break
    best = int(np.argmax(values))
    (final,) = logistic_path(
        development, targets[fold.development], c_grid[best:][:1], device=device, start=probes[best]
    )
    converged = all(probe.converged.all() for probe in [*probes, final])
    selection = Selection(c_grid[best], tuple(zip(c_grid, values, strict=False)), converged)
    return selection, final.probabilities(Rows(embeddings, unlabeled, fold.test))


def multilabel_result(subject: Subject) -> Result:
    """Score clips of several labels under "multilabel-2".

    A HEAR task is ranked by the first of its measures that we have, a mean over folds. Its clips
    are resampled one by one, as its folder does not say which share a speaker or an uploader. A
    table of the user's is ranked by the mAP over the test clips of all folds together, so that a
    label need not occur in every fold; clips of one group are resampled together.

    Raises:
        ProbeError: nothing can be trained on a fold, or the metric is not finite.
    """
    hear, embedded, start = subject.source.hear, subject.embedded, time.monotonic()
    assert isinstance(embedded, EmbeddedTask)
    if not hear:
        note = f"{subject.source.task.name}: clips have several labels, so {PROTOCOL} alone is run"
        note += ", and no corruption is scored" * bool(subject.corrupted)
        subject = subject.with_note(note)
    targets = label_table(subject.source, embedded.clip_ids)
    metric = next((name for name in (hear.metrics if hear else ()) if name in MEASURES), "mAP")
    parts: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    chosen: dict[str, dict[str, Any]] = {}
    for fold in make_folds(subject.source.task.split_policy, embedded.splits, embedded.groups):
        selection, probabilities = select_and_predict(
            embedded.embeddings,
            targets,
            fold,
            lambda scores, truth: _measures(scores, truth)[metric],
            device=subject.device,
        )
        parts[fold.name] = probabilities, fold.test
        chosen[fold.name] = {"strength": selection.value}
        if not selection.converged:
            subject = subject.not_converged()
    if not hear:
        every, rows = zip(*parts.values(), strict=True)
        parts = {"all folds": (np.concatenate(every), np.concatenate(rows))}
    tested = {name: (p, targets[rows]) for name, (p, rows) in parts.items()}
    result = measure_result(
        subject,
        PROTOCOL,
        {name: _measures(*part) for name, part in tested.items()},
        metric=metric,
        seconds=time.monotonic() - start,
        chosen=chosen,
        settings=None if hear else {"strength": chosen},
    )
    drawn = [
        bootstrap(*tested[name], None if hear else embedded.groups[rows], SEED + i)
        for i, (name, (_, rows)) in enumerate(parts.items())
    ]
    for name, point in result.metrics.items():
        ends = interval(name, point["value"], np.mean([one[name] for one in drawn], axis=0))
        if ends:
            point |= {"low": ends[0], "high": ends[1]}
    return result


def label_table(source: TaskClips, clip_ids: np.ndarray) -> np.ndarray:
    """Return which labels clips have, bool `[n, K]`."""
    names, labels, hear = source.task.classes, source.task.labels, source.hear
    if hear:
        names = hear.labels
        listed = (
            (f"{split}/{name}", x) for split, y in hear.clips.items() for name, x in y.items()
        )
        labels = {clip: tuple(map(str, each)) for clip, each in listed}
    assert labels is not None
    return np.array([[name in labels[clip] for name in names] for clip in clip_ids])


def _measures(scores: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Return all measures of one part."""
    values = ranking(scores, targets, np.ones((len(scores), 1), dtype=np.float32))
    return {name: float(value[0]) for name, value in values.items()}
