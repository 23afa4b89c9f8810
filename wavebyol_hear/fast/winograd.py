"""Convolutions with fewer multiplications, as matrix products (Toom and Cook; Winograd).

A few outputs of a convolution are coefficients of a product of polynomials, which is known by its
values at a few points, infinity (the highest coefficient) among them: the kernel's values times the
inputs', point by point, with sums there and back. A tile of 4 x 4 outputs of a 3 x 3 kernel needs
6 x 6 products per pair of channels where the definition needs 9 x 16; the sums are products with
matrices of 36 x 36 and 16 x 36 numbers for all channels of all tiles, a tenth of the time.

Source: Lavin and Gray, Fast Algorithms for Convolutional Neural Networks (2015), sections 4.1 to
4.3. Their points 0, 1, -1, 2, -2 lose a digit; points whose powers differ less lose half as much:
1.4 % against 2.8 % in bfloat16 (docs/speed.md).
"""

import math

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from wavebyol_hear.layers import DilatedConv2d

KERNEL_SIZE = 3
POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)
SIZE = len(POINTS) + 1
TILE = SIZE - KERNEL_SIZE + 1
# Of the sets tried for two taps, 0, 1, -1, 1/2 among them, these lose least in bfloat16: 0.6 % of
# the norm, the definition 0.3 %.
LINE_TAPS, LINE_POINTS = 2, (0.0, 1.0, -0.5, -2.0)
OUTPUTS, FRAMES = len(LINE_POINTS), len(LINE_POINTS) + 1
# Tiles computed at once: enough rows for the products, few enough to stay in the cache.
TILES = 256


def transforms(points: tuple[float, ...], taps: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the matrices that take inputs and a kernel to points, and products to outputs.

    Args:
        points: the P finite ones; infinity is added.
        taps: of the kernel, 2 to P + 1.

    Shape:
        [P + 1, P + 1], [P + 1, taps] and [P + 2 - taps, P + 1].
    """
    others = [points[:index] + points[index + 1 :] for index in range(len(points))]
    # The polynomials that are 0 at all points but one; the kernel's values are scaled for them.
    inputs = [*(np.append(np.poly(rest)[::-1], 0.0) for rest in others), np.poly(points)[::-1]]
    kernel = [
        np.power(point, range(taps)) / math.prod(point - other for other in rest)
        for point, rest in zip(points, others, strict=True)
    ]
    outputs = len(points) + 2 - taps
    powers = np.power.outer(points, range(outputs)).T
    return (
        np.array(inputs),
        np.array([*kernel, np.arange(taps) == taps - 1]),
        np.column_stack([powers, np.arange(outputs) == outputs - 1]),
    )


def _frozen(values: Tensor | np.ndarray, like: Tensor, dtype: torch.dtype) -> nn.Parameter:
    """Return values as a parameter that is not trained, on the device of `like`."""
    values = torch.as_tensor(values).to(like.device, dtype).contiguous()
    return nn.Parameter(values, requires_grad=False)


class WinogradConv2d(DilatedConv2d):
    """A 3 x 3 convolution with a border of zeros, its kernel transformed beforehand.

    Args:
        convolution: whose numbers it gives, up to rounding.
        dtype: in which it computes.

    Shape:
        [B, C, R, T] -> [B, K, R, T], channels last in memory.
    """

    def __init__(self, convolution: nn.Conv2d, dtype: torch.dtype) -> None:
        super().__init__(convolution.in_channels, convolution.out_channels, device="meta")
        kernel = convolution.weight.detach()
        inputs, sums, outputs = transforms(POINTS, KERNEL_SIZE)
        self.to_points = _frozen(np.kron(inputs, inputs), kernel, dtype)
        self.from_points = _frozen(np.kron(outputs, outputs), kernel, dtype)
        scaled = torch.from_numpy(sums).to(kernel)
        products = torch.einsum("ia,kcab,jb->ijck", scaled, kernel, scaled)
        self.weight = _frozen(products.flatten(0, 1), kernel, dtype)
        assert convolution.bias is not None
        self.bias = _frozen(convolution.bias.detach(), kernel, dtype)

    def forward(self, maps: Tensor, dilation: int = 1) -> Tensor:
        """Return the convolution, its taps `dilation` columns apart."""
        batch, _, _, columns = maps.shape
        rows = maps.permute(0, 2, 3, 1)
        if dilation > 1:  # Every dilation-th column is an image of its own.
            rows = functional.pad(rows, (0, 0, 0, -columns % dilation))
            rows = torch.unflatten(rows, 2, (-1, dilation)).movedim(3, 0).flatten(0, 1)
        rows = self._convolve(rows)
        if dilation > 1:
            rows = torch.unflatten(rows, 0, (dilation, batch)).movedim(0, 3)
            rows = rows.flatten(2, 3)[:, :, :columns]
        return rows.permute(0, 3, 1, 2)

    def _convolve(self, image: Tensor) -> Tensor:
        """Return the convolution of an image, channels last: [B, R, T, C] -> [B, R, T, K]."""
        batch, height, width = image.shape[:3]
        down, across = -(-height // TILE), -(-width // TILE)
        image = functional.pad(
            image, (0, 0, 1, across * TILE - width + 1, 1, down * TILE - height + 1)
        )
        out = image.new_empty(batch, down, TILE, across, TILE, self.out_channels)
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
        result = self.from_points @ products.view(SIZE * SIZE, -1)
        result = result.view(TILE, TILE, batch, down, across, channels)
        assert self.bias is not None
        torch.add(result.permute(2, 3, 0, 4, 1, 5), self.bias, out=out)


class WinogradLine(nn.Module):
    """A convolution over the columns of one row, its kernel two strides long.

    With a stride's inputs gathered in one frame it has two taps: each output is a product with its
    frame and one with the next. Four outputs then need 5 products where the definition needs 8: the
    second and third layer of the authors' front end.

    Args:
        convolution: whose numbers it gives, up to rounding.
        dtype: in which it computes.

    Shape:
        [B, C, 1, T] -> [B, K, 1, columns], channels last in memory.
    """

    def __init__(self, convolution: nn.Conv2d, dtype: torch.dtype) -> None:
        super().__init__()
        self.stride, self.padding = convolution.stride[1], int(convolution.padding[1])
        kernel = convolution.weight.detach()[:, :, 0]
        inputs, sums, outputs = transforms(LINE_POINTS, LINE_TAPS)
        self.to_points = _frozen(inputs, kernel, dtype)
        self.from_points = _frozen(outputs, kernel, dtype)
        taps = torch.unflatten(kernel, 2, (LINE_TAPS, self.stride)).permute(2, 0, 3, 1).flatten(2)
        products = torch.einsum("it,tkc->ikc", torch.from_numpy(sums).to(kernel), taps)
        self.weight = _frozen(products, kernel, dtype)
        assert convolution.bias is not None
        self.bias = _frozen(convolution.bias.detach(), kernel, dtype)

    def forward(self, image: Tensor) -> Tensor:
        """Return the convolution; see the class."""
        batch, channels, _, length = image.shape
        columns = (length + 2 * self.padding) // self.stride + 1 - LINE_TAPS
        tiles = -(-columns // OUTPUTS)
        frames = tiles * OUTPUTS + 1
        # What lies past the last frame is cut off: a negative padding.
        behind = frames * self.stride - self.padding - length
        line = functional.pad(image[:, :, 0].mT, (0, 0, self.padding, behind))
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
        # One after another, all threads in each: five products do not share threads evenly.
        products = inputs.new_empty(FRAMES, batch * tiles, channels)
        for point, weight, product in zip(
            inputs.view(FRAMES, -1, line.shape[2]), self.weight, products, strict=True
        ):
            torch.mm(point, weight.T, out=product)
        result = self.from_points @ products.view(FRAMES, -1)
        result = result.view(OUTPUTS, batch, tiles, channels)
        torch.add(result.permute(1, 2, 0, 3), self.bias, out=out)
