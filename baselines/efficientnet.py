"""The convolutions of EfficientNet-B0, as COLA has them.

Sources: Tan and Le (arXiv 1905.11946), table 1; BatchNorm's constants and stochastic depth as in
Keras' EfficientNetB0, which google-research/cola uses.
"""

from itertools import islice

import torch
from torch import Tensor, nn

# expansion, channels out, blocks, stride of the first block, kernel
STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
STEM, FEATURES = 32, 1280
DROP = 0.2  # share of samples that skip the last block; grows linearly from 0 at the first


class Depthwise(nn.Conv2d):
    """A filter a channel; in single precision where a CPU is slow in bf16.

    Measured with oneDNN of torch 2.13, one thread, 64 maps: gradients of 5 x 5 filters and of
    stride 2 take 40 to 85 ms in bf16, 4 to 25 ms in single precision; 3 x 3 of stride 1 does not
    care.

    Shape:
        [B, C, H, W] -> [B, C, ceil(H / stride), ceil(W / stride)].
    """

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        super().__init__(
            channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False
        )
        self.slow_in_bf16 = kernel > 3 or stride > 1

    def forward(self, maps: Tensor) -> Tensor:
        """Return the filtered maps, in the type they came in."""
        if not (self.slow_in_bf16 and maps.device.type == "cpu"):
            return super().forward(maps)
        with torch.autocast("cpu", enabled=False):
            return super().forward(maps.float()).to(maps.dtype)


def normed(layer: nn.Conv2d) -> tuple[nn.Module, nn.Module]:
    """Return a convolution and its BatchNorm."""
    return layer, nn.BatchNorm2d(layer.out_channels, eps=1e-3, momentum=0.01)


class SqueezeExcite(nn.Module):
    """Scales every channel by a gate that is computed from all channels' means.

    Shape:
        [B, C, H, W] -> the same.
    """

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the scaled maps."""
        gate = nn.functional.silu(self.reduce(maps.mean((2, 3), keepdim=True)))
        scaled: Tensor = maps * self.expand(gate).sigmoid()
        return scaled


class InvertedBottleneck(nn.Module):
    """MBConv: widen (1 x 1), filter each channel (k x k), gate, narrow (1 x 1), add the input.

    Args:
        inputs: channels in.
        outputs: channels out.
        expansion: factor by which the channels are widened; 1 leaves that step out.
        stride: of the filter, 1 or 2.
        kernel: of the filter.
        drop: share of the samples of a training batch for which only the input is passed on,
            where it can be (stride 1, channels kept).

    Shape:
        [B, inputs, H, W] -> [B, outputs, ceil(H / stride), ceil(W / stride)].
    """

    def __init__(
        self, inputs: int, outputs: int, expansion: int, stride: int, kernel: int, drop: float
    ) -> None:
        super().__init__()
        wide = inputs * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers = [*normed(nn.Conv2d(inputs, wide, 1, bias=False)), nn.SiLU(inplace=True)]
        self.body = nn.Sequential(
            *layers,
            *normed(Depthwise(wide, kernel, stride)),
            nn.SiLU(inplace=True),
            SqueezeExcite(wide, max(1, inputs // 4)),
            *normed(nn.Conv2d(wide, outputs, 1, bias=False)),
        )
        self.residual = stride == 1 and inputs == outputs
        self.drop = drop

    def forward(self, maps: Tensor) -> Tensor:
        """Return the block's maps; see the class."""
        change: Tensor = self.body(maps)
        if not self.residual:
            return change
        if self.training and self.drop:
            kept = torch.rand(len(maps), 1, 1, 1, device=maps.device) >= self.drop
            change = change * (kept.to(change.dtype) / (1 - self.drop))
        return maps + change


class EfficientNetB0(nn.Module):
    """The convolutions of EfficientNet-B0.

    Args:
        inputs: planes of the image: 3 of a photograph, 1 of a spectrogram.

    Shape:
        [B, inputs, H, W] -> [B, 1280, ceil(H / 32), ceil(W / 32)].
    """

    def __init__(self, inputs: int = 1) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            *normed(nn.Conv2d(inputs, STEM, 3, 2, 1, bias=False)), nn.SiLU(inplace=True)
        )
        total = sum(count for _, _, count, _, _ in STAGES)
        blocks: list[nn.Module] = []
        width = STEM
        for expansion, outputs, count, stride, kernel in STAGES:
            for step in [stride] + [1] * (count - 1):
                drop = DROP * len(blocks) / total
                blocks.append(InvertedBottleneck(width, outputs, expansion, step, kernel, drop))
                width = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(
            *normed(nn.Conv2d(width, FEATURES, 1, bias=False)), nn.SiLU(inplace=True)
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return the last maps; see the class."""
        maps: Tensor = self.head(self.blocks(self.stem(image)))
        return maps

    def stages(self, image: Tensor) -> list[Tensor]:
        """Return the image and the maps of the stem, of each of `STAGES` and of the head."""
        maps = self.stem(image)
        stages, blocks = [image, maps], iter(self.blocks)
        for _, _, count, _, _ in STAGES:
            for block in islice(blocks, count):
                maps = block(maps)
            stages.append(maps)
        return [*stages, self.head(maps)]
