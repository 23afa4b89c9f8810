"""The same evaluation spread over a Ray cluster: one Ray task per data set and model.

All nodes see the data, the cache of embeddings and the folder of results under the same paths, as
on the file system of a cluster. Each Ray task does what `evaluate` does for its pair, so results
are those of one process; locks keep two from filling one array of the cache.

What the cluster has room for besides helps to embed. Whole batches, as one process would form them,
are handed to helpers, which send their rows back: only the pair's process writes to the array, and
its rows are those of one process. That process embeds beside them, and takes back what has not come
when nothing else is left: where the cluster has no room for helpers, or loses them, it does all by
itself.
"""

import time
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from tqdm import tqdm

from benchmark.data.clip import Task
from benchmark.data.corrupt import CorruptedClips
from benchmark.embed.cache import EmbeddingArray, Progress
from benchmark.embed.embedder import Embedder
from benchmark.evaluate import Settings, evaluate, scorers
from benchmark.results.failures import write_failures
from benchmark.results.schema import Result, ResultKey
from wavebyol_hear.files.embed_ray import connect
from wavebyol_hear.files.extras import require
from wavebyol_hear.files.hear_module import load
from wavebyol_hear.files.read_ahead import Reader

RETRIES = 2
"""Times that a pair is repeated when its worker is lost."""
GROUPS = 8
"""Number of groups of batches per helper, so that all helpers end at about the same time."""
load_once = lru_cache(maxsize=1)(load)
"""Returns a model, which a helper keeps from one task to the next."""


def evaluate_on_ray(
    tasks: Sequence[Task | Path],
    models: Sequence[str],
    settings: Settings,
    absent: Mapping[str, str] | None = None,
    *,
    address: str = "",
) -> tuple[list[Result], dict[ResultKey, str]]:
    """Score every model on every task, pair by pair on a cluster; see `evaluate`.

    Args:
        tasks: as of `evaluate`.
        models: as of `evaluate`; importable on every node.
        settings: as of `evaluate`; paths are those of the nodes. `workers` is the number of cores
            that a pair takes, at least one, and a pair takes a GPU where `device` is one.
        absent: as of `evaluate`.
        address: of a running cluster, as of `ray.init`; "" starts one on this machine.

    Raises:
        MissingExtraError: Ray is not installed.
        ClusterError: nothing answers at the address.
    """
    ray = connect(address)
    # Paths that hold in the working directory of any worker.
    folders = {name: getattr(settings, name) for name in ("out", "data_dir", "cache_dir")}
    here = {name: path.expanduser().absolute() for name, path in folders.items() if path}
    settings = replace(settings, **here)
    pairs = [(task, model) for task in tasks for model in models]
    try:
        begin = ray.remote(**_share(settings))(_evaluate_pair)
        futures = [begin.remote(task, model, settings) for task, model in pairs]
        waiting = list(futures)
        with tqdm(total=len(futures), unit="pair", desc="Ray") as bar:
            while waiting:
                done, waiting = ray.wait(waiting)
                bar.update(len(done))
        results, failures = evaluate([], models, settings, absent)
        for (task, model), future in zip(pairs, futures, strict=True):
            try:
                scored, lacking = ray.get(future)
                results += scored
                failures |= lacking
            except ray.exceptions.RayError as error:
                lines = str(error).strip().splitlines()
                reason = f"{type(error).__name__}: {lines[0] if lines else 'the worker is lost'}"
                keys = [(task.name, model, version) for version in scorers(task, settings)]
                failures |= dict.fromkeys(keys, reason)
                write_failures(settings.out, dict.fromkeys(keys, reason), ())
        return results, failures
    finally:
        ray.shutdown()


def _share(settings: Settings) -> dict[str, int]:
    """Return what a pair takes of the cluster, and a helper too."""
    gpus = int(settings.torch_device.startswith("cuda"))
    return {"num_cpus": max(1, settings.workers), "num_gpus": gpus, "max_retries": RETRIES}


def _evaluate_pair(
    task: Task | Path, model: str, settings: Settings
) -> tuple[list[Result], dict[ResultKey, str]]:
    """Evaluate one model on one task, in a worker of the cluster."""
    torch.set_num_threads(max(1, settings.workers))
    return evaluate([task], [model], replace(settings, fill=partial(fill, settings=settings)))


def fill(
    embedder: Embedder,
    workers: int,
    batch_seconds: float,
    title: str,
    transform: CorruptedClips | None = None,
    *,
    min_samples: int = 0,
    settings: Settings,
) -> None:
    """Embed all rows that are not done, on the cluster; see `Embedder.fill`."""
    ray = require("ray", "ray", "--engine ray")
    array, paths = embedder.array, embedder.paths
    reader = Reader(paths, embedder.model.sample_rate, min_samples=min_samples)
    plan = list(reader.plan(array.todo(), batch_seconds))
    share, resources = _share(settings), ray.cluster_resources()
    most = int(resources.get("CPU", 0) // share["num_cpus"])
    most = min(most, int(resources.get("GPU", 0))) if share["num_gpus"] else most
    size = max(1, len(plan) // (GROUPS * most)) if most > 1 else len(plan)
    runs = (plan[first : first + size] for first in range(0, len(plan), size))
    groups = deque(list(chain.from_iterable(run)) for run in runs)
    how: dict[str, Any] = {"workers": workers, "batch_seconds": batch_seconds, "title": title}
    how["min_samples"] = min_samples
    begin = ray.remote(**share)(_embed_rows)
    weights = embedder.model.spec, embedder.model.weights_hash
    busy, seconds, helped = dict[Any, list[int]](), 0.0, False
    while groups or busy:
        own = groups.popleft() if groups else None
        while groups and len(busy) < most - 1:
            rows = groups.pop()
            part = transform
            if transform is not None:
                ids = [transform.clip_ids[row] for row in rows]
                part = CorruptedClips(transform.corruption, ids)
            files = [paths[row] for row in rows], embedder.stamps[rows]
            busy[begin.remote(settings, *weights, *files, part, how)] = rows
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


@dataclass
class _Rows:
    """Stands for an `EmbeddingArray` in a helper: some rows, numbered from 0, in memory."""

    values: dict[int, np.ndarray] = field(default_factory=dict)
    failures: dict[int, str] = field(default_factory=dict)
    progress: Progress = field(default_factory=Progress)
    calls: int = 0

    def write(self, row: int, values: np.ndarray) -> None:
        """Keep a row."""
        self.values[row] = values

    def save(self) -> None:
        """Do nothing: the rows are sent."""


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
    settings: Settings,
    spec: str,
    weights_hash: str,
    paths: Sequence[str],
    stamps: np.ndarray,
    transform: CorruptedClips | None,
    how: dict[str, Any],
) -> _Rows:
    """Embed some files in a helper."""
    torch.set_num_threads(max(1, settings.workers))
    model = load_once(spec, settings.torch_device, precision=settings.precision)
    if model.weights_hash != weights_hash:
        raise RuntimeError(f"{spec}: this node has other weights or other code")
    rows = _Rows()
    embedder = Embedder(model, cast(EmbeddingArray, rows), paths, stamps)
    embedder.fill(transform=transform, rows=range(len(paths)), **how)
    rows.calls = embedder.calls
    return rows
