"""BYOL-A as a method of the training loop: AudioNTT2020 under BYOL on mixed and resized log-mels.

Source: Niizumi et al. (arXiv 2103.06695) and nttcslab/byol-a (train.py, config.yaml). The loop's
Augmentation Layer is empty in the preset: BYOL-A's own views are made here, from log-mels.
"""

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from baselines.base import write_weights
from baselines.byol_a import KIND, AudioNtt2020, LogMel, pool
from pretrain.augment.spectrogram import EarlyNorm, mixed_views
from pretrain.config import Config
from pretrain.data.store import Store
from pretrain.methods.byol import Projection, both_ways, cosine_loss, head
from pretrain.methods.method import Method

EMBEDDING = 512


class ByolA(Method):
    """Online and target networks of BYOL-A.

    Raises:
        ValueError: a loss that BYOL-A does not have.
    """

    def __init__(self, config: Config) -> None:
        super().__init__()
        byol = config.byol
        if byol.loss != "byol":
            raise ValueError(f"byol.loss is {byol.loss!r}: byol_a has the loss 'byol' only")
        hidden, outputs = byol.projector
        self.mix_views = byol.mix_views
        self.log_mel, self.norm = LogMel(), EarlyNorm()
        encoder = AudioNtt2020(EMBEDDING)
        encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.online: Projection = Projection(encoder, pool, head(EMBEDDING, hidden, outputs))
        self.predictor = head(outputs, byol.predictor, outputs)
        self.target: Projection = copy.deepcopy(self.online).requires_grad_(False)

    def forward(self, view_a: Tensor, view_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch and its projections; see `Method`."""
        images = self.images(view_a, view_b)
        # Each view passes alone, so that its BatchNorm statistics are its own (the authors').
        passes = [images] if self.mix_views else list(images.chunk(2))
        projections = [self.online(views) for views in passes]
        predictions = torch.cat([self.predictor(views) for views in projections])
        with torch.no_grad():
            targets = torch.cat([self.target(views) for views in passes])
        return both_ways(cosine_loss, predictions, targets), torch.cat(projections).detach()

    @torch.no_grad()
    def images(self, view_a: Tensor, view_b: Tensor) -> Tensor:
        """Return both views' log-mels, mixed, resized and normalized again: [2B, 1, 64, F]."""
        images = mixed_views(view_a, view_b, self.log_mel, self.norm)
        return (images - images.mean()) / images.std().clamp_min(1e-6)

    def embed(self, wave: Tensor) -> Tensor:
        """Return the embedding: [B, 1, n] -> [B, 512]."""
        return pool(self.online.encoder(self.norm(self.log_mel(wave[:, 0]))))

    def save(self, path: Path, provenance: dict[str, Any], store: Store | None = None) -> None:
        """Write the online encoder's weights, which `baselines.byol_a` reads; see `Method`."""
        settings = self.norm.settings()
        write_weights(
            path, self.online.encoder, kind=KIND, settings=settings, provenance=provenance
        )
