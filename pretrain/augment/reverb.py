"""Reverb by synthetic room responses."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pretrain.augment.effect import SAMPLE_RATE, EffectConfig, uniform
from pretrain.augment.filters import NYQUIST, TAIL_SAMPLES, Filter, fft_size
from wavebyol_hear.files.settings import check_range


@dataclass(frozen=True)
class ReverbConfig(EffectConfig):
    """Settings of `Reverb`.

    The authors drive sox's reverb by reverberance, damping and room scale (each 50 to 100 of 100);
    these three stand in their place, with ranges of our own for crops of 1.28 s.

    Args:
        decay: range of the time in which low frequencies fall by 60 dB, in s; at most 0.75.
        damping: range of how much shorter that time is at high frequencies, 0 to 0.99.
        direct: range of the level of the direct sound over all that comes after it, in dB.
        rooms: number of rooms drawn a batch; sample i stands in room i modulo `rooms`, at a
            distance (`direct`) of its own. More rooms cost an FFT each.
    """

    decay: tuple[float, float] = (0.15, 0.75)
    damping: tuple[float, float] = (0.5, 0.9)
    direct: tuple[float, float] = (-3.0, 10.0)
    rooms: int = 32

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "decay", above=0, maximum=TAIL_SAMPLES / SAMPLE_RATE)
        check_range(self, "damping", minimum=0, maximum=0.99)
        check_range(self, "rooms", minimum=1)


class Reverb(Filter):
    """Adds a room: the direct sound, then exponentially decaying noise of unit energy.

    The noise is cut in two at `CROSSOVER` Hz; the upper part decays faster, as air and soft walls
    have it. A decay to -60 dB within t seconds is a factor 10^(-3 time / t).
    """

    CROSSOVER = 2000.0

    def __init__(self, config: ReverbConfig) -> None:
        super().__init__()
        self.config = config

    def draw(self, wave: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw rooms, and each sample's distance in its room.

        Shape:
            returns the spectrum of each sample's room, [B, bins] complex, and its factor, [B].
        """
        some = wave[: self.config.rooms]
        decay = uniform(some, generator, *self.config.decay)
        damping = uniform(some, generator, *self.config.damping)
        noise = torch.randn(len(some), TAIL_SAMPLES, device=wave.device, generator=generator)
        spectra = torch.fft.rfft(self.tail(noise, decay, damping), fft_size(wave.shape[-1]))
        direct = uniform(wave, generator, *self.config.direct)
        room = torch.arange(len(wave), device=wave.device) % len(some)
        return spectra[room], 10.0 ** (-direct / 20)

    def tail(self, noise: Tensor, decay: Tensor, damping: Tensor) -> Tensor:
        """Return what follows the direct sound, with unit energy; its first sample is 0.

        Shape:
            noise [rooms, n]; decay in s, damping [rooms]; returns [rooms, n].
        """
        spectrum = torch.fft.rfft(noise)
        spectrum[:, round(self.CROSSOVER / NYQUIST * spectrum.shape[-1]) :] = 0
        low = torch.fft.irfft(spectrum, noise.shape[-1])
        time = torch.arange(noise.shape[-1], device=noise.device) / SAMPLE_RATE
        slow = (-math.log(1000.0) / decay)[:, None]  # 60 dB are a factor of 1000
        fast = slow / (1 - damping[:, None])
        tail: Tensor = low * torch.exp(slow * time) + (noise - low) * torch.exp(fast * time)
        tail[:, 0] = 0
        tail /= tail.square().sum(dim=-1, keepdim=True).sqrt()
        return tail

    def response(self, size: int, spectrum: Tensor, wet: Tensor) -> Tensor:
        """Return the spectrum of each sample's direct sound and room."""
        return (spectrum * wet[:, None]).add_(1.0)[:, None]
