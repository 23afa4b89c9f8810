"""Linear effects, any number of which is one FFT product; here the equaliser."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from pretrain.augment.effect import SAMPLE_RATE, Effect, EffectConfig
from wavebyol_hear.files.settings import check_range
from wavebyol_hear.front_end import mel

NYQUIST = SAMPLE_RATE / 2
TAIL_SAMPLES = 12_288  # longest response: with crops of 20,480 samples an FFT of 32,768


def fft_size(samples: int) -> int:
    """Return the FFT size that filters waves of this length without wrapping round.

    The least 2^a, 3 * 2^a or 7 * 2^a that holds the wave and the longest response.
    """
    needed = samples + TAIL_SAMPLES - 1
    power = 1 << (needed - 1).bit_length()
    return min(size for size in (power * 3 // 4, power * 7 // 8, power) if size >= needed)


class Filter(Effect):
    """Base of the linear effects: what they do to a spectrum is a product.

    `response(size, *drawn)` returns each sample's factor at the size // 2 + 1 frequencies of an
    FFT, real or complex, [B, 1, size // 2 + 1].
    """

    response: Callable[..., Tensor]

    def change(self, wave: Tensor, *drawn: Tensor) -> Tensor:
        """Filter each wave; the sound that rings on beyond its end is cut off."""
        size = fft_size(wave.shape[-1])
        spectrum = torch.fft.rfft(wave, size) * self.response(size, *drawn)
        changed: Tensor = torch.fft.irfft(spectrum, size)[..., : wave.shape[-1]]
        return changed


@dataclass(frozen=True)
class EqualiserConfig(EffectConfig):
    """Settings of `Equaliser`: range of its gains in dB, and at how many frequencies it has one."""

    decibels: tuple[float, float] = (-12.0, 12.0)
    knots: int = 8

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "knots", minimum=2)


class Equaliser(Filter):
    """A random smooth gain over frequency, without phase; not among the authors' effects.

    The knots are evenly spaced in mel from 0 Hz to the Nyquist frequency; each knot's gain is
    uniform in dB, and raised cosines lead from one knot's gain to the next.
    """

    def __init__(self, config: EqualiserConfig) -> None:
        super().__init__()
        self.range, self.knots = config.decibels, config.knots
        self._basis: dict[tuple[int, torch.device], Tensor] = {}

    def draw(self, wave: Tensor, generator: torch.Generator) -> tuple[Tensor]:
        """Draw the factors at the knots, [B, knots]."""
        shape = (len(wave), self.knots)
        decibels = torch.empty(shape, device=wave.device).uniform_(*self.range, generator=generator)
        return (10.0 ** (decibels / 20),)

    def response(self, size: int, gains: Tensor) -> Tensor:
        """Return the gain at every frequency of the FFT."""
        return (gains @ self.basis(size, gains.device))[:, None]

    def basis(self, size: int, device: torch.device) -> Tensor:
        """Return the knots' raised cosines, [knots, size // 2 + 1]; their sum is 1 everywhere."""
        if (size, device) not in self._basis:
            frequency = torch.arange(size // 2 + 1, device=device) * (SAMPLE_RATE / size)
            highest = float(mel(torch.tensor(NYQUIST, dtype=torch.float64)))
            position = mel(frequency) * ((self.knots - 1) / highest)
            distance = (position - torch.arange(self.knots, device=device)[:, None]).abs()
            self._basis[size, device] = 0.5 + 0.5 * torch.cos(math.pi * distance.clamp(max=1))
        return self._basis[size, device]
