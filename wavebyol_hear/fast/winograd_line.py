"""Strided convolutions over time with fewer multiplications, where a kernel is two strides long.

With a stride's inputs gathered in one frame such a convolution has two taps: each output is a
product with its frame and one with the next. Four outputs then need 5 products where the sum by
definition needs 8 (`polynomials`): the second and third layer of the authors' front end.
"""

import numpy as np
import torch
from torch import Tensor, nn

from wavebyol_hear.fast.polynomials import input_sums, kernel_sums, output_sums

TAPS = 2
# Of a polynomial's values, beside infinity. Of the sets tried, 0, 1, -1, 1/2 among them, these lose
# least in bfloat16: 0.6 % of the norm, the definition 0.3 % (tools/speed/SPEED.md).
POINTS = (0.0, 1.0, -0.5, -2.0)
OUTPUTS, FRAMES = len(POINTS), len(POINTS) + 1
# Tiles of four outputs computed at once: enough rows for the products, few enough for the cache.
TILES = 256


class WinogradLine(nn.Module):
    """A convolution over the columns of images of one row, its kernel transformed beforehand.

    Args:
        convolution: whose numbers it gives, up to rounding; its kernel is two strides long.
        dtype: in which it computes.

    Shape:
        [B, C, 1, T] -> [B, K, 1, columns], channels last in memory.
    """

    def __init__(self, convolution: nn.Conv2d, dtype: torch.dtype) -> None:
        """Transform the kernel."""
        super().__init__()
        self.stride, self.padding = convolution.stride[1], int(convolution.padding[1])
        kernel = convolution.weight.detach()[:, :, 0]

        def matrix(values: np.ndarray) -> Tensor:
            return torch.from_numpy(values).to(kernel.device, dtype)

        self.to_points = matrix(input_sums(POINTS))
        self.from_points = matrix(output_sums(POINTS, TAPS))
        sums = torch.from_numpy(kernel_sums(POINTS, TAPS)).to(kernel)
        taps = kernel.unflatten(2, (TAPS, self.stride)).permute(2, 0, 3, 1).flatten(2)
        self.weight = torch.einsum("it,tkc->ikc", sums, taps).to(dtype).contiguous()
        assert convolution.bias is not None
        self.bias = convolution.bias.detach().to(dtype)

    def forward(self, image: Tensor) -> Tensor:
        """Return the convolution; see the class."""
        batch, channels, _, length = image.shape
        columns = (length + 2 * self.padding) // self.stride + 1 - TAPS
        tiles = -(-columns // OUTPUTS)
        frames = tiles * OUTPUTS + 1
        # What lies past the last frame is cut off: a negative padding.
        behind = frames * self.stride - self.padding - length
        line = nn.functional.pad(image[:, :, 0].mT, (0, 0, self.padding, behind))
        line = line.reshape(batch, frames, self.stride * channels)
        out = image.new_empty(batch, tiles, OUTPUTS, len(self.bias))
        at_once = max(1, TILES // batch)
        for first in range(0, tiles, at_once):
            part = out[:, first : first + at_once]
            end = (first + part.shape[1]) * OUTPUTS + 1
            self._tiles(line[:, first * OUTPUTS : end], part)
        return out.flatten(1, 2)[:, :columns].mT[:, :, None]

    def _tiles(self, line: Tensor, out: Tensor) -> None:
        """Write tiles of outputs, [B, tiles, 4, K], of frames [B, 4 tiles + 1, stride C]."""
        batch, tiles, _, channels = out.shape
        frames = line.unfold(1, FRAMES, OUTPUTS).permute(3, 0, 1, 2)
        inputs = self.to_points @ frames.reshape(FRAMES, -1)
        # One after another, all threads in each: five products share out badly.
        products = inputs.new_empty(FRAMES, batch * tiles, channels)
        for point, weight, product in zip(
            inputs.view(FRAMES, -1, line.shape[2]), self.weight, products, strict=True
        ):
            torch.mm(point, weight.T, out=product)
        found = (self.from_points @ products.view(FRAMES, -1)).view(OUTPUTS, batch, tiles, channels)
        torch.add(found.permute(1, 2, 0, 3), self.bias, out=out)
