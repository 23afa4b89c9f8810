"""SSAST's filter bank and network, which pretraining and the HEAR module share.

Source: Gong et al. (arXiv 2110.09784) and YuanGongND/ssast (ast_models.py, dataloader.py).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d, interpolate
from torchaudio.compliance import kaldi

SAMPLE_RATE, HOP, WINDOW, MELS = 16_000, 160, 400, 128
HEAD = 64  # numbers per attention head
SPECIAL = 2  # tokens before the patches: cls, distillation


def fbank(wave: Tensor) -> Tensor:
    """Return Kaldi's log mel filter bank of a batch, with the settings of SSAST's dataloader.

    Frames of 25 ms every 10 ms that lie within the clip; 128 bands from 20 Hz to 8 kHz.

    Shape:
        [B, n], n >= 400 -> [B, 1 + (n - 400) // 160, 128].

    Example:
        >>> fbank(torch.zeros(1, 16_000)).shape
        torch.Size([1, 98, 128])
    """
    return torch.stack([
        kaldi.fbank(
            clip[None], htk_compat=True, use_energy=False, window_type="hanning",
            num_mel_bins=MELS, dither=0.0, sample_frequency=SAMPLE_RATE,
        ) for clip in wave
    ])  # fmt: skip


class SsastNetwork(nn.Module):
    """Patch embedding, learned positions and a pre-norm transformer.

    Args:
        width: of tokens: 192 (tiny), 384 (small), 768 (base).
        depth: blocks.
        patch: mel bands and frames of a patch.
        columns: of patches along time whose positions are learned.

    Shape:
        normalized bank [B, T, 128] -> tokens [B, 2 + rows * columns, width]: cls, distillation,
        then the patches, row by row from the lowest bands.
    """

    def __init__(
        self,
        width: int = 192,
        depth: int = 12,
        patch: tuple[int, int] = (16, 16),
        columns: int = 64,
    ) -> None:
        super().__init__()
        self.patch, self.grid = patch, (MELS // patch[0], columns)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.dist_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, SPECIAL + math.prod(self.grid), width))
        self.patch_embed = nn.Conv2d(1, width, patch, patch)
        layer = nn.TransformerEncoderLayer(
            width, width // HEAD, 4 * width, 0.0, "gelu",
            layer_norm_eps=1e-6, batch_first=True, norm_first=True,
        )  # fmt: skip
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.initialize()

    def initialize(self) -> None:
        """Draw tokens, positions and linear layers as the authors do; blocks differ."""
        for name, parameter in self.named_parameters():
            if name.startswith("patch_embed"):
                continue  # PyTorch's default
            if parameter.ndim > 1:
                nn.init.trunc_normal_(parameter, std=0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def embed_patches(self, bank: Tensor, stride: tuple[int, int]) -> Tensor:
        """Return the patches' embeddings alone: [B, T, 128] -> [B, D, rows, columns]."""
        image = bank.mT[:, None]
        embed = self.patch_embed
        return conv2d(image, embed.weight, embed.bias, stride)

    def positions(self, rows: int, columns: int) -> Tensor:
        """Return the positions of a grid of patches, [1, rows * columns, D].

        The middle of the learned columns where fewer are wanted, else interpolated, as the authors
        do; rows likewise interpolated.
        """
        grid = self.pos_embed[:, SPECIAL:].mT.unflatten(2, self.grid)
        had_rows, had = self.grid
        if columns < had:
            first = had // 2 - columns // 2
            grid = grid[..., first : first + columns]
        elif columns > had:
            grid = interpolate(grid, (had_rows, columns), mode="bilinear")
        if rows != had_rows:
            grid = interpolate(grid, (rows, columns), mode="bilinear")
        return grid.flatten(2).mT

    def with_positions(self, patches: Tensor, rows: int, columns: int) -> Tensor:
        """Return what the blocks take: special tokens and patches [B, N, D], positions added."""
        special = torch.cat([self.cls_token, self.dist_token], 1) + self.pos_embed[:, :SPECIAL]
        patches = patches + self.positions(rows, columns)
        return torch.cat([special.expand(len(patches), -1, -1), patches], 1)

    def forward(self, bank: Tensor, stride: tuple[int, int] | None = None) -> Tensor:
        """Return the tokens; see the class.

        Args:
            bank: normalized.
            stride: of the patches in bands and frames; None is that of pretraining, their size.
        """
        return self.blocks(bank, stride or self.patch)[0][-1]

    def blocks(self, bank: Tensor, stride: tuple[int, int]) -> tuple[list[Tensor], int]:
        """Return the tokens after every block, the last ones normalized, and how many rows."""
        maps = self.embed_patches(bank, stride)
        rows, columns = maps.shape[2:]
        tokens, stages = self.with_positions(maps.flatten(2).mT, rows, columns), []
        for layer in self.encoder.layers:
            tokens = layer(tokens)
            stages.append(tokens)
        return [*stages[:-1], self.norm(stages[-1])], rows
