"""The encoder as it computes fastest when nothing is trained: the same network, folded.

A BatchNorm in evaluation mode is a factor and an offset per channel, so it goes into the weights of
the convolution before it (or, behind the logarithm of a filter bank, into one product and sum).
Channels lie innermost: oneDNN reaches the speed of its matrix product with them and without
reordering. Large convolutions multiply less (`winograd`) on processors; a GPU's own kernels do
better than many small products. What else was tried is in docs/speed.md.
"""

import copy

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from wavebyol_hear.chunking import map_chunks
from wavebyol_hear.encoder import Encoder
from wavebyol_hear.fast.front_end import fold_front_end, in_order, is_wide
from wavebyol_hear.fast.winograd import WinogradConv2d
from wavebyol_hear.layers import TimePool2d, pool_rows
from wavebyol_hear.precision import DTYPES

# Rows from which multiplying less outweighs moving more: most layers of h1 to h5. On images as
# small as those of `slim` it would gain 6 % in fp32 and cost a digit in bf16.
TALL = 16


class InferenceCopy:
    """A folded copy of an encoder, made again whenever a weight has changed.

    Weights are compared by value: an optimizer may change them behind autograd's back (AdamP
    does), and a stale copy would go unnoticed. It costs one pass over them, a hundredth of the
    time of a batch.
    """

    def __init__(self) -> None:
        self._seen: dict[str, Tensor] = {}
        self._dtype = torch.float32
        self._folded: FoldedEncoder | None = None

    def copy_of(self, encoder: Encoder, precision: str) -> "FoldedEncoder":
        """Return the folded copy of an encoder in evaluation mode.

        Args:
            encoder: whose weights count.
            precision: of its convolutions, `fp32` or `bf16`.
        """
        dtype = DTYPES[precision]
        state = encoder.state_dict()
        if self._folded is None or dtype != self._dtype or not _equal(state, self._seen):
            with torch.inference_mode(False), torch.no_grad():
                self._seen = {name: value.clone() for name, value in state.items()}
                self._folded = FoldedEncoder(encoder, dtype)
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


class FoldedEncoder(Encoder):
    """A copy of an encoder that gives the same maps in evaluation mode, only faster.

    Args:
        encoder: the network; unchanged.
        dtype: of the convolutions, but for those that see the waveform: the spectrum of a sound
            has more range than the eight bits of a bfloat16.
    """

    def __init__(self, encoder: Encoder, dtype: torch.dtype) -> None:
        nn.Module.__init__(self)  # Encoder's would draw weights
        self.config = encoder.config
        network = copy.deepcopy(encoder).eval().requires_grad_(False)
        self.input_norm, self.image_norm = network.input_norm, network.image_norm
        self.add_module("front_end", fold_front_end(network.front_end, dtype))
        layers: list[nn.Module] = []
        rows = encoder.config.rows
        for layer in network.features:
            if isinstance(layer, nn.BatchNorm2d):
                convolution = layers.pop()
                assert isinstance(convolution, nn.Conv2d)
                convolution = fuse_conv_bn_eval(convolution, layer)
                large = is_wide(convolution) and rows >= TALL
                make = WinogradConv2d if large else in_order
                layer = make(convolution, dtype)
            elif isinstance(layer, TimePool2d):
                rows //= 2
                if layers and isinstance(layers[-1], nn.ReLU):
                    layers.pop()
                    layer = RectifiedPool2d()
            layers.append(layer)
        self.features = nn.Sequential(*layers)

    def _dense_block(self, block: nn.Sequential, image: Tensor, stride: int, step: int) -> Tensor:
        """Return a block's map with no time stride above `step`, a few clips at a time."""
        compute = super()._dense_block
        widths = [layer.out_channels for layer in block if isinstance(layer, nn.Conv2d)]
        largest = max([image.shape[1], *widths]) * image[0, 0].numel()
        return map_chunks(lambda clips: compute(block, clips, stride, step), image, largest)


class RectifiedPool2d(TimePool2d):
    """Max pool 2 x 2 and ReLU, as maxima of every second row and column that are rectified then.

    torch's own pool also notes where each maximum lay and wants a map in one piece: two to four
    times the time with channels innermost. The ReLU has a quarter of the work behind the pool.

    Shape:
        [B, C, R, T] -> [B, C, R // 2, T // 2].
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Return the rectified maxima; see the class."""
        maps = pool_rows(maps)
        columns = maps.shape[3] // 2 * 2
        return torch.maximum(maps[..., 0:columns:2], maps[..., 1:columns:2]).relu_()

    def dense(self, maps: Tensor, dilation: int) -> Tensor:
        """Return the rectified maxima of every pair of columns that lie `dilation` apart."""
        return super().dense(maps, dilation).relu_()
