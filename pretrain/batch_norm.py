"""BatchNorm whose two halves of a batch (view a, view b) keep statistics of their own."""

import torch
from torch import Tensor, nn


class _SplitViews:
    """Mixed into a BatchNorm: normalises the two halves of a training batch apart.

    Both views then pass the convolutions in one call, and the result is that of two calls:
    statistics of each view apart, running statistics updated by view a, then by view b.
    """

    training: bool

    def forward(self, batch: Tensor) -> Tensor:
        """Return the normalised batch; in evaluation it is a plain BatchNorm."""
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


_SPLIT: dict[type[nn.Module], type[nn.Module]] = {
    nn.BatchNorm1d: SplitBatchNorm1d,
    nn.BatchNorm2d: SplitBatchNorm2d,
}


def split_views(network: nn.Module) -> None:
    """Make every BatchNorm of a network keep the two views apart, in place."""
    for module in network.modules():
        module.__class__ = _SPLIT.get(type(module), type(module))


def synchronise(network: nn.Module) -> nn.Module:
    """Return the network with SyncBatchNorms, those with the views apart still so."""
    apart = {name for name, m in network.named_modules() if isinstance(m, _SplitViews)}
    network = nn.SyncBatchNorm.convert_sync_batchnorm(network)
    for name, module in network.named_modules():
        if name in apart:
            module.__class__ = SplitSyncBatchNorm
    return network
