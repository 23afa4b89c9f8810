"""What a method is to the training loop, and which class each name stands for."""

import importlib
from pathlib import Path
from typing import Any, Protocol, cast

from torch import Tensor, nn

from pretrain.config import Config
from pretrain.data.store import Store

# The class is imported when it is asked for: a run of one method needs nothing of the others.
METHODS = {
    "byol": "pretrain.methods.byol:Byol",
    "byol_a": "pretrain.methods.byol_a:ByolA",
    "cola": "pretrain.methods.cola:Cola",
}


class Method(Protocol):
    """An nn.Module that gives the loss of two views and writes its encoder's weights.

    Shape:
        view_a, view_b [B, 1, T] -> loss (scalar), projections [2B, D].
    """

    def __call__(self, view_a: Tensor, view_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss and the projections."""

    def update_target(self, tau: float) -> None:
        """Move the target network, if there is one."""

    def embed(self, wave: Tensor) -> Tensor:
        """Return frozen features for the online probe: [B, 1, n] -> [B, D]."""

    def save(self, path: Path, provenance: dict[str, Any], store: Store | None = None) -> None:
        """Write the weights file that the method's HEAR module loads.

        Args:
            path: where to.
            provenance: kept in the file.
            store: the clips, for a method that keeps statistics of embeddings in its file.
        """


def build_method(config: Config) -> nn.Module:
    """Return the networks of a run; the module is a `Method`."""
    module, name = METHODS[config.method].split(":")
    return cast(nn.Module, getattr(importlib.import_module(module), name).from_config(config))
