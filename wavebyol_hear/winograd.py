"""3 x 3 convolutions with fewer multiplications (Winograd), as sixteen or 36 matrix products.

A tile of m x m outputs needs (m + 2)^2 products a pair of channels where the sum by definition
needs 9 m^2: 2.25 times fewer at m = 2, 4 times fewer at m = 4. What it costs besides, sums over
the image, is small where there are many channels. Source: Lavin and Gray, Fast Algorithms for
Convolutional Neural Networks (2015), sections 4.1 and 4.2; the matrices are theirs.
"""

import torch
from torch import Tensor, nn

# Rows to and from the domain of the products, by m: of an input tile, the kernel, an output tile.
INPUT = {
    2: ((1, 0, -1, 0), (0, 1, 1, 0), (0, -1, 1, 0), (0, 1, 0, -1)),
    4: (
        (4, 0, -5, 0, 1, 0),
        (0, -4, -4, 1, 1, 0),
        (0, 4, -4, -1, 1, 0),
        (0, -2, -1, 2, 1, 0),
        (0, 2, -1, -2, 1, 0),
        (0, 4, 0, -5, 0, 1),
    ),
}
KERNEL = {
    2: ((1, 0, 0), (1 / 2, 1 / 2, 1 / 2), (1 / 2, -1 / 2, 1 / 2), (0, 0, 1)),
    4: (
        (1 / 4, 0, 0),
        (-1 / 6, -1 / 6, -1 / 6),
        (-1 / 6, 1 / 6, -1 / 6),
        (1 / 24, 1 / 12, 1 / 6),
        (1 / 24, -1 / 12, 1 / 6),
        (0, 0, 1),
    ),
}
OUTPUT = {
    2: ((1, 1, 1, 0), (0, 1, -1, -1)),
    4: ((1, 1, 1, 1, 1, 0), (0, 1, -1, 2, -2, 0), (0, 1, 1, 4, 4, 0), (0, 1, -1, 8, -8, 1)),
}

# Tiles computed at once: the products of a tile take 2 to 4 times its outputs' memory.
TILES = 4096


class WinogradConv2d(nn.Module):
    """A 3 x 3 convolution of stride 1 with a border of zeros, its kernel transformed beforehand.

    Args:
        convolution: whose numbers it gives, up to rounding.
        dtype: in which it computes. Tiles are 4 x 4 in float32 and 2 x 2 in less, where the
            larger factors of the former would cost a digit (3 % error against 0.6 % in bfloat16).

    Shape:
        [B, C, rows, T] -> [B, K, rows, T], channels last in memory.
    """

    def __init__(self, convolution: nn.Conv2d, dtype: torch.dtype) -> None:
        """Transform the kernel."""
        super().__init__()
        self.tile = 4 if dtype.itemsize >= 4 else 2
        kernel = convolution.weight
        to_domain = torch.tensor(KERNEL[self.tile], dtype=kernel.dtype, device=kernel.device)
        products = torch.einsum("ia,kcab,jb->ijck", to_domain, kernel, to_domain)
        self.weight = products.flatten(0, 1).to(dtype).contiguous()
        assert convolution.bias is not None
        self.bias = convolution.bias.detach().to(dtype)

    def forward(self, image: Tensor, dilation: int = 1) -> Tensor:
        """Return the convolution, with `dilation` columns between taps; see the class."""
        batch, _, _, columns = image.shape
        rows = image.permute(0, 2, 3, 1)
        if dilation > 1:  # Every dilation-th column is an image of its own.
            rows = nn.functional.pad(rows, (0, 0, 0, -columns % dilation))
            rows = rows.unflatten(2, (-1, dilation)).movedim(3, 0).flatten(0, 1)
        rows = self._convolve(rows)
        if dilation > 1:
            rows = rows.unflatten(0, (dilation, batch)).movedim(0, 3).flatten(2, 3)[:, :, :columns]
        return rows.permute(0, 3, 1, 2)

    def _convolve(self, image: Tensor) -> Tensor:
        """Return the convolution of an image, channels last: [B, R, T, C] -> [B, R, T, K]."""
        batch, height, width = image.shape[:3]
        tile = self.tile
        down, across = -(-height // tile), -(-width // tile)
        image = nn.functional.pad(
            image, (0, 0, 1, across * tile - width + 1, 1, down * tile - height + 1)
        )
        out = image.new_empty(batch, down, tile, across, tile, self.bias.shape[0])
        most = max(1, TILES // (batch * across))
        for first in range(0, down, most):
            part = out[:, first : first + most]
            height_read = part.shape[1] * tile + 2
            self._band(image[:, first * tile : first * tile + height_read], part)
        return out.view(batch, down * tile, across * tile, -1)[:, :height, :width]

    def _band(self, image: Tensor, out: Tensor) -> None:
        """Write a band of tiles, [B, down, tile, across, tile, K], of a padded image."""
        tile, size, channels = self.tile, self.tile + 2, image.shape[-1]
        batch, down, _, across = out.shape[:4]
        inputs = image.new_empty(size, size, batch, down, across, channels)
        lines = [image[:, i : i + (down - 1) * tile + 1 : tile] for i in range(size)]
        for i, factors in enumerate(INPUT[tile]):
            line = _combine(factors, lines)
            places = [line[:, :, j : j + (across - 1) * tile + 1 : tile] for j in range(size)]
            for j, others in enumerate(INPUT[tile]):
                inputs[i, j] = _combine(others, places)
        products = torch.bmm(inputs.view(size * size, -1, channels), self.weight)
        products = products.view(size, size, batch, down, across, -1)
        for i, factors in enumerate(OUTPUT[tile]):
            line = _combine(factors, list(products))
            for j, others in enumerate(OUTPUT[tile]):
                out[:, :, i, :, j] = _combine(others, list(line)).add_(self.bias)


def _combine(factors: tuple[float, ...], parts: list[Tensor]) -> Tensor:
    """Return the sum of parts times factors, two of which at least are not 0, as a new tensor."""
    used = [(factor, part) for factor, part in zip(factors, parts, strict=True) if factor]
    (first, start), (second, other), *rest = used
    total = torch.add(start if first == 1 else start * first, other, alpha=second)
    for factor, part in rest:
        total.add_(part, alpha=factor)
    return total
