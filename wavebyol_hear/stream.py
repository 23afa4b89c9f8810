"""Long audio in pieces that overlap just enough, with the numbers of the whole.

Two passes over a clip. The first runs the front end piece by piece, keeps its channels (float32:
2 kB a frame for h2, 246 MB for 20 minutes) and sums the energies that the norms over time need of
the whole clip. The second runs the Conv2d stack over pieces of those channels. A piece begins on a
multiple of the time stride, so that its pools pair the same columns as in the whole, and overlaps
its neighbors by what a last column sees; a clip's own ends are left to the convolutions'
padding.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wavebyol_hear.chunking import Wave, cat
from wavebyol_hear.encoder import Encoder
from wavebyol_hear.front_end import FilterBankConfig, FrontEndConfig
from wavebyol_hear.layers import stack_chunks


@dataclass(frozen=True)
class Piece:
    """A run of frames: `start` to `stop` are read, `first` to `last` are kept (ends excluded)."""

    start: int
    stop: int
    first: int
    last: int

    def kept(self, step: int, total: int) -> slice:
        """Return where the kept columns lie in a map of this piece with `step` frames a column.

        The last piece keeps all that a map of `total` frames has.
        """
        end = None if self.last == total else (self.last - self.start) // step
        return slice((self.first - self.start) // step, end)


def pieces(total: int, core: int, halo: int, end: int | None = None) -> Iterator[Piece]:
    """Cut frames 0 to `total` in pieces.

    Args:
        total: frames to keep.
        core: frames that a piece keeps; the last keeps what is left.
        halo: frames read to either side, as far as there are any.
        end: frames there are to read; `total` by default.
    """
    end = total if end is None else end
    for first in range(0, total, core):
        last = min(first + core, total)
        stop = end if last == total else min(last + halo, end)
        yield Piece(max(first - halo, 0), stop, first, last)


@dataclass(frozen=True)
class Stage:
    """The map of one stage: its channels, its rows and the frames that a column stands for."""

    channels: int
    rows: int
    step: int


def stages_of(encoder: Encoder) -> list[Stage]:
    """Return the shapes of the image and of each block's map."""
    config = encoder.config
    channels, rows, step = config.chunks, config.rows, 1
    stages = [Stage(channels, rows, step)]
    for block in encoder.blocks():
        for layer in block:
            if isinstance(layer, nn.Conv2d):
                channels = layer.out_channels
            if isinstance(layer, nn.MaxPool2d):
                rows, step = rows // 2, step * 2
        stages.append(Stage(channels, rows, step))
    return stages


def stack_halo(encoder: Encoder) -> int:
    """Return the frames that a last column sees to either side, as a multiple of its stride."""
    reach, step = 0, 1
    for block in encoder.blocks():
        for layer in block:
            if isinstance(layer, nn.Conv2d):
                reach += step
            if isinstance(layer, nn.MaxPool2d):
                reach += step
                step *= 2
    return math.ceil(reach / step) * step


def front_end_halo(config: FrontEndConfig) -> int:
    """Return the frames within which all samples lie that a frame of the front end sees."""
    if isinstance(config, FilterBankConfig):
        return math.ceil((config.taps + config.hop - config.stride) / config.hop)
    span, step = 1, 1
    for kernel, stride in zip(config.kernels, config.strides, strict=True):
        span += (kernel - 1) * step
        step *= stride
    return math.ceil(span / step)


class Frames:
    """The channels of the whole clip, with the gain of the norm over time still to be applied.

    Args:
        encoder: the network; in evaluation mode if the clip takes more than one piece.
        wave: at least a crop long.
        core: frames computed at once.

    Shape:
        wave [B, 1, n].
    """

    def __init__(self, encoder: Encoder, wave: Tensor, core: int) -> None:
        """Run the front end."""
        self.encoder = encoder
        hop, samples = encoder.config.front_end.hop, wave.shape[-1]
        self.count = encoder.frames(samples)
        wave = encoder.emphasize(wave)
        self.chunks = encoder.config.chunks
        gain = encoder.input_norm.gain(wave.square().sum(-1, keepdim=True), samples)
        parts = []
        for piece in pieces(self.count, core, front_end_halo(encoder.config.front_end)):
            stop = samples if piece.stop == self.count else piece.stop * hop
            part = encoder.front_end(wave[..., piece.start * hop : stop] * gain)
            parts.append(part[..., piece.kept(1, self.count)])
        self.channels = cat(parts, -1)
        self.gain: Tensor | None = None
        if encoder.image_norm is not None:
            energy = sum(part.square().sum(-1, keepdim=True) for part in parts)
            assert isinstance(energy, Tensor)
            self.gain = encoder.image_norm.gain(energy, self.count)

    def new_empty(self, *shape: int) -> Tensor:
        """Return an empty tensor of the channels' type."""
        return self.channels.new_empty(shape)

    def image(self, start: int, stop: int) -> Tensor:
        """Return frames `start` to `stop` as an image; past the end the last frame is repeated."""
        part = self.channels[..., start : min(stop, self.count)]
        return _image(part, self.gain, stop - self.count, self.chunks)


class StreamedFrames:
    """The frames of one long clip, computed when they are asked for, of a wave that is read then.

    Args:
        encoder: the network, in evaluation mode.
        wave: at least a crop long.
        core: frames computed at once.
        like: a weight, whose device and type samples are brought to.
    """

    def __init__(self, encoder: Encoder, wave: Wave, core: int, like: Tensor) -> None:
        """Sum the energies that the norms over time need of the whole clip."""
        self.encoder, self.wave, self.like = encoder, wave, like
        self.hop = encoder.config.front_end.hop
        self.halo = front_end_halo(encoder.config.front_end)
        self.count = encoder.frames(len(wave))
        step = core * self.hop
        energy = torch.zeros(1, 1, 1, dtype=torch.float64)
        for start in range(0, len(wave), step):
            part = self._emphasized(start, min(start + step, len(wave)))
            energy += part.square().sum(-1, keepdim=True).double().cpu()
        self.input_gain = encoder.input_norm.gain(energy, len(wave)).to(like)
        self.gain: Tensor | None = None
        if encoder.image_norm is not None:
            parts = [
                self._channels(first, min(first + core, self.count)).square().sum(-1, keepdim=True)
                for first in range(0, self.count, core)
            ]
            total = torch.stack([part.double() for part in parts]).sum(0)
            self.gain = encoder.image_norm.gain(total, self.count).to(like)

    def _emphasized(self, start: int, stop: int) -> Tensor:
        """Return samples after pre-emphasis, which looks one sample back: [1, 1, stop - start]."""
        before = min(start, 1)
        samples = torch.from_numpy(self.wave[start - before : stop])
        if not samples.sum().isfinite() and not samples.isfinite().all():
            raise ValueError("audio has NaN or infinite samples")
        return self.encoder.emphasize(samples.to(self.like)[None, None])[..., before:]

    def _channels(self, first: int, last: int) -> Tensor:
        """Return the front end's channels of frames `first` to `last`."""
        start = max(first - self.halo, 0)
        stop = min(last + self.halo, self.count)
        if last == self.count:
            stop = self.count
        end = len(self.wave) if stop == self.count else stop * self.hop
        wave = self._emphasized(start * self.hop, end) * self.input_gain
        channels: Tensor = self.encoder.front_end(wave)
        return channels[..., first - start : last - start]

    def new_empty(self, *shape: int) -> Tensor:
        """Return an empty tensor of the channels' type."""
        return self.like.new_empty(shape)

    def image(self, start: int, stop: int) -> Tensor:
        """Return frames `start` to `stop` as an image; past the end the last frame is repeated."""
        part = self._channels(start, min(stop, self.count))
        return _image(part, self.gain, stop - self.count, self.encoder.config.chunks)


def _image(channels: Tensor, gain: Tensor | None, beyond: int, chunks: int) -> Tensor:
    """Return channels as an image, scaled, with the last frame repeated `beyond` times."""
    if gain is not None:
        channels = channels * gain
    if beyond > 0:
        channels = nn.functional.pad(channels, (0, beyond), mode="replicate")
    return stack_chunks(channels, chunks)
