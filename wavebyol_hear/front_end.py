"""From waveform to channels: the authors' five convolutions, Gabor filters, or learned filters.

All give one frame per 160 samples (10 ms at 16 kHz) and state where frame i is centred, in half
samples so that the arithmetic stays whole.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wavebyol_hear.files.settings import check_range

# What no network of ours comes near; a weights file that asks for more is not to be built.
MAX_LAYERS, MAX_CHANNELS = 16, 4096


@dataclass(frozen=True)
class ConvFrontEndConfig:
    """Five strided Conv1d, BatchNorm, ReLU (waverDeep/WaveBYOL: hop 160, receptive field 225)."""

    channels: int = 513
    kernels: tuple[int, ...] = (10, 8, 4, 2, 2)
    strides: tuple[int, ...] = (5, 4, 2, 2, 2)
    paddings: tuple[int, ...] = (2, 2, 2, 2, 1)

    def __post_init__(self) -> None:
        """Check what can be checked before any weight is made."""
        check_range(self, "channels", "kernels", "strides", minimum=1, maximum=MAX_CHANNELS)
        check_range(self, "paddings", minimum=0, maximum=MAX_CHANNELS)
        lengths = {len(self.kernels), len(self.strides), len(self.paddings)}
        if len(lengths) > 1 or not 1 <= len(self.kernels) <= MAX_LAYERS:
            raise ValueError(
                f"kernels, strides and paddings are {len(self.kernels)}, {len(self.strides)} and "
                f"{len(self.paddings)} numbers: give as many of each, at most {MAX_LAYERS}"
            )

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return math.prod(self.strides)

    def frames(self, samples: int) -> int:
        """Return the number of frames of a waveform of `samples`."""
        for kernel, stride, padding in zip(self.kernels, self.strides, self.paddings, strict=True):
            samples = (samples + 2 * padding - kernel) // stride + 1
        return samples


@dataclass(frozen=True)
class FilterBankConfig:
    """Complex band filters, squared modulus, mean over a frame, log, BatchNorm.

    Args:
        channels: number of filters.
        taps: length of a filter in samples (400 is 25 ms at 16 kHz).
        stride: samples between two moduli.
        pool: moduli averaged to a frame; stride * pool is the hop.
        low_hz: centre of the lowest filter.
        high_hz: centre of the highest filter.
        floor: added before the log; white noise of unit RMS has modulus 1.
    """

    channels: int = 96
    taps: int = 400
    stride: int = 80
    pool: int = 2
    low_hz: float = 60.0
    high_hz: float = 7800.0
    floor: float = 1e-4

    def __post_init__(self) -> None:
        """Check what can be checked before any weight is made."""
        check_range(self, "channels", "taps", minimum=2, maximum=MAX_CHANNELS)
        check_range(self, "stride", "pool", minimum=1, maximum=MAX_CHANNELS)
        check_range(self, "floor", above=0.0)

    @property
    def hop(self) -> int:
        """Samples from one frame to the next."""
        return self.stride * self.pool

    @property
    def padding(self) -> int:
        """Zeros before and after the waveform."""
        return (self.taps - self.stride) // 2

    def frames(self, samples: int) -> int:
        """Return the number of frames of a waveform of `samples`."""
        return ((samples + 2 * self.padding - self.taps) // self.stride + 1) // self.pool


@dataclass(frozen=True)
class GaborFrontEndConfig(FilterBankConfig):
    """Filters that are Gabor functions of a centre and a bandwidth; see `FilterBankConfig`.

    Args:
        trained: whether centres and bandwidths are learned (with a learning rate of their own).
    """

    trained: bool = False


@dataclass(frozen=True)
class BankFrontEndConfig(FilterBankConfig):
    """A filter bank that begins as Gabor functions and of which every tap is learned."""


FrontEndConfig = ConvFrontEndConfig | GaborFrontEndConfig | BankFrontEndConfig
FRONT_ENDS: dict[str, type[FrontEndConfig]] = {
    "conv": ConvFrontEndConfig,
    "gabor": GaborFrontEndConfig,
    "bank": BankFrontEndConfig,
}


class ConvFrontEnd(nn.Module):
    """The authors' Conv1d stack.

    Shape:
        [B, 1, n] -> [B, channels, frames]; 20,480 samples give 130 frames.
    """

    def __init__(self, config: ConvFrontEndConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        self.paddings = config.paddings
        inputs = 1
        for kernel, stride, padding in zip(
            config.kernels, config.strides, config.paddings, strict=True
        ):
            conv = nn.Conv1d(inputs, config.channels, kernel, stride, padding)
            self.layers.append(nn.Sequential(conv, nn.BatchNorm1d(config.channels), nn.ReLU()))
            inputs = config.channels
        self.hop = config.hop
        # Frame i of a layer is centred on input frame stride * i - padding + (kernel - 1) / 2.
        centre, step = 0, 1
        for kernel, stride, padding in zip(
            config.kernels, config.strides, config.paddings, strict=True
        ):
            centre += step * (kernel - 1 - 2 * padding)
            step *= stride
        self.centre_halves = centre

    def forward(self, wave: Tensor) -> Tensor:
        """Return the channels of a waveform; see the class."""
        for layer in self.layers:
            wave = layer(wave)
        return wave


class GaborFrontEnd(nn.Module):
    """Gabor filters spaced evenly in mel, as log energies over 10 ms.

    The parameters are `centre` (Hz) and `bandwidth` (Hz, standard deviation of the Gaussian
    response), never the taps: an Adam step is as large as a tap and destroys them (measured, see
    docs/runs.md). A filter has unit energy, so that white noise of unit variance gives 1.

    Shape:
        [B, 1, n] -> [B, channels, frames]; frames = n // hop where hop divides n.
    """

    def __init__(self, config: GaborFrontEndConfig, sample_rate: int) -> None:
        super().__init__()
        self.config = config
        self.sample_rate = sample_rate
        centre, bandwidth = mel_bands(config, sample_rate)
        self.centre = nn.Parameter(centre, requires_grad=config.trained)
        self.bandwidth = nn.Parameter(bandwidth, requires_grad=config.trained)
        self.norm = nn.BatchNorm1d(config.channels)
        self.hop = config.hop
        self.centre_halves = self.hop - 1

    def filters(self) -> Tensor:
        """Return the taps, real parts then imaginary parts: [2 * channels, 1, taps]."""
        return gabor_taps(self.centre, self.bandwidth, self.config.taps, self.sample_rate)[:, None]

    def forward(self, wave: Tensor) -> Tensor:
        """Return the normalized log energies of a waveform; see the class."""
        normalized: Tensor = self.norm(self.log_energy(wave))
        return normalized

    def log_energy(self, wave: Tensor) -> Tensor:
        """Return log(mean squared modulus + floor): [B, 1, n] -> [B, channels, frames]."""
        config = self.config
        pair = nn.functional.conv1d(wave, self.filters(), None, config.stride, config.padding)
        real, imaginary = pair.float().chunk(2, 1)
        energy = real.square() + imaginary.square()
        return (nn.functional.avg_pool1d(energy, config.pool) + config.floor).log()


class BankFrontEnd(nn.Module):
    """A filter bank whose every weight is learned, as log energies over 10 ms.

    At first it is `GaborFrontEnd`: `taps` are the real and imaginary parts of the same filters, and
    `averaging` sums the squares of both parts of the moduli of a frame evenly. No band sees
    another before the log: mixing lets loud bands into quiet ones (measured, see
    docs/runs.md). Taps want a hundredth of the network's learning rate, for the same reason:
    an Adam step is as large as a tap. Always in float32, also under autocast: the spectrum of a
    sound has more range than eight bits.

    Shape:
        [B, 1, n] -> [B, channels, frames]; frames = n // hop where hop divides n.
    """

    def __init__(self, config: BankFrontEndConfig, sample_rate: int) -> None:
        super().__init__()
        self.config = config
        self.sample_rate = sample_rate
        self.taps = nn.Parameter(self.initial_taps())
        self.averaging = nn.Parameter(
            torch.full((config.pool, 2, config.channels), 1 / config.pool)
        )
        self.norm = nn.BatchNorm1d(config.channels)
        self.hop = config.hop
        self.centre_halves = self.hop - 1

    def initial_taps(self) -> Tensor:
        """Return the taps before any training, real parts then imaginary parts: [2 C, taps]."""
        centre, bandwidth = mel_bands(self.config, self.sample_rate)
        return gabor_taps(centre, bandwidth, self.config.taps, self.sample_rate)

    def forward(self, wave: Tensor) -> Tensor:
        """Return the normalized log energies of a waveform; see the class."""
        with torch.autocast("cuda" if wave.is_cuda else "cpu", enabled=False):
            normalized: Tensor = self.norm(self.log_energy(wave.to(self.taps.dtype)))
        return normalized

    def log_energy(self, wave: Tensor) -> Tensor:
        """Return log(averaged squares + floor): [B, 1, n] -> [B, channels, frames]."""
        config = self.config
        squares = (window_frames(wave, config) @ self.taps.T).square()
        parts = squares.view(len(wave), -1, config.pool, 2, config.channels)
        energy = (parts * self.averaging).sum((2, 3)).relu()
        return (energy + config.floor).log().mT


def window_frames(wave: Tensor, config: FilterBankConfig) -> Tensor:
    """Return the windows of whole frames under the filters.

    Shape:
        wave [B, 1, n] -> [B, frames * pool, taps].
    """
    padded = nn.functional.pad(wave[:, 0], (config.padding, config.padding))
    windows = padded.unfold(1, config.taps, config.stride)
    return windows[:, : windows.shape[1] // config.pool * config.pool]


def mel_bands(config: FilterBankConfig, sample_rate: int) -> tuple[Tensor, Tensor]:
    """Return centres and bandwidths (standard deviations of Gaussian responses) in Hz, [C] each.

    Raises:
        ValueError: the centres do not lie between 0 Hz and half the sample rate.
    """
    if not 0 < config.low_hz < config.high_hz <= sample_rate / 2:
        raise ValueError(
            f"filters from {config.low_hz} to {config.high_hz} Hz do not fit below half of "
            f"{sample_rate} Hz"
        )
    centre = mel_spaced(config.low_hz, config.high_hz, config.channels)
    spacing = torch.gradient(centre)[0]
    # Neighbors cross near half height at one spacing; below that, what the window resolves.
    narrowest = 2.5 * sample_rate / (2 * math.pi * config.taps / 2)
    return centre, (spacing * 0.6).clamp_min(narrowest)


def gabor_taps(centre: Tensor, bandwidth: Tensor, taps: int, sample_rate: int) -> Tensor:
    """Return Gabor filters of unit energy, real parts then imaginary parts.

    Shape:
        centre, bandwidth [C] in Hz -> [2 C, taps].
    """
    index = torch.arange(taps, device=centre.device, dtype=centre.dtype)
    time = (index - (taps - 1) / 2) / sample_rate
    angle = 2 * math.pi * time
    envelope = torch.exp(-0.5 * (angle * bandwidth[:, None]).square())
    phase = angle * centre[:, None]
    envelope = envelope / envelope.square().sum(-1, keepdim=True).sqrt()
    return torch.cat([envelope * phase.cos(), envelope * phase.sin()])


def mel(hertz: Tensor) -> Tensor:
    """Return the mels of frequencies in Hz (HTK's formula)."""
    return 2595.0 * torch.log10(1.0 + hertz / 700.0)


def hertz(mels: Tensor) -> Tensor:
    """Return the frequencies in Hz of mels; the inverse of `mel`."""
    return 700.0 * (10.0 ** (mels / 2595.0) - 1.0)


def mel_spaced(low_hz: float, high_hz: float, count: int) -> Tensor:
    """Return `count` frequencies in Hz, evenly spaced on the mel scale.

    On the processor always: where a network is only described, on the device "meta", torch would
    import its compiler to divide, which takes as long as importing torch.
    """
    ends = mel(torch.tensor([low_hz, high_hz], dtype=torch.float64, device="cpu"))
    steps = torch.linspace(0, 1, count, dtype=torch.float64, device="cpu")
    return hertz(ends[0] + steps * (ends[1] - ends[0])).float()


def build_front_end(
    config: FrontEndConfig, sample_rate: int
) -> ConvFrontEnd | GaborFrontEnd | BankFrontEnd:
    """Return the front end that a config describes; its attributes are `hop` and `centre_halves`.

    Frame i is centred on sample i * hop + centre_halves / 2.
    """
    if isinstance(config, GaborFrontEndConfig):
        return GaborFrontEnd(config, sample_rate)
    if isinstance(config, BankFrontEndConfig):
        return BankFrontEnd(config, sample_rate)
    return ConvFrontEnd(config)
