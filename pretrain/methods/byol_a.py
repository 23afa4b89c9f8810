"""BYOL-A as a method of the training loop: AudioNTT2020 under BYOL on mixed and resized log-mels.

Source: Niizumi et al. (arXiv 2103.06695) and nttcslab/byol-a (train.py, config.yaml). The loop's
Augmentation Layer is empty in the preset: BYOL-A's own views are made here, from log-mels.
"""

import copy
from typing import Any

import torch
from torch import Tensor

from baselines.byol_a import KIND, AudioNtt2020, LogMel, pool
from pretrain.augment.spectrogram import EarlyNorm, mixed_views
from pretrain.config import Config
from pretrain.methods.byol import Projection, both_ways, cosine_loss, head
from pretrain.methods.method import Method

EMBEDDING = 512


def audio_ntt(embedding: int) -> AudioNtt2020:
    """Return the encoder, in channels_last."""
    encoder = AudioNtt2020(embedding)
    encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return encoder


class LogMelMethod(Method):
    """What BYOL-A and DeLoRes share: AudioNTT2020 within `online`, on normalized log-mels."""

    def __init__(self) -> None:
        super().__init__()
        self.log_mel, self.norm = LogMel(), EarlyNorm()

    @property
    def encoder(self) -> AudioNtt2020:  # type: ignore[override]
        """The encoder that the weights file will hold."""
        encoder = self.online.encoder
        assert isinstance(encoder, AudioNtt2020)
        return encoder

    def embed(self, wave: Tensor) -> Tensor:
        """Return the embedding: [B, 1, n] -> [B, D]."""
        return pool(self.encoder(self.norm(self.log_mel(wave[:, 0]))))

    def settings(self) -> dict[str, Any]:
        """Return what log-mels are normalized by."""
        return self.norm.settings()


class ByolA(LogMelMethod):
    """Online and target networks of BYOL-A.

    Raises:
        ValueError: a loss that BYOL-A does not have.
    """

    kind = KIND

    def __init__(self, config: Config) -> None:
        super().__init__()
        byol = config.byol
        if byol.loss != "byol":
            raise ValueError(f"byol.loss is {byol.loss!r}: byol_a has the loss 'byol' only")
        hidden, outputs = byol.projector
        self.mix_views = byol.mix_views
        encoder = audio_ntt(EMBEDDING)
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
