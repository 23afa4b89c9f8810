"""Processes and their parts of a batch: ranks, gathering, BatchNorm over views and processes."""

import ctypes
import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.nn.functional import all_gather
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

Network = TypeVar("Network", bound=nn.Module)
Value = TypeVar("Value")

# Of glibc's malloc.h; values are C ints.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_NEVER = 2**31 - 1


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
    found = torch.cuda.is_available()
    if device == "cuda" and not found:
        raise ValueError("torch finds no GPU here: give --device cpu, or a CUDA build of torch")
    kind, backend = "cpu", "gloo"
    if device != "cpu" and found:
        kind, backend = f"cuda:{os.environ.get('LOCAL_RANK', '0')}", "nccl"
        torch.cuda.set_device(kind)
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count > 1:
        dist.init_process_group(backend, meet, rank=int(os.environ["RANK"]), world_size=count)
    try:
        yield torch.device(kind)
    finally:
        if count > 1:
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


def maxima(*values: int, device: torch.device) -> list[int]:
    """Return the largest of each value over all processes, so that all of them decide alike.

    Args:
        values: of this process, the same number on every one.
        device: of this process.
    """
    if world() == 1:
        return list(values)
    largest = torch.tensor(values, dtype=torch.int64, device=device)
    dist.all_reduce(largest, dist.ReduceOp.MAX)
    return [int(value) for value in largest.tolist()]


def from_first(make: Callable[[], Value]) -> Value:
    """Return what the first process makes, on all processes; an error of it is raised on all.

    Args:
        make: called on the first process alone; its result, or its error, is pickled.
    """
    if world() == 1:
        return make()
    made: list[Any] = [None, None]
    if rank() == 0:
        try:
            made[0] = make()
        except Exception as error:  # of any kind: the others must not wait for ever
            made[1] = error
    dist.broadcast_object_list(made, 0)
    if made[1] is not None:
        raise made[1]
    return cast(Value, made[0])


def mean_over_processes(value: Tensor) -> Tensor:
    """Return the mean of a tensor over all processes."""
    if world() == 1:
        return value
    total = value.detach().clone()
    dist.all_reduce(total)
    return total / world()


def share(batch: int) -> slice:
    """Return this process's part of a global batch.

    Raises:
        ValueError: the batch cannot be cut in equal parts.
    """
    if batch % world():
        raise ValueError(f"a batch of {batch} cannot be shared by {world()} processes equally")
    part = batch // world()
    return slice(rank() * part, (rank() + 1) * part)


def parallel(network: Network, device: torch.device) -> tuple[Network, nn.Module]:
    """Return the network and what to call in its place: itself, or it over all processes.

    Its BatchNorms take their statistics over the global batch: SyncBatchNorm on GPUs, for which
    torch has it, and `GatheringBatchNorm` on CPUs.
    """
    if world() == 1:
        return network, network
    if device.type == "cuda":
        network = _sync_batch_norm(network)
        return network, DistributedDataParallel(network, [device.index], broadcast_buffers=False)
    for module in network.modules():
        module.__class__ = _GATHERING.get(type(module), type(module))
    return network, DistributedDataParallel(network, broadcast_buffers=False)


class _SplitViews:
    """Mixed into a BatchNorm: normalizes the two halves of a training batch apart.

    Both views then pass the convolutions in one call, and the result is that of two calls:
    statistics of each view apart, running statistics updated by view a, then by view b.
    """

    training: bool

    def forward(self, batch: Tensor) -> Tensor:
        """Return the normalized batch; in evaluation it is a plain BatchNorm."""
        parent = super().forward  # type: ignore[misc]
        if not self.training or len(batch) % 2:
            return parent(batch)
        return torch.cat([parent(half) for half in batch.chunk(2)])


class SplitBatchNorm1d(_SplitViews, nn.BatchNorm1d):
    """BatchNorm1d over [2B, C] or [2B, C, T] with the views apart."""


class SplitBatchNorm2d(_SplitViews, nn.BatchNorm2d):
    """BatchNorm2d over [2B, C, H, W] with the views apart."""


class SplitSyncBatchNorm(_SplitViews, nn.SyncBatchNorm):
    """SyncBatchNorm with the views apart."""


class GatheringBatchNorm(_BatchNorm):
    """BatchNorm whose statistics are gathered from all processes, on CPUs; equal parts of a batch.

    Shape:
        [B, C] or [B, C, ...] -> the same.
    """

    def _check_input_dim(self, batch: Tensor) -> None:
        """Take any."""

    def forward(self, batch: Tensor) -> Tensor:
        """Return the normalized batch; in evaluation it is a plain BatchNorm."""
        if not self.training:
            return super().forward(batch)
        values = batch.float()
        over = [0, *range(2, values.ndim)]
        shape = [1, -1] + [1] * (values.ndim - 2)
        mean = gather(values.mean(over)[None])[0].mean(0)
        centred = values - mean.view(shape)
        variance = gather(centred.square().mean(over)[None])[0].mean(0)
        if self.running_mean is not None and self.running_var is not None:
            count = world() * values.numel() // len(mean)
            rate = 0.1 if self.momentum is None else self.momentum
            with torch.no_grad():
                self.running_mean.lerp_(mean, rate)
                self.running_var.lerp_(variance * (count / (count - 1)), rate)
            if self.num_batches_tracked is not None:
                self.num_batches_tracked += 1
        out = centred * (variance + self.eps).rsqrt().view(shape)
        if self.affine:
            out = out * self.weight.view(shape) + self.bias.view(shape)
        return out.to(batch.dtype)


class SplitGatheringBatchNorm(_SplitViews, GatheringBatchNorm):
    """GatheringBatchNorm with the views apart."""


_GATHERING: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: GatheringBatchNorm,
    nn.BatchNorm2d: GatheringBatchNorm,
    SplitBatchNorm1d: SplitGatheringBatchNorm,
    SplitBatchNorm2d: SplitGatheringBatchNorm,
}
_SPLIT: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: SplitBatchNorm1d,
    nn.BatchNorm2d: SplitBatchNorm2d,
}


def split_views(network: nn.Module) -> None:
    """Make every BatchNorm of a network keep the two views apart, in place."""
    for module in network.modules():
        module.__class__ = _SPLIT.get(type(module), type(module))


def _sync_batch_norm(network: Network) -> Network:
    """Return the network with SyncBatchNorms, those with the views apart still so."""
    apart = {name for name, m in network.named_modules() if isinstance(m, _SplitViews)}
    network = cast(Network, nn.SyncBatchNorm.convert_sync_batchnorm(network))
    for name, module in network.named_modules():
        if name in apart:
            module.__class__ = SplitSyncBatchNorm
    return network


def keep_freed_memory() -> bool:
    """Tell glibc's malloc to hand nothing back to the system; return whether it will.

    A step of training allocates and frees the same gigabytes of activations again and again. As
    delivered, malloc gives large blocks back when they are freed, and the next step faults their
    pages in again, 4 KiB at a time: some 100,000 faults and a tenth of a step of the preset `slim`
    (128 clips), a quarter at 256 clips. Elsewhere than on glibc nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all([mallopt(_MMAP_MAX, 0), mallopt(_TRIM_THRESHOLD, _NEVER)])
