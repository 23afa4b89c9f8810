"""The embedding of one big task spread over a Ray cluster, for the process that has its array.

Whole batches, as one process would form them, are handed to helpers, which send their rows back:
only one process writes to the array, and its rows are those of one process. That process embeds
beside them, and takes back what has not come when nothing else is left: where the cluster has no
room for helpers, or loses them, it does all by itself.
"""

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import chain
from typing import Any, cast

import numpy as np
import torch

from benchmark.data.corrupt import CorruptedClips
from benchmark.embed.cache import EmbeddingArray, Progress
from benchmark.embed.embedder import Embedder
from wavebyol_hear.files.extras import require
from wavebyol_hear.files.hear_module import HearModel, load
from wavebyol_hear.files.read_ahead import planned_batches

GROUPS = 8
"""Of batches, for each helper: so that all end at about the same time."""


@dataclass(frozen=True)
class Helpers:
    """What each helper takes of the cluster, and how it loads the model."""

    cores: int
    gpus: int
    retries: int
    device: str
    precision: str


@dataclass
class _Rows:
    """Stands for an `EmbeddingArray` in a helper: some rows, numbered from 0, in memory."""

    count: int
    values: dict[int, np.ndarray] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)
    calls: int = 0

    def todo(self) -> np.ndarray:
        """Return all rows."""
        return np.arange(self.count)

    def write(self, row: int, values: np.ndarray) -> None:
        """Keep a row."""
        self.values[row] = values

    def save(self) -> None:
        """Do nothing: the rows are sent."""


def fill(
    embedder: Embedder,
    workers: int,
    batch_seconds: float,
    title: str,
    transform: CorruptedClips | None = None,
    *,
    min_samples: int = 0,
    helpers: Helpers,
) -> None:
    """Embed all rows that are not done, on the cluster; see `Embedder.fill`."""
    ray = require("ray", "ray", "--engine ray")
    model, reading = embedder.model, (batch_seconds, min_samples)
    plan = list(planned_batches(embedder.paths, embedder.array.todo(), model.sample_rate, *reading))
    resources = ray.cluster_resources()
    most = int(resources.get("CPU", 0) // helpers.cores)
    most = min(most, int(resources.get("GPU", 0))) if helpers.gpus else most
    size = max(1, len(plan) // (GROUPS * most)) if most > 1 else len(plan)
    runs = (plan[first : first + size] for first in range(0, len(plan), size))
    groups = deque(list(chain.from_iterable(run)) for run in runs)
    how: dict[str, Any] = {"workers": workers, "batch_seconds": batch_seconds, "title": title}
    how["min_samples"] = min_samples
    begin = ray.remote(num_cpus=helpers.cores, num_gpus=helpers.gpus, max_retries=helpers.retries)(
        _embed_rows
    )
    busy, seconds, helped = dict[Any, list[int]](), 0.0, False
    while groups or busy:
        own = groups.popleft() if groups else None
        while groups and len(busy) < most - 1:
            rows = groups.pop()
            paths, stamps = [embedder.paths[row] for row in rows], embedder.stamps[rows]
            part = transform
            if transform is not None:
                ids = [transform.clip_ids[row] for row in rows]
                part = CorruptedClips(transform.corruption, ids)
            job = begin.remote(helpers, model.spec, model.weights_hash, paths, stamps, part, how)
            busy[job] = rows
        if own is None:
            helped |= _collect(ray, embedder, busy, groups, wait=seconds * helped)
            if not busy or groups:
                continue
            job, own = busy.popitem()
            ray.cancel(job)
        start = time.monotonic()
        embedder.fill(transform=transform, rows=own, **how)
        seconds = time.monotonic() - start
        helped |= _collect(ray, embedder, busy, groups, wait=0)


def _collect(
    ray: Any,  # noqa: ANN401  (an optional package without types here)
    embedder: Embedder,
    busy: dict[Any, list[int]],
    groups: deque[list[int]],
    wait: float,
) -> bool:
    """Write what helpers send within some seconds and return whether something came.

    What they failed to do is to be done again.
    """
    came = False
    array, progress = embedder.array, embedder.array.progress
    jobs = list(busy)
    for job in ray.wait(jobs, num_returns=len(jobs), timeout=wait)[0] if jobs else ():
        rows = busy.pop(job)
        try:
            part: _Rows = ray.get(job)
        except ray.exceptions.RayError:  # its own error, which is that of all, or it is lost
            groups.append(rows)
            continue
        for row, values in part.values.items():
            array.write(rows[row], values)
        array.failures |= {rows[row]: why for row, why in part.failures.items()}
        progress.errors |= {rows[row]: why for row, why in part.progress.errors.items()}
        progress.seconds += part.progress.seconds
        progress.clips += part.progress.clips
        if progress.audio_seconds is not None:
            progress.audio_seconds += part.progress.audio_seconds or 0.0
        embedder.calls += part.calls
        array.save()
        came = True
    return came


def _embed_rows(
    helpers: Helpers,
    spec: str,
    weights_hash: str,
    paths: Sequence[str],
    stamps: np.ndarray,
    transform: CorruptedClips | None,
    how: dict[str, Any],
) -> _Rows:
    """Embed some files in a helper."""
    torch.set_num_threads(helpers.cores)
    model = _loaded(spec, helpers.device, helpers.precision)
    if model.weights_hash != weights_hash:
        raise RuntimeError(f"{spec}: this node has other weights or other code")
    rows = _Rows(len(paths))
    embedder = Embedder(model, cast(EmbeddingArray, rows), paths, stamps)
    embedder.fill(transform=transform, **how)
    rows.calls = embedder.calls
    return rows


@lru_cache(maxsize=1)
def _loaded(spec: str, device: str, precision: str) -> HearModel:
    """Return a model, which a helper keeps from one task to the next."""
    return load(spec, device, precision=precision)
