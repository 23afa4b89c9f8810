"""3 x 3 convolutions with a quarter of the multiplications (Winograd), as matrix products.

A tile of 4 x 4 outputs needs 6 x 6 products a pair of channels where the sum by definition needs
9 x 16. The sums that take inputs to the points and products back (`polynomials`) are matrix
products as well, of 36 x 36 and 16 x 36 numbers with all channels of all tiles, and cost a tenth of
the time. Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks (2015), sections
4.1 to 4.3.

Their points 0, 1, -1, 2, -2 and infinity lose a digit. 0, 3/4, -3/4, 3/2, -3/2 and infinity, whose
powers differ less, lose half as much: 1.4 % against 2.8 % in bfloat16 (tools/speed/SPEED.md).
"""

import numpy as np
import torch
from torch import Tensor, nn

from wavebyol_hear.fast.polynomials import input_sums, kernel_sums, output_sums

KERNEL_SIZE = 3
# Of a polynomial's values, beside infinity.
POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)
SIZE = len(POINTS) + 1
TILE = SIZE - KERNEL_SIZE + 1
# Tiles computed at once: enough rows for the products, few enough to stay in the cache.
TILES = 256


class WinogradConv2d(nn.Module):
    """A 3 x 3 convolution of stride 1 with a border of zeros, its kernel transformed beforehand.

    Args:
        convolution: whose numbers it gives, up to rounding.
        dtype: in which it computes.

    Shape:
        [B, C, rows, T] -> [B, K, rows, T], channels last in memory.
    """

    def __init__(self, convolution: nn.Conv2d, dtype: torch.dtype) -> None:
        """Transform the kernel."""
        super().__init__()
        kernel = convolution.weight.detach()
        self.out_channels = convolution.out_channels

        def matrix(values: np.ndarray) -> Tensor:
            return torch.from_numpy(values).to(kernel.device, dtype)

        there, back = input_sums(POINTS), output_sums(POINTS, KERNEL_SIZE)
        self.to_points = matrix(np.kron(there, there))
        self.from_points = matrix(np.kron(back, back))
        sums = torch.from_numpy(kernel_sums(POINTS, KERNEL_SIZE)).to(kernel)
        products = torch.einsum("ia,kcab,jb->ijck", sums, kernel, sums)
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
        down, across = -(-height // TILE), -(-width // TILE)
        image = nn.functional.pad(
            image, (0, 0, 1, across * TILE - width + 1, 1, down * TILE - height + 1)
        )
        out = image.new_empty(batch, down, TILE, across, TILE, len(self.bias))
        # Several small images at once, or a large one band by band.
        images = max(1, TILES // (down * across))
        rows = max(1, TILES // (min(images, batch) * across))
        for some in range(0, batch, images):
            for first in range(0, down, rows):
                part = out[some : some + images, first : first + rows]
                end = (first + part.shape[1]) * TILE + KERNEL_SIZE - 1
                self._band(image[some : some + images, first * TILE : end], part)
        return out.view(batch, down * TILE, across * TILE, -1)[:, :height, :width]

    def _band(self, image: Tensor, out: Tensor) -> None:
        """Write a band of tiles, [B, down, 4, across, 4, K], of padded images."""
        batch, down, _, across, _, channels = out.shape
        tiles = image.unfold(1, SIZE, TILE).unfold(2, SIZE, TILE).permute(4, 5, 0, 1, 2, 3)
        inputs = self.to_points @ tiles.reshape(SIZE * SIZE, -1)
        products = torch.bmm(inputs.view(SIZE * SIZE, -1, image.shape[-1]), self.weight)
        found = self.from_points @ products.view(SIZE * SIZE, -1)
        found = found.view(TILE, TILE, batch, down, across, channels)
        torch.add(found.permute(2, 3, 0, 4, 1, 5), self.bias, out=out)
