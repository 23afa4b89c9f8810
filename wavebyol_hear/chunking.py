"""Batches of audio: what they must be, and how they are computed a few clips at a time.

glibc, the usual C library, keeps freed memory of up to 32 MiB for the next map; what is larger goes
back to the system, which hands it out again page by page, for a tenth of h2's time. Late layers
have small maps and large weights: there, the more clips share one reading of them the better.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

# Numbers of a map, in float32; in bfloat16 twice as many gained nothing.
KEPT = 2**23


class Wave(Protocol):
    """Samples of which slices are read, in memory or not: float32 [n]."""

    def __len__(self) -> int:
        """Return the number of samples."""
        ...

    def __getitem__(self, span: slice, /) -> np.ndarray:
        """Return the samples of a slice."""
        ...


def check_audio(audio: Tensor) -> None:
    """Raise a ValueError that names what is wrong with a batch of audio."""
    if not isinstance(audio, Tensor):
        raise ValueError(f"audio is a {type(audio).__name__}: give a float tensor [batch, samples]")
    shape = list(audio.shape)
    if audio.dim() != 2 or not audio.is_floating_point():
        raise ValueError(f"audio is {audio.dtype} {shape}: give a float tensor [batch, samples]")
    if 0 in shape:
        raise ValueError(f"audio is {shape}: give one clip and one sample at least")
    # A sum is finite where all samples are, except for absurdly large ones: then look at each.
    if audio.sum().isfinite():
        return
    broken = (~audio.isfinite()).any(1).nonzero()
    if len(broken):
        raise ValueError(f"audio has NaN or infinite samples in clip {int(broken[0])} of the batch")


def refuse_recording() -> None:
    """Raise a RuntimeError where a model is traced or exported, which would freeze its lengths."""
    exporting = getattr(torch.compiler, "is_exporting", None)  # torch 2.7 and later
    if torch.jit.is_tracing() or (exporting is not None and exporting()):
        raise RuntimeError(
            "a recording of this model would be wrong at other lengths: export "
            "wavebyol_hear.export.network.SceneNetwork(model) with torch.export, or use "
            "`wavebyol export`"
        )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Have a model evaluate, without gradients; every module's mode is put back after."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


def max_clips(largest: float, device: torch.device) -> int:
    """Return of how many clips the C library keeps a map; on a GPU there is no such bound.

    Args:
        largest: numbers per clip of the largest map.
        device: where the maps are.
    """
    return max(int(KEPT / largest), 1) if device.type == "cpu" else sys.maxsize


def map_chunks(call: Callable[[Tensor], Tensor], batch: Tensor, largest: int) -> Tensor:
    """Return what a call gives for a batch, computed in even chunks on a processor.

    Args:
        call: treats every clip by itself, so no BatchNorm in training mode.
        batch: of clips.
        largest: numbers per clip of the largest map on the way.

    Shape:
        [B, ...] -> what `call` returns for [B, ...].
    """
    n_chunks = -(-len(batch) // max_clips(largest, batch.device))
    return cat([call(chunk) for chunk in batch.tensor_split(n_chunks)])


def cat(chunks: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Return chunks as one tensor, without a copy where there is one chunk."""
    return torch.cat(tuple(chunks), dim) if len(chunks) > 1 else chunks[0]
