"""The encoder as it computes fastest when nothing is to be learned: the same network, folded.

A BatchNorm in evaluation mode is a factor and an offset a channel, so it goes into the weights of
the convolution before it (or, behind the logarithm of the Gabor front end, into one product and
sum). The Conv1d stack runs as Conv2d on rows of height one, whose channels then lie innermost, as
in the rest of the network: oneDNN reaches the speed of its matrix product with them and without
reordering. Large convolutions multiply less (`winograd`, `winograd_line`) on processors; a GPU's
own kernels do better than many small products. What was tried besides is in
benchmark/speed/SPEED.md.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from wavebyol_hear.encoder import Encoder
from wavebyol_hear.front_end import ConvFrontEnd, GaborFrontEnd
from wavebyol_hear.winograd import WinogradConv2d
from wavebyol_hear.winograd_line import TAPS, WinogradLine

# Channels and rows from which multiplying less outweighs moving more: most layers of h1 to h5. On
# images as small as those of `slim` it would gain 6 % in fp32 and cost a digit in bf16.
WIDE, TALL = 64, 16


class InferenceCopy:
    """A folded copy of an encoder, made again whenever a weight is no longer what it was.

    Weights are compared by value: an optimiser may change them behind autograd's back (AdamP
    does), and a stale copy would go unnoticed. It costs one pass over them, a hundredth of the
    time of a batch.
    """

    def __init__(self) -> None:
        """Start without a copy."""
        self._seen: dict[str, Tensor] = {}
        self._dtype = torch.float32
        self._folded: Encoder | None = None

    def of(self, encoder: Encoder, dtype: torch.dtype) -> Encoder:
        """Return the folded copy of an encoder in evaluation mode.

        Args:
            encoder: whose weights count.
            dtype: in which the convolutions compute.
        """
        state = encoder.state_dict()
        if self._folded is None or dtype != self._dtype or not _equal(state, self._seen):
            with torch.inference_mode(False), torch.no_grad():
                self._seen = {name: value.clone() for name, value in state.items()}
                self._folded = fold(encoder, dtype)
            self._dtype = dtype
        return self._folded


def _equal(state: dict[str, Tensor], seen: dict[str, Tensor]) -> bool:
    """Return whether two states have the same values on the same device."""
    return all(
        value.device == seen[name].device
        and value.dtype == seen[name].dtype
        and torch.equal(value, seen[name])
        for name, value in state.items()
    )


def fold(encoder: Encoder, dtype: torch.dtype) -> Encoder:
    """Return a copy of an encoder that gives the same maps in evaluation mode, only faster.

    Args:
        encoder: the network; unchanged.
        dtype: of the convolutions, but for those that hear the waveform: the spectrum of a sound
            has more range than the eight bits of a bfloat16.
    """
    folded = copy.deepcopy(encoder).eval().requires_grad_(False)
    front_end = (
        FoldedGabor(folded.front_end)
        if isinstance(folded.front_end, GaborFrontEnd)
        else FoldedConvolutions(folded.front_end, dtype)
    )
    folded.add_module("front_end", front_end)
    layers: list[nn.Module] = []
    rows = encoder.config.rows
    for layer in folded.features:
        if isinstance(layer, nn.BatchNorm2d):
            convolution = layers.pop()
            assert isinstance(convolution, nn.Conv2d)
            convolution = fuse_conv_bn_eval(convolution, layer)
            large = _is_wide(convolution) and rows >= TALL
            layer = WinogradConv2d(convolution, dtype) if large else in_order(convolution, dtype)
        elif isinstance(layer, nn.MaxPool2d):
            rows //= 2
        layers.append(layer)
    folded.features = nn.Sequential(*layers)
    return folded


def _is_wide(convolution: nn.Conv2d) -> bool:
    """Return whether a convolution on a processor has channels enough to multiply less."""
    return convolution.in_channels >= WIDE and convolution.weight.device.type == "cpu"


def in_order(convolution: nn.Conv2d, dtype: torch.dtype) -> nn.Conv2d:
    """Return a convolution in a precision, its weights in channels-last order."""
    ordered = convolution.to(dtype=dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    assert isinstance(ordered, nn.Conv2d)
    return ordered


class FoldedGabor(nn.Module):
    """The Gabor front end as one matrix product with fixed taps.

    Shape:
        [B, 1, n] -> [B, channels, frames].
    """

    def __init__(self, front_end: GaborFrontEnd) -> None:
        """Compute the taps and fold the BatchNorm behind the logarithm."""
        super().__init__()
        self.config = front_end.config
        self.taps = front_end.filters()[:, 0]
        norm = front_end.norm
        assert norm.running_mean is not None
        assert norm.running_var is not None
        self.factor = norm.weight * (norm.running_var + norm.eps).rsqrt()
        self.offset = norm.bias - norm.running_mean * self.factor

    def forward(self, wave: Tensor) -> Tensor:
        """Return the normalised log energies of a waveform; see the class."""
        config = self.config
        padded = nn.functional.pad(wave[:, 0], (config.padding, config.padding))
        frames = padded.unfold(1, config.taps, config.stride)
        frames = frames[:, : frames.shape[1] // config.pool * config.pool]
        pair = nn.functional.linear(frames, self.taps).square_()
        energy = pair.view(len(wave), -1, 2 * config.pool, config.channels).sum(2)
        level = energy.div_(config.pool).add_(config.floor).log_()
        return level.mul_(self.factor).add_(self.offset).transpose(1, 2)


class FoldedConvolutions(nn.Module):
    """The authors' five convolutions with their BatchNorms folded, as images of one row.

    Shape:
        [B, 1, n] -> [B, channels, frames].
    """

    def __init__(self, front_end: ConvFrontEnd, dtype: torch.dtype) -> None:
        """Fold each layer; the first keeps its precision."""
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
            halves = line.kernel_size[0] == TAPS * line.stride[0] and _is_wide(image)
            self.layers.append(WinogradLine(image, kept) if halves else in_order(image, kept))

    def forward(self, wave: Tensor) -> Tensor:
        """Return the channels of a waveform; see the class."""
        rows = wave[:, :, None].contiguous(memory_format=torch.channels_last)
        for layer in self.layers:
            assert isinstance(layer, nn.Conv2d | WinogradLine)
            rows = layer(rows.to(layer.weight.dtype)).relu_()
        return rows[:, :, 0].to(wave.dtype)
