"""Maps at a common hop of 50 ms or less, and the instants they are centred on.

Strided maps have a column per 160 ms (h2) or 320 ms (slim). Here a pool that would step past the
hop keeps every column instead, and what follows is dilated in time: the columns between are what
the strided network gives for a clip that begins later, at a fraction of the cost of sliding it.

With a hop of S frames, the map of stage k (k pools of 2) is centred (2^k - 1) / 2 frames right of
its first frame. Where 2^k > S that is S - 1/2 frames beside a multiple of S, so this is where all
columns are put: column j on frame S j + S - 1/2. Each later pool is then symmetric, and an earlier
map, with columns every s frames, gives the window of S / s columns (two where s = S) around that
instant, whose centre is exactly the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional

from wavebyol_hear.chunking import in_shares
from wavebyol_hear.encoder import Encoder
from wavebyol_hear.fast.winograd import WinogradConv2d
from wavebyol_hear.layers import RectifiedMaxPool2d, pool_rows
from wavebyol_hear.stream import Stage, stages_of

LONGEST_HOP_MS = 50


@dataclass(frozen=True)
class TimeGrid:
    """Where the columns of timestamp embeddings lie.

    Args:
        step: frames between two columns.
        beyond: whether some map has a larger stride, so that columns are centred between two.
        period: halves of a sample between two columns.
        phase: halves of a sample from the first sample to the centre of column 0.
    """

    step: int
    beyond: bool
    period: int
    phase: int

    @classmethod
    def of(cls, encoder: Encoder) -> "TimeGrid":
        """Return the coarsest grid of the encoder within `LONGEST_HOP_MS`."""
        front_end, last = encoder.front_end, stages_of(encoder)[-1].step
        longest = LONGEST_HOP_MS * encoder.config.sample_rate // 1000
        step = 1
        while 2 * step * front_end.hop <= longest and 2 * step <= last:
            step *= 2
        beyond = last > step
        # Column 0 is centred on frame (step - 1) / 2, or step - 1/2; frames are 2 hop halves apart.
        halves = (2 * step - 1 if beyond else step - 1) * front_end.hop
        period = 2 * step * front_end.hop
        return cls(step, beyond, period, halves + front_end.centre_halves)

    def columns(self, left: int, samples: int) -> range:
        """Return the columns centred within a clip: one at least.

        Args:
            left: samples of padding before the clip.
            samples: length of the clip.
        """
        first = max(-((self.phase - 2 * left) // self.period), 0)
        last = (2 * (left + samples) - self.phase) // self.period
        if last < first:  # The clip lies between two columns: take the one nearer its middle.
            nearest = (2 * left + samples - self.phase + self.period // 2) // self.period
            first = last = max(nearest, 0)
        return range(first, last + 1)

    def milliseconds(self, left: int, samples: int, sample_rate: int) -> Tensor:
        """Return the centres of `columns`, from the clip's first sample, in float64.

        They are whole halves of a sample until the one division at the end: nothing adds up. A
        clip between two columns gets its middle.
        """
        columns = self.columns(left, samples)
        halves = torch.arange(columns.start, columns.stop) * self.period + self.phase - 2 * left
        if len(columns) == 1 and not 0 <= int(halves) <= 2 * samples:
            halves = torch.tensor([samples])
        return halves.double() * 1000 / (2 * sample_rate)

    def window(self, stage: Stage) -> tuple[int, int, int]:
        """Return offset, width and stride of a stage's windows in columns of its dense map."""
        if stage.step > self.step:
            return 0, 1, 1
        ratio = self.step // stage.step
        if not self.beyond:
            return 0, ratio, ratio
        return ratio // 2, max(ratio, 2), ratio


def dense_maps(encoder: Encoder, image: Tensor, step: int) -> Iterator[Tensor]:
    """Yield the image and each block's map with no time stride above `step` frames.

    Shape:
        image [B, chunks, rows, T] -> [B, C, rows of the block, T / stride]; beyond `step` there is
        one column less (the pool that pairs neighbours).
    """
    yield image
    stride = 1  # What it would be without the bound.
    for block in encoder.blocks():
        run = partial(_dense_block, block, stride=stride, step=step)
        if any(isinstance(layer, nn.BatchNorm2d) for layer in block):
            image = run(image)  # In training mode its statistics are the whole batch's.
        else:
            image = in_shares(run, image, _largest_map(block, image))
        stride *= 2
        yield image


def _largest_map(block: nn.Sequential, image: Tensor) -> int:
    """Return the numbers a clip of the largest map in a folded block."""
    convolutions = [layer for layer in block if isinstance(layer, nn.Conv2d | WinogradConv2d)]
    channels = max([image.shape[1], *(layer.out_channels for layer in convolutions)])
    return channels * image[0, 0].numel()


def _dense_block(block: nn.Sequential, image: Tensor, *, stride: int, step: int) -> Tensor:
    """Return a block's map with no time stride above `step`, where the strided one has `stride`."""
    dilation = max(stride // step, 1)
    for layer in block:
        if isinstance(layer, nn.Conv2d):
            image = functional.conv2d(
                image.to(layer.weight.dtype),
                layer.weight,
                layer.bias,
                padding=(1, dilation),
                dilation=(1, dilation),
            )
        elif isinstance(layer, WinogradConv2d):
            image = layer(image.to(layer.weight.dtype), dilation)
        elif isinstance(layer, nn.MaxPool2d) and stride >= step:
            image = dense_pool(image, dilation)
            if isinstance(layer, RectifiedMaxPool2d):
                image = image.relu_()
        else:
            image = layer(image)
    return image


def dense_pool(rows: Tensor, dilation: int) -> Tensor:
    """Max pool 2 x 2 that keeps every column and pairs those `dilation` apart.

    Pairs of neighbours lie half a column right of the first; wider ones are put on the column in
    their middle, with zeros past the ends, which no ReLU's output is below; a ReLU that follows
    gives the same.

    Shape:
        [B, C, R, t] -> [B, C, R // 2, t - 1] at dilation 1, else [B, C, R // 2, t].
    """
    rows = pool_rows(rows)
    if dilation > 1:
        rows = functional.pad(rows, (dilation // 2, dilation // 2))
    return torch.maximum(rows[..., :-dilation], rows[..., dilation:])


def windows(dense: Tensor, begin: int, count: int, width: int, stride: int) -> list[Tensor]:
    """Return the first, second, ... columns of `count` windows that start at column `begin`.

    Shape:
        [..., t] -> `width` tensors [..., count].
    """
    span = stride * (count - 1) + 1
    return [dense[..., shift : shift + span : stride] for shift in range(begin, begin + width)]
