"""The front ends as they compute fastest when nothing is trained; see `inference`.

The Conv1d stack runs as Conv2d on rows of height one, whose channels then lie innermost, as in the
rest of the network.
"""

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from wavebyol_hear.chunking import map_chunks
from wavebyol_hear.fast.winograd import LINE_TAPS, WinogradLine
from wavebyol_hear.front_end import BankFrontEnd, ConvFrontEnd, GaborFrontEnd, window_frames

# Channels from which multiplying less outweighs moving more.
WIDE = 64


def is_wide(convolution: nn.Conv2d) -> bool:
    """Return whether a convolution on a processor has channels enough to multiply less."""
    return convolution.in_channels >= WIDE and convolution.weight.device.type == "cpu"


def in_order(convolution: nn.Conv2d, dtype: torch.dtype) -> nn.Conv2d:
    """Return a convolution in a precision, its weights in channels-last order."""
    ordered = convolution.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert isinstance(ordered, nn.Conv2d)
    return ordered


def fold_front_end(front_end: nn.Module, dtype: torch.dtype) -> nn.Module:
    """Return a front end as it computes fastest, its convolutions behind the first in `dtype`."""
    if isinstance(front_end, GaborFrontEnd):
        return FoldedGabor(front_end)
    if isinstance(front_end, BankFrontEnd):
        return FoldedBank(front_end)
    assert isinstance(front_end, ConvFrontEnd)
    return FoldedConvolutions(front_end, dtype)


class FoldedGabor(nn.Module):
    """The Gabor front end with fixed taps, as two matrix products of half their length.

    A cosine about the middle of its window is the same from both ends and a sine the opposite, so
    the halves of a frame are added for the one and subtracted for the other before they are
    multiplied.

    Shape:
        [B, 1, n] -> [B, channels, frames].
    """

    def __init__(self, front_end: GaborFrontEnd) -> None:
        """Compute the taps and fold the BatchNorm behind the logarithm."""
        super().__init__()
        self.config = front_end.config
        self.reach = (self.config.taps + 1) // 2
        taps = front_end.filters()[:, 0, : self.reach].clone()
        if self.config.taps % 2:
            taps[:, -1] /= 2  # The tap in the middle is met from both ends.
        self.cosines, self.sines = taps.chunk(2)
        self.factor, self.offset = factor_and_offset(front_end.norm)

    def forward(self, wave: Tensor) -> Tensor:
        """Return the normalized log energies of a waveform; see the class."""
        config = self.config
        frames = window_frames(wave, config)
        first, last = frames[..., : self.reach], frames[..., -self.reach :].flip(-1)
        pair = wave.new_empty(*first.shape[:2], 2 * config.channels)
        flat = pair.flatten(0, 1)
        torch.mm((first + last).flatten(0, 1), self.cosines.T, out=flat[:, : config.channels])
        torch.mm((first - last).flatten(0, 1), self.sines.T, out=flat[:, config.channels :])
        energy = pair.square_().view(len(wave), -1, 2 * config.pool, config.channels).sum(2)
        level = energy.div_(config.pool).add_(config.floor).log_()
        return level.mul_(self.factor).add_(self.offset).transpose(1, 2)


class FoldedBank(nn.Module):
    """The learned filter bank with its BatchNorm folded: one matrix product and sums.

    Shape:
        [B, 1, n] -> [B, channels, frames].
    """

    def __init__(self, front_end: BankFrontEnd) -> None:
        """Put the averaging's weights in order and fold the BatchNorm behind the logarithm."""
        super().__init__()
        self.config = front_end.config
        self.taps = front_end.taps.detach()
        self.averaging = front_end.averaging.detach().flatten(0, 1)
        self.factor, self.offset = factor_and_offset(front_end.norm)

    def forward(self, wave: Tensor) -> Tensor:
        """Return the normalized log energies of a waveform; see the class."""
        config = self.config
        squares = (window_frames(wave, config) @ self.taps.T).square_()
        parts = squares.view(len(wave), -1, 2 * config.pool, config.channels)
        energy = parts.mul_(self.averaging).sum(2).relu_()
        level = energy.add_(config.floor).log_()
        return level.mul_(self.factor).add_(self.offset).transpose(1, 2)


def factor_and_offset(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Return what a BatchNorm in evaluation mode multiplies each channel by and adds to it."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor = norm.weight * (norm.running_var + norm.eps).rsqrt()
    return factor, norm.bias - norm.running_mean * factor


class FoldedConvolutions(nn.Module):
    """The authors' five convolutions with their BatchNorms folded, as images of one row.

    Shape:
        [B, 1, n] -> [B, channels, frames].
    """

    def __init__(self, front_end: ConvFrontEnd, dtype: torch.dtype) -> None:
        """Fold each layer; the first, whose map is the largest, keeps its precision."""
        super().__init__()
        self.layers = nn.ModuleList()
        for layer, padding in zip(front_end.layers, front_end.paddings, strict=True):
            assert isinstance(layer, nn.Sequential)
            line, norm = layer[0], layer[1]
            assert isinstance(line, nn.Conv1d)
            assert isinstance(norm, nn.BatchNorm1d)
            line = fuse_conv_bn_eval(line, norm)
            image = nn.Conv2d(
                line.in_channels,
                line.out_channels,
                (1, line.kernel_size[0]),
                (1, line.stride[0]),
                (0, padding),
                dtype=line.weight.dtype,
                device=line.weight.device,
            )
            image.load_state_dict({"weight": line.weight[:, :, None], "bias": line.bias})
            kept = dtype if self.layers else line.weight.dtype
            halves = line.kernel_size[0] == LINE_TAPS * line.stride[0] and is_wide(image)
            self.layers.append(WinogradLine(image, kept) if halves else in_order(image, kept))
        first = self.layers[0]
        assert isinstance(first, nn.Conv2d)
        self.growth = -(-first.out_channels // first.stride[1])

    def forward(self, wave: Tensor) -> Tensor:
        """Return the channels of a waveform; see the class."""
        return map_chunks(self._channels, wave, wave[0].numel() * self.growth)

    def _channels(self, wave: Tensor) -> Tensor:
        """Return the channels of clips that are computed together."""
        rows = wave[:, :, None].contiguous(memory_format=torch.channels_last)
        for layer in self.layers:
            assert isinstance(layer, nn.Conv2d | WinogradLine)
            rows = layer(rows.to(layer.weight.dtype)).relu_()
        return rows[:, :, 0].to(wave.dtype)
