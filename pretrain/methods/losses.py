"""The losses between two views: BYOL's cosine and InfoNCE over the batch."""

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize

from pretrain.distributed import gather


def cosine_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Return 2 - 2 cos, averaged over the batch; 0 to 4.

    Shape:
        prediction and target [B, D] -> scalar.

    Source: BYOL (arXiv 2006.07733), equation 2.
    """
    return 2 - 2 * (normalize(prediction, dim=1) * normalize(target, dim=1)).sum(1).mean()


def infonce(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """Return the cross-entropy of finding each query's key among the whole batch's keys.

    Over several processes the keys of all are compared, so that the number of processes does
    not change the loss; its mean over processes is the loss of the joined batch.

    Args:
        queries: one view.
        keys: the other view, in the same order.
        temperature: divides the cosines, > 0.

    Shape:
        queries and keys [B, D] -> scalar.

    Source: CPC (arXiv 1807.03748); without negatives of the same view, as MoCo v3.
    """
    queries, keys = normalize(queries, dim=1), normalize(keys, dim=1)
    everyone, first = gather(keys)
    answer = torch.arange(len(queries), device=queries.device) + first
    return cross_entropy(queries @ everyone.T / temperature, answer)
