"""Clips computed a few at a time where their maps are large, all together where they are small.

glibc, the usual C library, keeps freed memory of up to 32 MiB for the next map; what is larger goes
back to the system, which hands it out again page by page, for a tenth of h2's time. Late layers
have small maps and large weights: there, the more clips share one reading of them the better.
"""

import sys
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

# Numbers of a map, in float32; in bfloat16 twice as many gained nothing.
KEPT = 2**23


def most_at_once(largest: float, device: torch.device) -> int:
    """Return of how many clips the C library keeps a map; on a GPU there is no such bound.

    Args:
        largest: numbers a clip of the largest map.
        device: where the maps are.
    """
    return max(int(KEPT / largest), 1) if device.type == "cpu" else sys.maxsize


def in_shares(call: Callable[[Tensor], Tensor], batch: Tensor, largest: int) -> Tensor:
    """Return what a call gives for a batch, computed in even shares on a processor.

    Args:
        call: computes every clip for itself, so no BatchNorm in training mode.
        batch: of clips.
        largest: numbers a clip of the largest map on the way.

    Shape:
        [B, ...] -> what `call` returns for [B, ...].
    """
    shares = -(-len(batch) // most_at_once(largest, batch.device))
    return joined([call(share) for share in batch.tensor_split(shares)])


def joined(parts: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Return parts as one, without a copy where there is one part."""
    return torch.cat(tuple(parts), dim) if len(parts) > 1 else parts[0]
