"""Signals whose change by an effect can be computed, and what is measured on them."""

import math

import numpy as np
import scipy.signal
import torch
from torch import Tensor

T = 20_480
RATE = 16_000


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def white(batch: int, samples: int = T, seed: int = 0) -> Tensor:
    return 0.1 * torch.randn(batch, 1, samples, generator=chance(seed))


def tone(hertz: float, batch: int, samples: int = T) -> Tensor:
    time = torch.arange(samples, dtype=torch.float64) / RATE
    return (0.5 * torch.sin(2 * math.pi * hertz * time)).float().expand(batch, 1, samples).clone()


def pitch(wave: Tensor) -> float:
    """Return the frequency of a tone in Hz: a parabola through the log spectrum's peak."""
    middle = wave[2000:-2000].double().numpy()
    level = np.log(np.abs(np.fft.rfft(middle * scipy.signal.windows.gaussian(len(middle), 2000))))
    peak = int(level.argmax())
    left, centre, right = level[peak - 1 : peak + 2]
    return (peak + (left - right) / (2 * (left - 2 * centre + right))) * RATE / len(middle)


def cents(ratio: float) -> float:
    return 1200 * math.log2(ratio)


def decibels(ratio: Tensor) -> Tensor:
    return 20 * ratio.log10()
