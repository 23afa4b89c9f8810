"""HEAR's scene tasks of several labels a clip (FSD50K) under the protocol "multilabel-2"."""

import time

import numpy as np

from benchmark.data.hear_catalogue import known_name
from benchmark.data.hear_folder import HearTask
from benchmark.data.split import make_folds
from benchmark.hear_scores import HearScore, finite_measures, means, not_finite
from benchmark.heareval.embedded import About
from benchmark.heareval.form import clip_order
from benchmark.heareval.scene_rows import scene_rows
from benchmark.measure import SEED
from benchmark.probes.multilabel import PROTOCOL, MultilabelResult, evaluate_fold
from benchmark.probes.rows import ProbeError
from benchmark.stats.ranking import MEASURES, bootstrap, interval, ranking


def label_score(task: HearTask, about: About) -> HearScore:
    """Score a scene task under "multilabel-2" by the task's own measures.

    Args:
        task: read and checked.
        about: the model and its embeddings.

    Raises:
        ProbeError: nothing can be trained on a fold, or the first measure is not finite.
    """
    listed = [(split, name) for split, names in clip_order(task).items() for name in names]
    targets = label_table(task, listed)
    splits = np.array([split for split, _ in listed])
    policy = "fixed" if task.split_mode == "trainvaltest" else "folds"
    metric = next((name for name in task.metrics if name in MEASURES), MEASURES[0])
    start = time.monotonic()
    found: dict[str, MultilabelResult] = {}
    parts: list[tuple[np.ndarray, np.ndarray]] = []
    with scene_rows(task, about.embedded.folder) as rows:
        names = np.array([f"{split}/{name}" for split, name in listed])
        for fold in make_folds(policy, splits, names):  # type: ignore[arg-type]
            found[fold.name] = evaluate_fold(
                rows,
                targets,
                fold,
                lambda scores, truth: _point(scores, truth)[metric],
                device=about.device,
            )
            parts.append((found[fold.name].probabilities, targets[fold.test]))
    folds = {name: _point(*part) for name, part in zip(found, parts, strict=True)}
    notes = list(about.notes)
    if not all(one.converged for one in found.values()):
        notes.append(f"{task.folder.name}, {about.spec}: a probe did not reach its tolerance")
    folds, dropped = finite_measures(folds)
    if metric in dropped:
        raise ProbeError(f"{task.folder.name}: {metric} is not defined on the test clips")
    notes += not_finite(task.folder.name, dropped)
    return HearScore(
        task=task.folder.name,
        known=known_name(task.folder.name),
        model=about.spec,
        protocol=PROTOCOL,
        metric=metric,
        n_clips=task.count,
        metrics=_with_intervals(means(folds), parts),
        folds=folds,
        hyperparameters={name: {"strength": one.selection.value} for name, one in found.items()},
        untrained=about.untrained,
        notes=notes,
        provenance=about.provenance() | {"probe_seconds": time.monotonic() - start},
    )


def label_table(task: HearTask, listed: list[tuple[str, str]]) -> np.ndarray:
    """Return which labels clips have, bool `[n, K]`.

    Args:
        task: read and checked.
        listed: split and file name of n clips.
    """
    number = {label: place for place, label in enumerate(task.labels)}
    table = np.zeros((len(listed), len(number)), dtype=bool)
    for row, (split, name) in enumerate(listed):
        table[row, [number[str(label)] for label in task.clips[split][name]]] = True
    return table


def _point(scores: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Return all measures of one part."""
    values = ranking(scores, targets, np.ones((len(scores), 1), dtype=np.float32))
    return {name: float(value[0]) for name, value in values.items()}


def _with_intervals(
    metrics: dict[str, dict[str, float | None]], parts: list[tuple[np.ndarray, np.ndarray]]
) -> dict[str, dict[str, float | None]]:
    """Add the 95 % interval of the mean over parts; clips are drawn within each part.

    Clip by clip: a HEAR folder does not say which clips share a speaker or an uploader.
    """
    drawn = [bootstrap(*part, None, SEED + place) for place, part in enumerate(parts)]
    for name, metric in metrics.items():
        value = metric["mean"]
        assert value is not None  # only a deviation may be absent
        ends = interval(name, value, np.mean([one[name] for one in drawn], axis=0))
        if ends:
            metric |= {"low": ends[0], "high": ends[1]}
    return metrics
