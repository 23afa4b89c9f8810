"""DeLoRes-S and DeLoRes-M as methods of the training loop: Barlow Twins on BYOL-A's views.

DeLoRes-S (Ghosh et al., arXiv 2203.13628): two views of one crop, AudioNTT2020, a projector, and
the Barlow loss. The loss and its weight of 0.005 are those of the code of 2021, the projector
(three layers of one width, no bias, no dropout) that of the code of 2023.

DeLoRes-M (Ghosh et al., IEEE JSTSP 16(6), 2022): MoCo's InfoNCE between a query encoder and its
moving average, with a queue of keys, and a Barlow loss between the two after each of the three
convolution stages, as in the code of 2023.

Departures: AdamW in place of LARS and SGD; the queue is no larger than a fraction of the corpus,
where 65,536 keys would hold every clip several times over, as false negatives. DeLoRes-M's Barlow
loss is that of DeLoRes-S times `delores.barlow`: the code of 2023 weighs the diagonal like the
other entries, most of which is then sampling noise, and the sum by 5e-5 / 32, next to nothing.
Mixing and normalization depart from the authors' as BYOL-A's do here
(pretrain/augment/spectrogram.py).
"""

import copy
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, linear, normalize

from baselines.byol_a import MELS, pool
from baselines.delores import KIND
from pretrain.augment.spectrogram import mixed_views
from pretrain.config import Config, DeloresConfig
from pretrain.distributed import gather
from pretrain.methods.byol import Projection
from pretrain.methods.byol_a import LogMelMethod, audio_ntt

STAGES = 3


def barlow_loss(first: Tensor, second: Tensor, off_diagonal: float) -> Tensor:
    """Return how far the cross-correlation of two views' projections is from the identity.

    With c the correlation matrix over the batch, the sum of (1 - c_ii)^2 plus `off_diagonal` times
    the sum of c_ij^2. Over several processes it is that of the joined batch, on each of them.

    Args:
        first: projections of one view.
        second: of the other, in the same order.
        off_diagonal: weight of what lies off the diagonal, >= 0.

    Shape:
        first, second [B, D] -> scalar.

    Source: Barlow Twins (arXiv 2103.03230), equations 1 and 2.

    Example:
        >>> rows = torch.tensor([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> round(float(barlow_loss(rows, rows, 0.005)), 3)
        0.0
        >>> round(float(barlow_loss(rows, -rows, 0.005)), 3)
        8.0
    """
    a, b = (_standardized(gather(rows.float())[0]) for rows in (first, second))
    correlation = a.T @ b / len(a)
    diagonal = correlation.diagonal()
    others = correlation.square().sum() - diagonal.square().sum()
    return (1 - diagonal).square().sum() + off_diagonal * others


def _standardized(rows: Tensor) -> Tensor:
    """Return rows whose columns have mean 0 and deviation 1 over the batch."""
    centred = rows - rows.mean(0)
    return centred * (centred.square().mean(0) + 1e-5).rsqrt()


def projector(inputs: int, width: int) -> nn.Sequential:
    """Return Linear, BatchNorm, ReLU twice and Linear, without biases."""
    return nn.Sequential(
        nn.Linear(inputs, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(),
        nn.Linear(width, width, bias=False), nn.BatchNorm1d(width), nn.ReLU(),
        nn.Linear(width, width, bias=False),
    )  # fmt: skip


class Delores(LogMelMethod):
    """What DeLoRes-S and -M share: the views, and the file of weights.

    Attributes:
        variant: `s` or `m`, for the file.
    """

    kind = KIND
    variant: str

    def images(self, view_a: Tensor, view_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return the two views' log-mels, [B, 1, 64, T] each."""
        view_a, view_b = mixed_views(view_a, view_b, self.log_mel, self.norm).chunk(2)
        return view_a, view_b

    def settings(self) -> dict[str, Any]:
        """Return what log-mels are normalized by, and the variant."""
        return {**super().settings(), "variant": self.variant}


class DeloresS(Delores):
    """Encoder and projector; there is no target. Each view has BatchNorm statistics of its own."""

    variant = "s"

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config.delores
        embedding, width = self.config.embedding, self.config.projector
        self.online: Projection = Projection(
            audio_ntt(embedding), pool, projector(embedding, width)
        )

    def forward(self, view_a: Tensor, view_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch and its projections; see `Method`."""
        a, b = (self.online(view) for view in self.images(view_a, view_b))
        with torch.autocast(view_a.device.type, enabled=False):
            loss = barlow_loss(a, b, self.config.off_diagonal)
        return loss, torch.cat([a, b]).detach()


class Stages(nn.Module):
    """An encoder that also gives the mean over time of each convolution stage, and a key's layer.

    Args:
        config: widths.

    Shape:
        log-mel [B, 1, 64, T] -> direction [B, key], means [B, 2048], [B, 1024] and [B, 512].
    """

    def __init__(self, config: DeloresConfig) -> None:
        super().__init__()
        self.encoder = audio_ntt(config.embedding)
        self.key = nn.Linear(config.embedding, config.key)

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return the direction and the means; see the class."""
        blocks = self.encoder.blocks(image)
        means = [maps.float().mean(3).mT.flatten(1) for maps in blocks]  # order: mel, channel
        vector = pool(self.encoder.steps(blocks[-1]))
        return normalize(self.key(vector).float(), dim=1), means


class DeloresM(Delores):
    """Query encoder, its moving average for keys, a queue of keys, and a projector for each stage.

    The queue is a buffer: a run goes on from its state as if it had not stopped.

    Raises:
        ValueError: the batch does not divide the queue.
    """

    variant = "m"
    queue: Tensor
    oldest: Tensor

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = delores = config.delores
        batch = config.optim.batch
        if delores.queue % batch:
            raise ValueError(
                f"delores.queue is {delores.queue}: give a multiple of optim.batch, "
                f"which is {batch}"
            )
        self.online: Stages = Stages(delores)
        self.target: Stages = copy.deepcopy(self.online).requires_grad_(False)
        self.projectors = nn.ModuleList(
            projector(64 * MELS >> stage, delores.projector) for stage in range(1, STAGES + 1)
        )
        self.register_buffer("queue", normalize(torch.randn(delores.queue, delores.key), dim=1))
        self.register_buffer("oldest", torch.zeros((), dtype=torch.int64))

    def forward(self, view_a: Tensor, view_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch and its queries and keys; see `Method`."""
        image_a, image_b = self.images(view_a, view_b)
        queries, stages_a = self.online(image_a)
        with torch.no_grad():
            keys, stages_b = self.target(image_b)
        pairs = [
            (project(a), project(b))
            for project, a, b in zip(self.projectors, stages_a, stages_b, strict=True)
        ]
        with torch.autocast(view_a.device.type, enabled=False):
            loss = self.infonce(queries, keys)
            for a, b in pairs:
                loss = loss + self.config.barlow * barlow_loss(a, b, self.config.off_diagonal)
        if self.training:
            self.remember(keys)
        return loss, torch.cat([queries, keys]).detach()

    def infonce(self, queries: Tensor, keys: Tensor) -> Tensor:
        """Return the cross-entropy of telling a query's key from those of the queue."""
        own = (queries * keys).sum(1, keepdim=True)
        # A copy: the queue changes before the gradient is taken.
        scores = torch.cat([own, linear(queries, self.queue.clone())], 1) / self.config.temperature
        return cross_entropy(scores, torch.zeros(len(scores), dtype=torch.int64, device=own.device))

    @torch.no_grad()
    def remember(self, keys: Tensor) -> None:
        """Put the keys of all processes in the place of the oldest ones."""
        new, _ = gather(keys)
        first = int(self.oldest)
        self.queue[first : first + len(new)] = new
        self.oldest.copy_((self.oldest + len(new)) % len(self.queue))
