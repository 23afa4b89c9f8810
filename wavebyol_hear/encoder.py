"""The WaveBYOL encoder: waveform -> channels -> image of channel chunks -> VGG-like Conv2d stack.

One configuration class describes the authors' h1 to h5, our presets and any other widths. Source:
waverDeep/WaveBYOL (2022). Departures are the length-independent norms (`layers.TimeNorm`), the
Gabor front end of `slim`, and the learned filter bank of `slim_bank` and `wide_bank`.
"""

import dataclasses
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from torch import Tensor, nn

from wavebyol_hear.components import Components
from wavebyol_hear.files.settings import check_range, merge
from wavebyol_hear.front_end import (
    FRONT_ENDS,
    BankFrontEndConfig,
    ConvFrontEndConfig,
    FrontEndConfig,
    GaborFrontEndConfig,
    build_front_end,
)
from wavebyol_hear.layers import (
    DilatedConv2d,
    TimeNorm,
    TimePool2d,
    pad_to,
    pre_emphasize,
    stack_chunks,
)
from wavebyol_hear.whitening import Whitening

# What no network of ours comes near; a weights file that asks for more is not to be built.
MAX_LAYERS, MAX_DIGITS, MAX_NUMBER = 64, 5, 2**24
H2 = "64 128 P 256 512 P 512 512 P 1024 1024 P"


@dataclass(frozen=True)
class EncoderConfig:
    """The architecture of an encoder.

    Args:
        front_end: the layers from waveform to channels.
        widths: the Conv2d stack: a number of channels per 3 x 3 convolution (with BatchNorm and
            ReLU), and `P` for a 2 x 2 max pool, which ends a block.
        chunks: number of planes of the image; must divide the number of front-end channels.
        pre_emphasis: coefficient of the pre-emphasis filter that is applied first; 0 for none, .97
            flattens the spectrum of most sounds.
        input_norm: `l2`, the authors' norm of the waveform over time, or `rms`, unit RMS.
        image_norm: whether the image is L2-normalized over time, as the authors do.
        sample_rate: Hz.
        crop_samples: length of a training crop; shorter clips are zero-padded to it.
    """

    front_end: FrontEndConfig = field(default_factory=ConvFrontEndConfig)
    widths: str = H2
    chunks: int = 3
    pre_emphasis: float = 0.0
    input_norm: Literal["l2", "rms"] = "l2"
    image_norm: bool = True
    sample_rate: int = 16_000
    crop_samples: int = 20_480

    def __post_init__(self) -> None:
        """Check what can be checked before any weight is made."""
        check_range(self, "chunks", "sample_rate", minimum=1, maximum=MAX_NUMBER)
        check_range(self, "crop_samples", minimum=0, maximum=MAX_NUMBER)
        if self.front_end.channels % self.chunks:
            raise ValueError(f"{self.front_end.channels} channels cannot be cut in {self.chunks}")
        if not 0 <= self.pre_emphasis < 1:
            raise ValueError(f"pre_emphasis is {self.pre_emphasis}: give 0 to below 1")
        if self.input_norm not in ("l2", "rms"):
            raise ValueError(f"input_norm is {self.input_norm!r}: it is 'l2' or 'rms'")
        tokens = self.widths.split()
        if not tokens or not all(t == "P" or (t.isdigit() and int(t) > 0) for t in tokens):
            raise ValueError(f"widths are {self.widths!r}: write numbers and P, such as {H2!r}")
        if not any(token != "P" for token in tokens):
            raise ValueError(f"widths are {self.widths!r}: there is no convolution, add a number")
        if len(tokens) > MAX_LAYERS or any(len(t) > MAX_DIGITS for t in tokens):
            raise ValueError(
                f"widths have {len(tokens)} layers ({self.widths[:20]}...): give at most "
                f"{MAX_LAYERS}, of at most {MAX_DIGITS} digits"
            )
        halvings = tokens.count("P")
        if self.rows < 2**halvings:
            raise ValueError(
                f"{self.rows} rows cannot be halved {halvings} times: write fewer P in "
                f"widths ({self.widths!r}) or cut the channels in fewer chunks"
            )
        frames = self.front_end.frames(self.crop_samples)
        if frames < 2**halvings:
            raise ValueError(
                f"crop_samples is {self.crop_samples}: its {max(0, frames)} frames cannot be "
                f"halved {halvings} times; give {self.front_end.hop * 2**halvings} or more"
            )

    @property
    def rows(self) -> int:
        """Rows of the image."""
        return self.front_end.channels // self.chunks

    @property
    def out_channels(self) -> int:
        """Channels of the last map."""
        return int([t for t in self.widths.split() if t != "P"][-1])

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON; `from_dict` is the inverse."""
        kind = next(k for k, config in FRONT_ENDS.items() if type(self.front_end) is config)
        values = dataclasses.asdict(self)
        values["front_end"] = {"kind": kind, **values["front_end"]}
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "EncoderConfig":
        """Return the config of `to_dict`'s values, as a file may hold them.

        Raises:
            ValueError: an unknown key, or a value of another type or out of range.
        """
        front = values.get("front_end") if isinstance(values, dict) else None
        kind = front.get("kind") if isinstance(front, dict) else None
        if front is None or not isinstance(kind, str) or kind not in FRONT_ENDS:
            raise ValueError(f"front_end.kind is {kind!r}: it is one of {', '.join(FRONT_ENDS)}")
        base = cls(FRONT_ENDS[kind](), widths="1", chunks=1)  # valid with any front end
        settings = {key: value for key, value in front.items() if key != "kind"}
        return merge(base, {"widths": H2, "chunks": 3, **values, "front_end": settings})


PRESETS: dict[str, EncoderConfig] = {
    "h1": EncoderConfig(widths="64 P 128 P 256 P 256 P"),
    "h2": EncoderConfig(widths=H2),
    "h3": EncoderConfig(widths="16 16 32 P 32 64 P 64 128 P 128 512 P 512 1024 P"),
    "h4": EncoderConfig(widths="64 128 P 256 512 P 512 1024 P 1024 2048 P"),
    "h5": EncoderConfig(widths="64 64 128 P 256 256 512 P 512 512 1024 P 1024 1024 1024 P"),
    "slim": EncoderConfig(
        front_end=GaborFrontEndConfig(),
        widths="16 P 64 P 128 128 P 256 256 P 512 P",
        input_norm="rms",
        image_norm=False,
    ),
    "slim_bank": EncoderConfig(
        front_end=BankFrontEndConfig(),
        widths="16 P 64 P 128 128 P 256 256 P 512 P",
        pre_emphasis=0.97,
        input_norm="rms",
        image_norm=False,
    ),
    "wide_bank": EncoderConfig(
        front_end=BankFrontEndConfig(),
        widths="24 P 96 P 192 192 P 384 384 P 768 P",
        pre_emphasis=0.97,
        input_norm="rms",
        image_norm=False,
    ),
}


class Encoder(nn.Module):
    """The network that a config describes.

    Shape:
        [B, 1, n] -> [B, channels, rows, frames]: h2 at 20,480 samples gives [B, 1024, 10, 8].
        A clip shorter than `config.crop_samples` is zero-padded symmetrically first.
    """

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config
        self.front_end = build_front_end(config.front_end, config.sample_rate)
        self.input_norm = TimeNorm(config.crop_samples if config.input_norm == "l2" else 1)
        self.image_norm = TimeNorm(self.frames(config.crop_samples)) if config.image_norm else None
        self.features = nn.Sequential(*_conv_stack(config))
        # Of the model that the encoder is part of, by the names of `Embedder`.
        self.whitenings: Mapping[str, Whitening] = {}
        self.components: Mapping[str, Components] = {}
        self.provenance: Mapping[str, Any] = {}  # how the weights were made, of a file

    def frames(self, samples: int) -> int:
        """Return the number of front-end frames of a clip of `samples`."""
        return self.config.front_end.frames(samples)

    def emphasize(self, wave: Tensor) -> Tensor:
        """Return the waveform that is normalized first of all, of the same shape."""
        return pre_emphasize(wave, self.config.pre_emphasis)

    def image(self, wave: Tensor) -> Tensor:
        """Return the image under the Conv2d stack: [B, 1, n] -> [B, chunks, rows, frames]."""
        wave = self.emphasize(pad_to(wave, self.config.crop_samples))
        channels = self.front_end(self.input_norm(wave))
        if self.image_norm is not None:
            channels = self.image_norm(channels)
        return stack_chunks(channels, self.config.chunks)

    def blocks(self) -> Iterator[nn.Sequential]:
        """Yield the Conv2d stack in blocks; each ends with its pool."""
        block: list[nn.Module] = []
        for layer in self.features:
            block.append(layer)
            if isinstance(layer, nn.MaxPool2d):
                yield nn.Sequential(*block)
                block = []
        if block:
            yield nn.Sequential(*block)

    def stages(self, wave: Tensor) -> list[Tensor]:
        """Return the image and every block's map, [B, channels, rows, frames] each."""
        maps = [self.image(wave)]
        for block in self.blocks():
            maps.append(block(maps[-1]))
        return maps

    def dense_maps(self, image: Tensor, step: int) -> Iterator[Tensor]:
        """Yield the image and each block's map with no time stride above `step` frames.

        A pool that would step further keeps every column, and what follows is dilated: the columns
        between are what the strided network gives for a clip that begins later.

        Shape:
            image [B, chunks, rows, T] -> [B, C, rows of the block, T // stride]; beyond `step`
            there is one column less (the pool that pairs adjacent columns).
        """
        yield image
        image = image.to(next(self.features.parameters()).dtype)
        stride = 1  # that the strided network has before the block
        for block in self.blocks():
            image = self._dense_block(block, image, stride, step)
            stride *= 2
            yield image

    def _dense_block(self, block: nn.Sequential, image: Tensor, stride: int, step: int) -> Tensor:
        """Return a block's map with no time stride above `step`."""
        dilation = max(stride // step, 1)
        for layer in block:
            if isinstance(layer, DilatedConv2d):
                image = layer(image, dilation)
            elif isinstance(layer, TimePool2d) and stride >= step:
                image = layer.dense(image, dilation)
            else:
                image = layer(image)
        return image

    def forward(self, wave: Tensor) -> Tensor:
        """Return the last map; see the class."""
        last: Tensor = self.features(self.image(wave))
        return last


def _conv_stack(config: EncoderConfig) -> Iterator[nn.Module]:
    """Yield the modules of the Conv2d stack in the authors' order (their keys count them)."""
    inputs = config.chunks
    for token in config.widths.split():
        if token == "P":
            yield TimePool2d()
            continue
        yield DilatedConv2d(inputs, int(token))
        yield nn.BatchNorm2d(int(token))
        yield nn.ReLU(inplace=True)
        inputs = int(token)
