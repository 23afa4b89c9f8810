"""The trained heads on corrupted test clips: what a score loses when the sound is spoilt.

Heads are trained and their settings chosen on clean clips; nothing is fitted here.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data.clip import Clip, Task
from benchmark.data.corrupt import Corruption
from benchmark.embed.embed import EmbeddedTask, embed_task
from benchmark.embed.model import HearModel
from benchmark.measure import SEED, Probed
from benchmark.stats.metrics import score
from benchmark.stats.paired import paired


def embed_corrupted(
    corruptions: Sequence[Corruption],
    task: Task,
    clips: Sequence[Clip],
    embedded: EmbeddedTask,
    root: Path,
    model: HearModel,
    *,
    cache_dir: Path,
    workers: int,
) -> dict[str, EmbeddedTask]:
    """Embed a task's test clips under each corruption, or take what the cache holds.

    Args:
        corruptions: of different names.
        task: whose test clips are meant: all of a task with folds.
        clips: what the task lists.
        embedded: the clean clips; what could not be embedded there is left out here.
        root: of the task.
        model: a loaded HEAR module.
        cache_dir: of the cache.
        workers: threads that read and spoil, >= 0.

    Returns:
        the embeddings by the corruption's name.

    Raises:
        EmbedError: see `embed_task`, as all its errors.
    """
    usable = set(embedded.clip_ids.tolist())
    tested = [
        clip
        for clip in clips
        if clip.clip_id in usable and (task.split_policy == "folds" or clip.split == "test")
    ]
    return {
        corruption.name: embed_task(
            task,
            tested,
            root,
            model,
            cache_dir=cache_dir,
            workers=workers,
            corruption=corruption,
        )
        for corruption in corruptions
    }


def rescore(
    probed: Probed,
    embedded: EmbeddedTask,
    corrupted: Mapping[str, EmbeddedTask],
    n_classes: int,
) -> dict[str, dict[str, Any]]:
    """Score the heads on corrupted clips, each clip by the head of the fold that tests it.

    Args:
        probed: with the heads, trained on clean clips.
        embedded: the clean embeddings.
        corrupted: embeddings of the test clips by the corruption's name.
        n_classes: number of classes of the task.

    Returns:
        by name: number of clips, metrics with intervals, and the difference in accuracy to the same
        clips when clean, in points, with its paired interval and exact p.
    """
    found: dict[str, dict[str, Any]] = {}
    clean = np.full(len(embedded.labels), -1, dtype=np.int64)
    clean[probed.outcome.rows] = probed.outcome.predicted
    for name, spoilt in corrupted.items():
        predicted = _predict(probed, embedded, spoilt)
        rows = np.flatnonzero(predicted >= 0)
        labels = embedded.labels[rows]
        groups = embedded.groups[rows]
        scores = score(labels, predicted[rows], n_classes, groups, seed=SEED)
        hit, clean_hit = predicted[rows] == labels, clean[rows] == labels
        against = paired(hit, clean_hit, groups, seed=SEED)
        low, high = np.percentile(against.resampled, [2.5, 97.5])
        found[name] = {
            "n_clips": len(rows),
            "metrics": {m: dataclasses.asdict(interval) for m, interval in scores.overall.items()},
            "difference": {
                "value": 100.0 * (float(hit.mean()) - float(clean_hit.mean())),
                "low": float(low),
                "high": float(high),
                "p": against.p,
            },
        }
    return found


def _predict(probed: Probed, embedded: EmbeddedTask, spoilt: EmbeddedTask) -> np.ndarray:
    """Return the class given to each row's corrupted clip, -1 where none was: int64 `[n]`."""
    place = {clip: row for row, clip in enumerate(spoilt.clip_ids.tolist())}
    of_row = np.array([place.get(clip, -1) for clip in embedded.clip_ids.tolist()])
    predicted = np.full(len(of_row), -1, dtype=np.int64)
    for number, fold in enumerate(probed.folds):
        rows = fold.test[of_row[fold.test] >= 0]
        predicted[rows] = probed.outcome.predict(number, spoilt.embeddings[of_row[rows]])
    return predicted
