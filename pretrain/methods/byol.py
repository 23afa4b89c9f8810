"""BYOL on the WaveBYOL encoder: losses between two views, heads, online and target networks."""

import copy
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize

from pretrain.config import Config
from pretrain.data.store import Store
from pretrain.distributed import gather, split_views
from pretrain.methods.method import Method
from pretrain.whiten import whiten_file
from wavebyol_hear.checkpoint import save_encoder
from wavebyol_hear.encoder import Encoder

Loss = Callable[[Tensor, Tensor], Tensor]

log = logging.getLogger(__name__)


def cosine_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Return 2 - 2 cos, averaged over the batch; 0 to 4.

    Shape:
        prediction and target [B, D] -> scalar.

    Source: BYOL (arXiv 2006.07733), equation 2.

    Example:
        >>> float(cosine_loss(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 1.0]])))
        2.0
    """
    return 2 - 2 * (normalize(prediction, dim=1) * normalize(target, dim=1)).sum(1).mean()


def infonce(queries: Tensor, keys: Tensor, temperature: float) -> Tensor:
    """Return InfoNCE: `matching_loss` of directions, their cosines divided by the temperature.

    Shape:
        queries and keys [B, D] -> scalar.

    Source: CPC (arXiv 1807.03748); without negatives of the same view, as MoCo v3.
    """
    return matching_loss(normalize(queries, dim=1), normalize(keys, dim=1), temperature)


def matching_loss(queries: Tensor, keys: Tensor, temperature: float = 1.0) -> Tensor:
    """Return the cross-entropy of identifying each query's key among the whole batch's keys.

    Over several processes the keys of all are compared, so that the number of processes does
    not change the loss; its mean over processes is the loss of the joined batch.

    Args:
        queries: one view.
        keys: the other view, in the same order.
        temperature: divides the scalar products, > 0.

    Shape:
        queries and keys [B, D] -> scalar.
    """
    all_keys, first = gather(keys)
    own_key = torch.arange(len(queries), device=queries.device) + first
    return cross_entropy(queries @ all_keys.T / temperature, own_key)


def both_ways(loss: Loss, predictions: Tensor, targets: Tensor) -> Tensor:
    """Return the loss of view a against view b's target plus that of b against a's.

    Shape:
        predictions and targets [2B, D], view a's rows first -> scalar.
    """
    prediction_a, prediction_b = predictions.float().chunk(2)
    target_a, target_b = targets.float().chunk(2)
    return loss(prediction_a, target_b) + loss(prediction_b, target_a)


def head(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """Return Linear, BatchNorm, ReLU, Linear, as projector and predictor are."""
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.BatchNorm1d(hidden), nn.ReLU(), nn.Linear(hidden, outputs)
    )


def pool(maps: Tensor) -> Tensor:
    """Return global max + global mean, L2-normalized: [B, C, rows, T] -> [B, C].

    Source: waverDeep/WaveBYOL, the pretext pooling.
    """
    maps = maps.flatten(2).float()
    return normalize(maps.amax(-1) + maps.mean(-1), dim=1)


class Projection(nn.Module):
    """An encoder, a pooling of its maps, and a projector.

    Args:
        encoder: of the inputs.
        pool: maps to vectors [B, C].
        projector: of the vectors.

    Shape:
        what the encoder takes -> [B, D].
    """

    def __init__(
        self, encoder: nn.Module, pool: Callable[[Tensor], Tensor], projector: nn.Module
    ) -> None:
        super().__init__()
        self.encoder, self.pool, self.projector = encoder, pool, projector

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the projections; see the class."""
        projections: Tensor = self.projector(self.pool(self.encoder(inputs)))
        return projections


class Byol(Method):
    """WaveBYOL's online and target networks; `infonce` has neither target nor predictor.

    Source: BYOL (arXiv 2006.07733); MoCo v3 (arXiv 2104.02057) for InfoNCE with a target.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config.byol
        encoder = Encoder(config.encoder)
        encoder.features.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        hidden, outputs = self.config.projector
        projector = head(encoder.config.out_channels, hidden, outputs)
        self.online: Projection = Projection(encoder, pool, projector)
        self.predictor: nn.Module = nn.Identity()
        if self.config.loss != "infonce":
            self.target = copy.deepcopy(self.online).requires_grad_(False)
            self.predictor = head(outputs, self.config.predictor, outputs)
        if not self.config.mix_views:
            split_views(self)

    @property
    def encoder(self) -> Encoder:  # type: ignore[override]
        """The online encoder, which the weights file will hold."""
        encoder = self.online.encoder
        assert isinstance(encoder, Encoder)
        return encoder

    def forward(self, view_a: Tensor, view_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch and its projections; see `Method`."""
        views = torch.cat([view_a, view_b])
        projections = self.online(views)
        predictions = self.predictor(projections).float()  # once: both uses share its gradient
        with torch.no_grad():
            targets = self.target(views) if self.target is not None else None
        loss = both_ways(self._loss, predictions, predictions if targets is None else targets)
        return loss, projections.detach()

    def _loss(self, prediction: Tensor, target: Tensor) -> Tensor:
        if self.config.loss == "byol":
            return cosine_loss(prediction, target)
        return infonce(prediction, target, self.config.temperature)

    def embed(self, wave: Tensor) -> Tensor:
        """Return mean and max over time of every block: [B, 1, n] -> [B, D], for the probe."""
        maps = [m.flatten(1, 2) for m in self.encoder.stages(wave)]
        return torch.cat([m.mean(-1) for m in maps] + [m.amax(-1) for m in maps], dim=1)

    def save(self, path: Path, provenance: dict[str, Any], store: Store | None = None) -> None:
        """Write the online encoder, which `wavebyol_hear.load_model` reads; see `Method`.

        With a store the file holds the whitening of embeddings, fitted on its clips, unless these
        are too few or silent.
        """
        save_encoder(path, self.encoder, provenance)
        if store is not None:
            try:
                whiten_file(path, store, device=next(self.encoder.parameters()).device)
            except ValueError as error:
                log.warning("%s is written without: %s", path, error)
