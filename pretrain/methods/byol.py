"""BYOL on the WaveBYOL encoder: online network, target network, and the loss between two views."""

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from pretrain.batch_norm import split_views
from pretrain.config import ByolConfig, Config
from pretrain.data.store import Store
from pretrain.methods.losses import cosine_loss, infonce
from pretrain.whiten import whiten_file
from wavebyol_hear.checkpoint import save_encoder
from wavebyol_hear.encoder import Encoder


def head(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Return Linear, BatchNorm, ReLU, Linear, as projector and predictor are."""
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, outputs)
    )


def pool(maps: Tensor) -> Tensor:
    """Return global max + global mean, L2-normalised: [B, C, rows, T] -> [B, C].

    Source: waverDeep/WaveBYOL, the pretext pooling.
    """
    maps = maps.flatten(2).float()
    return nn.functional.normalize(maps.amax(-1) + maps.mean(-1), dim=1)


class Byol(nn.Module):
    """Online and target networks; `infonce` has neither target nor predictor.

    Shape:
        two views [B, 1, T] -> scalar loss, projections [2B, D] of the online network (view a's,
        then view b's) for the monitor.

    Source: BYOL (arXiv 2006.07733); MoCo v3 (arXiv 2104.02057) for InfoNCE with a target.
    """

    def __init__(self, encoder: Encoder, config: ByolConfig) -> None:
        super().__init__()
        self.config = config
        hidden, outputs = config.projector
        self.online = nn.Sequential()
        self.online.add_module("encoder", encoder)
        self.online.add_module("projector", head(encoder.config.out_channels, hidden, outputs))
        if not config.mix_views:
            split_views(self.online)
        self.target: nn.Sequential | None = None
        self.predictor: nn.Module = nn.Identity()
        if config.loss != "infonce":
            self.target = copy.deepcopy(self.online).requires_grad_(False)
            self.predictor = head(outputs, config.predictor, outputs)
            if not config.mix_views:
                split_views(self.predictor)

    @classmethod
    def from_config(cls, config: Config) -> "Byol":
        """Return the networks of a run, the Conv2d stack in channels_last."""
        encoder = Encoder(config.encoder)
        encoder.features.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return cls(encoder, config.byol)

    @property
    def encoder(self) -> Encoder:
        """The online encoder, which the weights file will hold."""
        encoder = self.online.get_submodule("encoder")
        assert isinstance(encoder, Encoder)
        return encoder

    def forward(self, view_a: Tensor, view_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch and its projections; see the class."""
        views = torch.cat([view_a, view_b])
        projections = self._project(self.online, views)
        predictions = self.predictor(projections).float()
        with torch.no_grad():
            targets = self._project(self.target, views) if self.target is not None else None
        if targets is None:
            targets = predictions
        prediction_a, prediction_b = predictions.chunk(2)
        target_a, target_b = targets.float().chunk(2)
        if self.config.loss == "byol":
            loss = cosine_loss(prediction_a, target_b) + cosine_loss(prediction_b, target_a)
        else:
            scale = self.config.temperature
            loss = infonce(prediction_a, target_b, scale) + infonce(prediction_b, target_a, scale)
        return loss, projections.detach()

    @staticmethod
    def _project(network: nn.Sequential, views: Tensor) -> Tensor:
        encoder, projector = network
        projections: Tensor = projector(pool(encoder(views)))
        return projections

    @torch.no_grad()
    def update_target(self, tau: float) -> None:
        """Move the target to tau * target + (1 - tau) * online.

        BatchNorm's running statistics are the target's own, as it sees every batch itself.
        """
        if self.target is None:
            return
        torch._foreach_lerp_(
            list(self.target.parameters()), list(self.online.parameters()), 1 - tau
        )

    def embed(self, wave: Tensor) -> Tensor:
        """Return mean and max over time of every block: [B, 1, n] -> [B, D], for the probe."""
        maps = [m.flatten(1, 2) for m in self.encoder.stages(wave)]
        return torch.cat([m.mean(-1) for m in maps] + [m.amax(-1) for m in maps], dim=1)

    def save(self, path: Path, provenance: dict[str, Any], store: Store | None = None) -> None:
        """Write the online encoder's weights, which `wavebyol_hear.load_model` reads.

        Args:
            path: where to.
            provenance: kept in the file.
            store: the clips that the whitening of embeddings is fitted on; without it the file
                holds none.
        """
        save_encoder(path, self.encoder, provenance)
        if store is not None:
            device = next(self.encoder.parameters()).device
            whiten_file(path, store, device=device)
