"""Equaliser and band reject have the frequency response that they drew."""

import math

import torch

from pretrain.augment.filters import (
    BandReject,
    BandRejectConfig,
    Equaliser,
    EqualiserConfig,
    fft_size,
)
from tests.pretrain.signals import RATE, T, chance, decibels


def test_equaliser_has_its_gains_at_the_knots_and_no_delay() -> None:
    effect = Equaliser(EqualiserConfig())
    click = torch.zeros(50, 1, T)
    click[:, :, T // 2] = 1
    drawn = effect.draw(click, chance())
    got = effect.change(click, drawn)
    assert torch.all(got.abs().argmax(dim=2) == T // 2)
    response = torch.fft.rfft(got[:, 0]).abs()
    mels = torch.linspace(0, 2595 * math.log10(1 + 8000 / 700), 8)
    bins = (700 * (10 ** (mels / 2595) - 1) * T / RATE).round().long()
    error = decibels(response[:, bins] / drawn.gains)
    assert error[:, 1:-1].abs().max() < 0.5
    assert decibels(drawn.gains).min() < -10
    assert decibels(drawn.gains).max() > 10
    assert decibels(response).abs().max() < 12.5


def test_band_reject_takes_its_band_and_leaves_the_rest() -> None:
    effect = BandReject(BandRejectConfig(width=(0.05, 0.2)))
    click = torch.zeros(40, 1, T)
    click[:, :, T // 2] = 1
    drawn = effect.draw(click, chance())
    response = torch.fft.rfft(effect.change(click, drawn)[:, 0]).abs()
    frequency = torch.arange(T // 2 + 1) * RATE / T
    low, high = drawn.low[:, None], drawn.high[:, None]
    inside = (frequency > low + 5) & (frequency < high - 5)
    outside = (frequency < low - 60) | (frequency > high + 60)
    assert decibels(response[inside]).max() < -40
    assert decibels(response[outside]).abs().max() < 0.1
    width = 2595 * torch.log10((700 + drawn.high) / (700 + drawn.low)) / 2840.02
    assert width.min() >= 0.0499
    assert width.max() <= 0.2001


def test_fft_size_never_wraps() -> None:
    for samples in (1, 1000, T, T + 1, 80_000):
        assert fft_size(samples) >= samples + 12_288 - 1
    assert fft_size(T) == 32_768
