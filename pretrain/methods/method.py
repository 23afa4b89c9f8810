"""What a method is to the training loop, and which class each name stands for."""

import importlib
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from baselines.base import write_weights
from pretrain.config import Config
from pretrain.data.store import Store

# The class is imported when it is asked for: a run of one method needs nothing of the others.
METHODS = {
    "byol": "pretrain.methods.byol:Byol",
    "byol_a": "pretrain.methods.byol_a:ByolA",
    "cola": "pretrain.methods.cola:Cola",
    "ssast": "pretrain.methods.ssast:Ssast",
    "delores_s": "pretrain.methods.delores:DeloresS",
    "delores_m": "pretrain.methods.delores:DeloresM",
}


class Method(nn.Module):
    """Networks that give the loss of two views and write their encoder's weights.

    A method is made from the `Config` of a run.

    Attributes:
        kind: format of the weights file, which the method's HEAR module reads.
        encoder: the network whose weights the file holds.
        online: the network that is trained, where there is a target.
        target: its moving average, of the same shape; None where the method has none.

    Shape:
        view_a, view_b [B, 1, T] -> loss (scalar), projections [2B, D] of the online network (view
        a's, then view b's) for the monitor.
    """

    kind: str
    encoder: nn.Module
    online: nn.Module
    target: nn.Module | None  # set by __init__: a default here would hide the module from torch

    def __init__(self) -> None:
        super().__init__()
        self.target = None

    def forward(self, view_a: Tensor, view_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and the projections; see the class."""
        raise NotImplementedError

    @torch.no_grad()
    def update_target(self, tau: float) -> None:
        """Move the target, if there is one, to tau * target + (1 - tau) * online.

        BatchNorm's running statistics are the target's own, as it sees every batch itself.
        """
        if self.target is not None:
            target: list[Tensor] = list(self.target.parameters())
            torch._foreach_lerp_(target, list[Tensor](self.online.parameters()), 1 - tau)

    def embed(self, wave: Tensor) -> Tensor:
        """Return frozen features for the online probe: [B, 1, n] -> [B, D]."""
        raise NotImplementedError

    def save(self, path: Path, provenance: dict[str, Any], store: Store | None = None) -> None:
        """Write the weights file that the method's HEAR module loads.

        Args:
            path: of the file.
            provenance: kept in the file.
            store: the clips, for a method that keeps statistics of embeddings in its file; without
                it the file holds none.
        """
        settings = self.settings()
        write_weights(path, self.encoder, kind=self.kind, settings=settings, provenance=provenance)

    def settings(self) -> dict[str, Any]:
        """Return what is needed besides the weights to feed the encoder."""
        return {}


def build_method(config: Config) -> Method:
    """Return the networks of a run."""
    module, name = METHODS[config.method].split(":")
    return cast(Method, getattr(importlib.import_module(module), name)(config))
