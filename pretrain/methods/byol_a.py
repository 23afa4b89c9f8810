"""BYOL-A as a method of the training loop: AudioNTT2020 under BYOL on mixed and resized log-mels.

Source: Niizumi et al. (arXiv 2103.06695) and nttcslab/byol-a (train.py, config.yaml). The loop's
Augmentation Layer is empty in the preset: BYOL-A's own views are made here, from log-mels.
"""

import copy
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from baselines.byol_a import KIND, AudioNtt2020, LogMel, pool
from baselines.weights_file import write_weights
from pretrain.augment.spectrogram import EarlyNorm, mix, random_resize_crop
from pretrain.config import ByolConfig, Config
from pretrain.data.store import Store
from pretrain.methods.byol import head
from pretrain.methods.losses import cosine_loss

EMBEDDING = 512


class PooledEncoder(nn.Sequential):
    """AudioNTT2020, max + mean over time, projector.

    Shape:
        normalised log-mels [B, 1, 64, T] -> [B, D].
    """

    def __init__(self, encoder: AudioNtt2020, projector: nn.Module) -> None:
        super().__init__()
        self.encoder, self.projector = encoder, projector

    def forward(self, images: Tensor) -> Tensor:
        """Return the projections; see the class."""
        projections: Tensor = self.projector(pool(self.encoder(images)))
        return projections


class ByolA(nn.Module):
    """Online and target networks of BYOL-A.

    Args:
        config: heads and target; the loss is `byol`.

    Shape:
        two views [B, 1, T] -> scalar loss, projections [2B, D] of the online network.

    Raises:
        ValueError: a loss that BYOL-A has not.
    """

    def __init__(self, config: ByolConfig) -> None:
        super().__init__()
        if config.loss != "byol":
            raise ValueError(f"byol.loss is {config.loss!r}: byol_a has the loss 'byol' only")
        hidden, outputs = config.projector
        self.mix_views = config.mix_views
        self.log_mel, self.norm = LogMel(), EarlyNorm()
        encoder = AudioNtt2020(EMBEDDING)
        encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.online = PooledEncoder(encoder, head(EMBEDDING, hidden, outputs))
        self.predictor = head(outputs, config.predictor, outputs)
        self.target = copy.deepcopy(self.online).requires_grad_(False)

    @classmethod
    def from_config(cls, config: Config) -> "ByolA":
        """Return the networks of a run."""
        return cls(config.byol)

    def forward(self, view_a: Tensor, view_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch and its projections; see the class."""
        images = self.images(view_a, view_b)
        # Each view passes alone, so that its BatchNorm statistics are its own (the authors').
        parts = [images] if self.mix_views else list(images.chunk(2))
        projections = [self.online(part) for part in parts]
        predictions = torch.cat([self.predictor(part) for part in projections]).float()
        with torch.no_grad():
            targets = torch.cat([self.target(part) for part in parts]).float()
        prediction_a, prediction_b = predictions.chunk(2)
        target_a, target_b = targets.chunk(2)
        loss = cosine_loss(prediction_a, target_b) + cosine_loss(prediction_b, target_a)
        return loss, torch.cat(projections).detach()

    @torch.no_grad()
    def images(self, view_a: Tensor, view_b: Tensor) -> Tensor:
        """Return both views' log-mels, mixed, resized and normalised again: [2B, 1, 64, F]."""
        with torch.autocast(view_a.device.type, enabled=False):
            waves = [view_a] if torch.equal(view_a, view_b) else [view_a, view_b]
            images = self.norm(self.log_mel(torch.cat(waves)[:, 0]))
            views = images.chunk(2) if len(waves) == 2 else (images, images)
            images = torch.cat([random_resize_crop(mix(view)) for view in views])
            return (images - images.mean()) / images.std().clamp_min(1e-6)

    @torch.no_grad()
    def update_target(self, tau: float) -> None:
        """Move the target to tau * target + (1 - tau) * online."""
        torch._foreach_lerp_(
            list(self.target.parameters()), list(self.online.parameters()), 1 - tau
        )

    def embed(self, wave: Tensor) -> Tensor:
        """Return the embedding: [B, 1, n] -> [B, 512]."""
        return pool(self.online.encoder(self.norm(self.log_mel(wave[:, 0]))))

    def save(self, path: Path, provenance: dict[str, Any], store: Store | None = None) -> None:
        """Write the online encoder's weights, which `baselines.byol_a` reads."""
        settings = {"mean": float(self.norm.mean), "std": float(self.norm.std)}
        write_weights(
            path, self.online.encoder, kind=KIND, settings=settings, provenance=provenance
        )
