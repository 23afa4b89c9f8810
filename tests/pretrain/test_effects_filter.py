"""The equaliser has the frequency response that it drew."""

import math

import torch

from pretrain.augment.filters import Equaliser, EqualiserConfig, fft_size
from tests.pretrain.signals import RATE, T, chance, decibels


def test_equaliser_has_its_gains_at_the_knots_and_no_delay() -> None:
    effect = Equaliser(EqualiserConfig())
    click = torch.zeros(50, 1, T)
    click[:, :, T // 2] = 1
    (gains,) = effect.draw(click, chance())
    got = effect.change(click, gains)
    assert torch.all(got.abs().argmax(dim=2) == T // 2)
    response = torch.fft.rfft(got[:, 0]).abs()
    mels = torch.linspace(0, 2595 * math.log10(1 + 8000 / 700), 8)
    bins = (700 * (10 ** (mels / 2595) - 1) * T / RATE).round().long()
    error = decibels(response[:, bins] / gains)
    assert error[:, 1:-1].abs().max() < 0.5
    assert decibels(gains).min() < -10
    assert decibels(gains).max() > 10
    assert decibels(response).abs().max() < 12.5


def test_fft_size_never_wraps() -> None:
    for samples in (1, 1000, T, T + 1, 80_000):
        assert fft_size(samples) >= samples + 12_288 - 1
    assert fft_size(T) == 32_768
