"""Linear effects, any number of which is one FFT product; here equaliser and band reject."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from pretrain.augment.effect import SAMPLE_RATE, Effect, EffectConfig, Parameters, uniform
from wavebyol_hear.files.settings import check_range
from wavebyol_hear.front_end import hertz, mel

NYQUIST = SAMPLE_RATE / 2
NYQUIST_MELS = float(mel(torch.tensor(NYQUIST, dtype=torch.float64)))
TAIL_SAMPLES = 12_288  # longest response: with crops of 20,480 samples an FFT of 32,768


def fft_size(samples: int) -> int:
    """Return the FFT size that filters waves of this length without wrapping round.

    The least 2^a, 3 * 2^a or 7 * 2^a that holds the wave and the longest response.
    """
    needed = samples + TAIL_SAMPLES - 1
    power = 1 << (needed - 1).bit_length()
    return min(size for size in (power * 3 // 4, power * 7 // 8, power) if size >= needed)


class Filter(Effect):
    """Base of the linear effects: what they do to a spectrum is a product."""

    def response(self, parameters: Any, size: int) -> Tensor:  # noqa: ANN401
        """Return each sample's factor at the size // 2 + 1 frequencies of an FFT.

        Shape:
            returns [B, 1, size // 2 + 1], real or complex.
        """
        raise NotImplementedError

    def change(self, wave: Tensor, parameters: Any) -> Tensor:  # noqa: ANN401
        """Filter each wave; the sound that rings on beyond its end is cut off.

        Shape:
            wave, result [B, 1, T].
        """
        size = fft_size(wave.shape[-1])
        spectrum = torch.fft.rfft(wave, size) * self.response(parameters, size)
        changed: Tensor = torch.fft.irfft(spectrum, size)[..., : wave.shape[-1]]
        return changed


def _frequencies(size: int, device: torch.device) -> Tensor:
    return torch.arange(size // 2 + 1, device=device) * (SAMPLE_RATE / size)


@dataclass(frozen=True)
class EqualiserConfig(EffectConfig):
    """Settings of `Equaliser`: range of its gains in dB, and at how many frequencies it has one."""

    decibels: tuple[float, float] = (-12.0, 12.0)
    knots: int = 8

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        check_range(self, "knots", minimum=2)


@dataclass(frozen=True)
class Gains(Parameters):
    """Factors at the knots, [B, knots]."""

    gains: Tensor


class Equaliser(Filter):
    """A random smooth gain over frequency, without phase; not among the authors' effects.

    The knots are evenly spaced in mel from 0 Hz to the Nyquist frequency; each knot's gain is
    uniform in dB, and raised cosines lead from one knot's gain to the next.
    """

    def __init__(self, config: EqualiserConfig) -> None:
        super().__init__()
        self.range, self.knots = config.decibels, config.knots
        self._basis: dict[tuple[int, torch.device], Tensor] = {}

    def draw(self, wave: Tensor, generator: torch.Generator) -> Gains:
        """Draw the gains."""
        shape = (len(wave), self.knots)
        decibels = torch.empty(shape, device=wave.device).uniform_(*self.range, generator=generator)
        return Gains(10.0 ** (decibels / 20))

    def response(self, parameters: Gains, size: int) -> Tensor:
        """Return the gain at every frequency of the FFT."""
        return (parameters.gains @ self.basis(size, parameters.gains.device))[:, None]

    def basis(self, size: int, device: torch.device) -> Tensor:
        """Return the knots' raised cosines, [knots, size // 2 + 1]; their sum is 1 everywhere."""
        if (size, device) not in self._basis:
            position = mel(_frequencies(size, device)) * ((self.knots - 1) / NYQUIST_MELS)
            distance = (position - torch.arange(self.knots, device=device)[:, None]).abs()
            self._basis[size, device] = 0.5 + 0.5 * torch.cos(math.pi * distance.clamp(max=1))
        return self._basis[size, device]


@dataclass(frozen=True)
class BandRejectConfig(EffectConfig):
    """Settings of `BandReject`: range of the band's width as a share of the mel scale."""

    width: tuple[float, float] = (0.0, 0.1)

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        check_range(self, "width", minimum=0, maximum=1)


@dataclass(frozen=True)
class Band(Parameters):
    """A band's lowest and highest frequency in Hz, [B]."""

    low: Tensor
    high: Tensor


class BandReject(Filter):
    """Takes one band out; the authors have it in their code and not in their recipe.

    The gain is 0 in the band and 1 beyond a raised-cosine edge of `EDGE` Hz on either side, which
    in time is a sinc under a window that falls with the cube of time.
    """

    EDGE = 50.0

    def __init__(self, config: BandRejectConfig) -> None:
        super().__init__()
        self.range = config.width

    def draw(self, wave: Tensor, generator: torch.Generator) -> Band:
        """Draw a width and a position, both uniform in mel."""
        width = uniform(wave, generator, *self.range)
        low = uniform(wave, generator) * (1.0 - width)
        return Band(hertz(low * NYQUIST_MELS), hertz((low + width) * NYQUIST_MELS))

    def response(self, parameters: Band, size: int) -> Tensor:
        """Return the gain at every frequency of the FFT."""
        frequency = _frequencies(size, parameters.low.device)
        centre = (parameters.high + parameters.low)[:, None, None] / 2
        half = (parameters.high - parameters.low)[:, None, None] / 2
        beyond = ((frequency - centre).abs_() - half).div_(self.EDGE).clamp_(0, 1)
        return beyond.mul_(math.pi).cos_().mul_(-0.5).add_(0.5)
