"""SSAST as a method of the training loop: masked patches of a filter bank, matched and predicted.

Source: Gong et al. (arXiv 2110.09784) and YuanGongND/ssast (ast_models.py, traintest_mask.py). One
pass matches predictions to masked patches (discriminative), another with masks of its own predicts
their values (generative). As in the authors' code the softmax is over predictions for a fixed
target, where equation 1 of the paper normalizes over targets.

Departures: masks are squares that are cut at the edges and may start outside, and their surplus is
dropped at random (the authors' wrap around the right edge and never mask the first and the last
patch); short crops; AdamW; and the filter bank is normalized by statistics of the first batches.
"""

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import cross_entropy, mse_loss, unfold

from baselines.ssast import KIND
from baselines.ssast_network import HOP, SPECIAL, WINDOW, SsastNetwork, fbank
from pretrain.augment.spectrogram import EarlyNorm
from pretrain.config import Config
from pretrain.distributed import gather, rank
from pretrain.methods.method import Method

SIDES = 3, 5  # of a square of masked patches, least and most


def square_masks(clips: int, grid: tuple[int, int], masked: int, draw: torch.Generator) -> Tensor:
    """Return which patches of each clip are masked: squares of patches, of one side per clip.

    Squares are drawn until they hold enough patches; of those, as many as are wanted are kept at
    random. Every patch is masked about equally often.

    Args:
        clips: number of masks.
        grid: rows and columns of patches.
        masked: patches masked in each clip.
        draw: of sides, places and surplus.

    Shape:
        returns patch numbers [clips, masked], row by row.

    Example:
        >>> square_masks(2, (8, 8), 50, torch.Generator().manual_seed(0)).shape
        torch.Size([2, 50])
    """
    count = grid[0] * grid[1]
    side = torch.randint(SIDES[0], SIDES[1] + 1, (clips, 1, 1), generator=draw)
    inside = []
    for length in grid:
        places = length + side - 1  # from all but one outside at the start to that at the end
        first = (torch.rand(clips, count, 1, generator=draw) * places).long() - (side - 1)
        index = torch.arange(length)
        inside.append((index >= first) & (index < first + side))
    squares = (inside[0][..., None] & inside[1][..., None, :]).flatten(2)  # [clips, squares, N]
    covered = squares.to(torch.uint8).cummax(1).values
    enough = (covered.sum(2) >= masked).to(torch.uint8).argmax(1)
    chosen = covered[torch.arange(clips), enough]
    return (chosen + torch.rand(clips, count, generator=draw)).topk(masked, 1).indices


def free_masks(clips: int, count: int, masked: int, draw: torch.Generator) -> Tensor:
    """Return which of `count` frames of each clip are masked, each alike: [clips, masked]."""
    return torch.rand(clips, count, generator=draw).topk(masked, 1).indices


def discriminative_loss(predictions: Tensor, targets: Tensor) -> Tensor:
    """Return InfoNCE within each clip: which prediction belongs to a masked patch.

    Shape:
        predictions, targets [B, M, P] -> scalar; log(M) where nothing is known.
    """
    scores = targets @ predictions.mT  # [B, target, prediction]
    own = torch.arange(scores.shape[1], device=scores.device).expand(len(scores), -1)
    return cross_entropy(scores.mT, own)


def attention(device: torch.device) -> AbstractContextManager[None]:
    """Return a context in which attention is plain matrix products on a CPU.

    For the 66 tokens of a short crop the backward pass of torch's fused attention takes 46 % of the
    time of a step there.
    """
    return sdpa_kernel(SDPBackend.MATH) if device.type == "cpu" else nullcontext()


class Ssast(Method):
    """Encoder, mask embedding and the two heads; there is no target.

    Raises:
        ValueError: the crop, whose frames are cut in whole patches, has not one.
    """

    kind = KIND
    encoder: SsastNetwork

    def __init__(self, run: Config) -> None:
        super().__init__()
        config, crop_samples = run.ssast, run.encoder.crop_samples
        self.config = config
        frames = 1 + (crop_samples - WINDOW) // HOP
        columns = frames // config.patch[1] if crop_samples >= WINDOW else 0
        if not columns:
            raise ValueError(f"encoder.crop_samples is {crop_samples}: too short for a patch")
        self.encoder = SsastNetwork(config.width, config.depth, config.patch, columns)
        self.norm = EarlyNorm()
        values = config.patch[0] * config.patch[1]
        self.discriminative, self.generative = (
            nn.Sequential(
                nn.Linear(config.width, config.width), nn.ReLU(), nn.Linear(config.width, values)
            )
            for _ in range(2)
        )
        self.mask_embed = nn.Parameter(torch.empty(1, 1, config.width))
        nn.init.xavier_normal_(self.mask_embed)
        self.patches = math.prod(self.encoder.grid)
        self.masked = max(2, round(config.masked * self.patches))

    def forward(self, view_a: Tensor, view_b: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of a batch and the mean tokens of both passes; see `Method`."""
        banks = self.banks(view_a, view_b)
        masks = self.masks(len(banks)).to(banks.device)
        tokens = self.masked_tokens(banks, masks)
        hidden = tokens[:, SPECIAL:].gather(1, _rows(masks, tokens.shape[2]))
        hidden_a, hidden_b = hidden.chunk(2)
        with torch.no_grad():
            patches = unfold(banks.mT[:, None], self.config.patch, stride=self.config.patch).mT
            targets_a, targets_b = patches.gather(1, _rows(masks, patches.shape[2])).chunk(2)
        predictions_a, predictions_b = self.discriminative(hidden_a), self.generative(hidden_b)
        with torch.autocast(view_a.device.type, enabled=False):
            loss = discriminative_loss(predictions_a.float(), targets_a)
            error = mse_loss(predictions_b.float(), targets_b)
        return loss + self.config.generative * error, tokens[:, SPECIAL:].detach().mean(1)

    @torch.no_grad()
    def banks(self, view_a: Tensor, view_b: Tensor) -> Tensor:
        """Return both views' filter banks, deviation 1/2, in whole patches: [2B, T, 128]."""
        with torch.autocast(view_a.device.type, enabled=False):
            if torch.equal(view_a, view_b):
                banks = self.norm(fbank(view_a[:, 0])).repeat(2, 1, 1)
            else:
                banks = self.norm(fbank(torch.cat([view_a, view_b])[:, 0]))
            return banks[:, : self.encoder.grid[1] * self.config.patch[1]] / 2

    @torch.no_grad()
    def masks(self, passes: int) -> Tensor:
        """Return the masked patches of every pass of this process's clips, [passes, masked].

        The first process's generator stands for all, so that the number of processes does not
        change the masks of a batch.
        """
        seed = torch.randint(2**31, (1,))
        seeds, _ = gather(seed.to(self.mask_embed.device))
        draw = torch.Generator().manual_seed(int(seeds[0]))
        total, half, first = passes * len(seeds), passes // 2, rank() * (passes // 2)
        if self.encoder.grid[0] > 1:
            masks = square_masks(total, self.encoder.grid, self.masked, draw)
        else:
            masks = free_masks(total, self.patches, self.masked, draw)
        return torch.cat([part[first : first + half] for part in masks.chunk(2)])

    def masked_tokens(self, banks: Tensor, masks: Tensor) -> Tensor:
        """Return the tokens where masked patches' embeddings are replaced by one vector."""
        encoder = self.encoder
        patches = encoder.embed_patches(banks, self.config.patch).flatten(2).mT
        masked = torch.zeros(patches.shape[:2], dtype=torch.bool, device=patches.device)
        masked.scatter_(1, masks, True)
        patches = torch.where(masked[..., None], self.mask_embed, patches)
        with attention(banks.device):
            tokens: Tensor = encoder.encoder(encoder.with_positions(patches, *encoder.grid))
        return encoder.norm(tokens)

    def embed(self, wave: Tensor) -> Tensor:
        """Return the mean of the patch tokens, none masked: [B, 1, n] -> [B, D]."""
        tokens: Tensor = self.encoder(self.norm(fbank(wave[:, 0])) / 2)
        return tokens[:, SPECIAL:].mean(1)

    def settings(self) -> dict[str, Any]:
        """Return what the filter bank is normalized by."""
        return self.norm.settings()


def _rows(index: Tensor, width: int) -> Tensor:
    """Return an index of rows for `gather`: [B, M] -> [B, M, width]."""
    return index[..., None].expand(-1, -1, width)
