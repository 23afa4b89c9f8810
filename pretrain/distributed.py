"""One process or many: who am I, what do the others hold, and my share of the batch."""

import gc
import os
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.nn.functional import all_gather
from torch.nn.parallel import DistributedDataParallel

from pretrain.batch_norm import synchronise


@contextmanager
def process_group(device: str, meet: str = "env://") -> Iterator[torch.device]:
    """Join the processes that torchrun started, or none; yield this process's device.

    Args:
        device: `cpu`, `cuda`, or `auto` (a GPU where there is one).
        meet: where they meet, as torch's `init_method`: by default where torchrun says;
            `file:///a/new/path` needs no network name, for processes started by hand.

    Raises:
        ValueError: `cuda` where torch finds no GPU.
    """
    kind = device
    if device == "auto":
        kind = "cuda" if torch.cuda.is_available() else "cpu"
    if kind == "cuda":
        if not torch.cuda.is_available():
            raise ValueError("torch finds no GPU here: give --device cpu, or a CUDA build of torch")
        kind = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
        torch.cuda.set_device(kind)
    several = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if several:
        backend = "nccl" if kind.startswith("cuda") else "gloo"
        number, count = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        dist.init_process_group(backend, meet, rank=number, world_size=count)
    try:
        yield torch.device(kind)
    finally:
        if several:
            # A wrapped network that goes after the group is the last to hold it, and waits for
            # its threads while they wait for Python's lock.
            gc.collect()
            dist.destroy_process_group()


def rank() -> int:
    """Return this process's number; 0 where there is one process."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """Return the number of processes."""
    return dist.get_world_size() if dist.is_initialized() else 1


def gather(rows: Tensor) -> tuple[Tensor, int]:
    """Return the rows of all processes, joined in rank order, and where this one's begin.

    Gradients flow back to the process that a row came from.

    Shape:
        rows [B, D] -> [world * B, D].
    """
    if world() == 1:
        return rows, 0
    return torch.cat(all_gather(rows.contiguous())), rank() * len(rows)


def share(batch: int) -> slice:
    """Return this process's part of a global batch.

    Raises:
        ValueError: the batch cannot be cut in equal parts.
    """
    if batch % world():
        raise ValueError(f"a batch of {batch} cannot be shared by {world()} processes equally")
    part = batch // world()
    return slice(rank() * part, (rank() + 1) * part)


def parallel(network: nn.Module, device: torch.device) -> tuple[nn.Module, nn.Module]:
    """Return the network and what to call in its place: itself, or it over all processes.

    On GPUs its BatchNorms become SyncBatchNorms, so that statistics are the global batch's; on
    CPUs torch has none and each process keeps its own.
    """
    if world() == 1:
        return network, network
    if device.type == "cuda":
        network = synchronise(network)
        return network, DistributedDataParallel(network, [device.index], broadcast_buffers=False)
    return network, DistributedDataParallel(network)
