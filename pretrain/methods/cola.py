"""COLA as a method of the training loop: two crops of a clip must find each other in the batch.

Source: Saeed et al. (arXiv 2010.10915) and google-research/cola (contrastive.py, network.py).
Departure: each crop is L2-normalized, as in the authors' evaluation; their pretraining normalizes
the whole clip, so that the level of a crop, and with it the noise, depends on the clip's length.
"""

import torch
from torch import Tensor, nn

from baselines.cola import KIND, LogMel, pool
from baselines.efficientnet import FEATURES, EfficientNetB0
from pretrain.config import Config
from pretrain.methods.byol import matching_loss
from pretrain.methods.method import Method

PROJECTED = 512
NOISE = 1e-3


class Cola(Method):
    """Encoder, projection [2B, 512] and bilinear similarity; there is no target.

    Both views share BatchNorm's statistics, as in the authors' code.
    """

    kind = KIND
    encoder: EfficientNetB0

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.log_mel, self.encoder = LogMel(), EfficientNetB0()
        self.encoder.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.projector = nn.Sequential(
            nn.Linear(FEATURES, PROJECTED), nn.LayerNorm(PROJECTED, eps=1e-3), nn.Tanh()
        )
        self.similarity = nn.Parameter(0.05 * torch.randn(PROJECTED, PROJECTED))

    def forward(self, view_a: Tensor, view_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch and its projections; see `Method`."""
        with torch.no_grad(), torch.autocast(view_a.device.type, enabled=False):
            images = torch.cat([self.log_mel(view_a[:, 0]), self.log_mel(view_b[:, 0], NOISE)])
        projections = self.projector(pool(self.encoder(images)))
        anchors, positives = projections.float().chunk(2)
        with torch.autocast(view_a.device.type, enabled=False):
            loss = matching_loss(anchors @ self.similarity, positives)
        return loss, projections.detach()

    def embed(self, wave: Tensor) -> Tensor:
        """Return the embedding: [B, 1, n] -> [B, 1280]."""
        return pool(self.encoder(self.log_mel(wave[:, 0])))
