"""The same evaluation spread over a Ray cluster: one Ray task per data set and model.

All nodes see the data, the cache of embeddings and the folder of results under the same paths, as
on the file system of a cluster. Each Ray task does what `evaluate` does for its pair, so results
are those of one process; locks keep two from filling one array of the cache. What the cluster has
room for besides helps to embed; see `benchmark.embed.spread`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmark.data.clip import Task
from benchmark.evaluate import Settings, evaluate, versions_of
from benchmark.results.failures import write_failures
from benchmark.results.schema import Result, ResultKey
from wavebyol_hear.files.embed_ray import connect

RETRIES = 2
"""Times that a pair is begun anew when its worker is lost."""


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
    here = replace(
        settings,
        out=settings.out.expanduser().absolute(),
        data_dir=_absolute(settings.data_dir),
        cache_dir=_absolute(settings.cache_dir),
    )
    try:
        return _collect(ray, tasks, models, here, absent)
    finally:
        ray.shutdown()


def _collect(
    ray: Any,  # noqa: ANN401  (an optional package without types here)
    tasks: Sequence[Task | Path],
    models: Sequence[str],
    settings: Settings,
    absent: Mapping[str, str] | None,
) -> tuple[list[Result], dict[ResultKey, str]]:
    """Begin all pairs, and return what comes of them in the order of tasks and models."""
    cores = max(1, settings.workers)
    gpus = int(settings.torch_device.startswith("cuda"))
    begin = ray.remote(num_cpus=cores, num_gpus=gpus, max_retries=RETRIES)(_evaluate_pair)
    pairs = [(task, model) for task in tasks for model in models]
    futures = [begin.remote(task, model, settings, cores) for task, model in pairs]
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
            keys = [(task.name, model, version) for version in versions_of(task, settings)]
            failures |= dict.fromkeys(keys, reason)
            write_failures(settings.out, dict.fromkeys(keys, reason), ())
    return results, failures


def _evaluate_pair(
    task: Task | Path, model: str, settings: Settings, cores: int
) -> tuple[list[Result], dict[ResultKey, str]]:
    """Evaluate one model on one task, in a worker of the cluster."""
    import torch

    from benchmark.embed import spread

    torch.set_num_threads(cores)
    device = settings.torch_device
    gpus = int(device.startswith("cuda"))
    helpers = spread.Helpers(cores, gpus, RETRIES, device, settings.precision)
    return evaluate([task], [model], replace(settings, fill=partial(spread.fill, helpers=helpers)))


def _absolute(path: Path | None) -> Path | None:
    """Return a path that holds in the working directory of any worker."""
    return None if path is None else path.expanduser().absolute()
