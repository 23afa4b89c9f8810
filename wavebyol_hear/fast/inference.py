"""The encoder as it computes fastest when nothing is to be learned: the same network, folded.

A BatchNorm in evaluation mode is a factor and an offset a channel, so it goes into the weights of
the convolution before it (or, behind the logarithm of a filter bank, into one product and
sum). Channels lie innermost: oneDNN reaches the speed of its matrix product with them and without
reordering. Large convolutions multiply less (`winograd`, `winograd_line`) on processors; a GPU's
own kernels do better than many small products. What was tried besides is in
tools/speed/SPEED.md.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from wavebyol_hear.encoder import Encoder
from wavebyol_hear.fast.folded_front_end import (
    FoldedBank,
    FoldedConvolutions,
    FoldedGabor,
    in_order,
    is_wide,
)
from wavebyol_hear.fast.winograd import WinogradConv2d
from wavebyol_hear.front_end import BankFrontEnd, ConvFrontEnd, GaborFrontEnd
from wavebyol_hear.layers import RectifiedMaxPool2d

# Rows from which multiplying less outweighs moving more: most layers of h1 to h5. On images as
# small as those of `slim` it would gain 6 % in fp32 and cost a digit in bf16.
TALL = 16


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
    folded.add_module("front_end", _fold_front_end(folded.front_end, dtype))
    layers: list[nn.Module] = []
    rows = encoder.config.rows
    for layer in folded.features:
        if isinstance(layer, nn.BatchNorm2d):
            convolution = layers.pop()
            assert isinstance(convolution, nn.Conv2d)
            convolution = fuse_conv_bn_eval(convolution, layer)
            large = is_wide(convolution) and rows >= TALL
            layer = WinogradConv2d(convolution, dtype) if large else in_order(convolution, dtype)
        elif isinstance(layer, nn.MaxPool2d):
            rows //= 2
            if layers and isinstance(layers[-1], nn.ReLU):
                layers.pop()
                layer = RectifiedMaxPool2d()
        layers.append(layer)
    folded.features = nn.Sequential(*layers)
    return folded


def _fold_front_end(
    front_end: ConvFrontEnd | GaborFrontEnd | BankFrontEnd, dtype: torch.dtype
) -> nn.Module:
    """Return a front end as it computes fastest; only the authors' computes in the precision."""
    if isinstance(front_end, GaborFrontEnd):
        return FoldedGabor(front_end)
    if isinstance(front_end, BankFrontEnd):
        return FoldedBank(front_end)
    return FoldedConvolutions(front_end, dtype)
