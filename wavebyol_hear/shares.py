"""Clips computed a few at a time where their maps are large, all together where they are small.

glibc, the usual C library, keeps freed memory of up to 32 MiB for the next map; what is larger goes
back to the system, which hands it out again page by page, for a tenth of h2's time. Late layers
have small maps and large weights: there, the more clips share one reading of them the better.
"""

from collections.abc import Callable

import torch
from torch import Tensor

# Numbers of a map, in float32; in bfloat16 twice as many gained nothing.
KEPT = 2**23


def in_shares(call: Callable[[Tensor], Tensor], batch: Tensor, largest: int) -> Tensor:
    """Return what a call gives for a batch, computed in even shares on a processor.

    Args:
        call: computes every clip for itself, so no BatchNorm in training mode.
        batch: of clips.
        largest: numbers a clip of the largest map on the way.

    Shape:
        [B, ...] -> what `call` returns for [B, ...].
    """
    at_once = KEPT // largest if batch.device.type == "cpu" else len(batch)
    shares = -(-len(batch) // max(at_once, 1))
    if shares == 1:
        return call(batch)
    return torch.cat([call(share) for share in batch.tensor_split(shares)])
