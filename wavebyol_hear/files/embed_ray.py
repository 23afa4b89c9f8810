"""The parts of `wavebyol embed` spread over a Ray cluster: actors that each hold the model.

An actor embeds one part after another, as a process of its own does with `--part`; the driver only
hands parts out, so its memory does not grow with the number of files. An actor that is lost is
started again, and what it had begun is begun again. All nodes see sources and output under the same
paths.
"""

import os
import socket
from collections.abc import Callable, Generator, Iterable
from pathlib import Path
from typing import Any

from wavebyol_hear.files.embed_parts import Step, Worker
from wavebyol_hear.files.extras import require
from wavebyol_hear.files.sources import Part

RETRIES = 3  #: times that a part is begun again when its actor is lost
IN_FLIGHT = 2  #: parts per actor that are handed out, so that none waits for the driver
QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""Of a cluster that is started here: nothing is reported, and no token is written to ~/.ray."""


class ClusterError(ValueError):
    """A cluster that does not answer, or has no room: one line with the remedy."""


def connect(address: str) -> Any:  # noqa: ANN401  (an optional package without types here)
    """Connect to a cluster, or start one on this machine, and return the module `ray`.

    An empty address stands for that of RAY_ADDRESS, else for a cluster of its own.

    Raises:
        MissingExtraError: Ray is not installed.
        ClusterError: nothing answers at the address.
    """
    ray = require("ray", "ray", "--engine ray")
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdecimal():  # Ray itself would try for minutes
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except OSError as error:
            raise ClusterError(
                f"no Ray cluster answers at {address} ({error.strerror or error}); "
                "start one by `ray start --head`, or leave --ray-address out"
            ) from error
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    # Ray's default takes any cluster that was started here, one that was killed, too.
    address = address or os.environ.get("RAY_ADDRESS", "local")
    own = {"include_dashboard": False} if address == "local" else {}
    ray.init(address=address, log_to_driver=False, logging_level="error", **own)
    return ray


class _Embedder:
    """What runs in an actor."""

    def __init__(self, make: Callable[[], Worker], cores: int) -> None:
        import torch

        torch.set_num_threads(cores)
        self.worker = make()

    def run(self, path: Path, part: Part) -> Step:
        """Embed one part."""
        steps = list(self.worker.run([(path, part)]))
        return Step(sum(step.clips for step in steps), steps[-1].failures)


def run_on_ray(
    make: Callable[[], Worker],
    parts: Iterable[tuple[Path, Part]],
    address: str,
    cores: int,
    *,
    gpu: bool,
) -> Generator[Step, None, None]:
    """Embed parts on a cluster, in any order; each actor makes a worker of its own.

    Args:
        make: called in each actor.
        parts: paths of the output and parts.
        address: as of `connect`.
        cores: of each actor, on which it decodes and, without a GPU, computes.
        gpu: whether each actor takes one.

    Yields:
        A step for each part.

    Raises:
        ClusterError: nothing answers at the address, or no node has room for an actor.
        MissingExtraError: Ray is not installed.
    """
    ray = connect(address)
    try:
        resources = ray.cluster_resources()
        count = int(resources.get("CPU", 0) // cores)
        if gpu:
            count = min(count, int(resources.get("GPU", 0)))
        if count < 1:
            raise ClusterError(
                f"the cluster has {resources.get('CPU', 0):g} cores and "
                f"{resources.get('GPU', 0):g} GPUs: no room for an actor; lower --workers"
            )
        kind = ray.remote(
            num_cpus=cores,
            num_gpus=int(gpu),
            max_restarts=-1,
            max_task_retries=RETRIES,
        )(_Embedder)
        actors = [kind.remote(make, cores) for _ in range(count)]
        pool = ray.util.ActorPool(actors * IN_FLIGHT)
        for job in parts:
            if not pool.has_free():
                yield _next(ray, pool)
            pool.submit(lambda actor, job: actor.run.remote(*job), job)
        while pool.has_next():
            yield _next(ray, pool)
    finally:
        ray.shutdown()


def _next(ray: Any, pool: Any) -> Step:  # noqa: ANN401
    """Wait for a part and return what came of it."""
    try:
        step: Step = pool.get_next_unordered()
        return step
    except ray.exceptions.RayActorError as error:
        raise ClusterError(
            f"a part was lost {RETRIES + 1} times with the process that embedded it; "
            f"the same command resumes ({' '.join(str(error).split())[:200]})"
        ) from error
    except ray.exceptions.RayTaskError as error:
        raise error.as_instanceof_cause() from error
