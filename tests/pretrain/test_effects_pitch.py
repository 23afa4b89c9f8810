"""A pitch shift moves the pitch by what it drew, and not the tempo."""

import math

import pytest
import torch

from pretrain.augment.pitch import PitchShift, PitchShiftConfig
from tests.pretrain.signals import RATE, T, cents, chance, decibels, pitch, tone, white


@pytest.mark.parametrize("hertz", [220.0, 1000.0, 3000.0])
def test_pitch_shift_moves_a_tone_by_its_cents(hertz: float) -> None:
    effect = PitchShift(PitchShiftConfig())
    wave = tone(hertz, 12)
    (ratio,) = effect.draw(wave, chance())
    got = effect.change(wave, ratio)
    want = 1200 * ratio.log2()
    assert want.min() < -300
    assert want.max() > 300
    for i in range(12):
        assert cents(pitch(got[i, 0]) / hertz) == pytest.approx(float(want[i]), abs=2)
    # linear interpolation takes up to 2 dB at 3 kHz
    level = got[..., 3000:-3000].square().mean().sqrt() / wave.square().mean().sqrt()
    assert decibels(level).abs() < 2.5


@pytest.mark.parametrize("hertz", [110.0, 220.0, 441.3, 1000.0, 1500.0])
def test_a_steady_tone_keeps_its_level_at_every_shift_and_phase(hertz: float) -> None:
    cents = torch.linspace(-500, 500, 41).repeat(4)
    phase = torch.arange(4).repeat_interleave(41)[:, None, None] * math.pi / 2
    wave = torch.sin(2 * math.pi * hertz * torch.arange(T) / RATE + phase)
    got = PitchShift(PitchShiftConfig()).change(wave, 2.0 ** (cents / 1200))
    level = got[..., 600:-600].norm(dim=2) / wave[..., 600:-600].norm(dim=2)
    assert decibels(level).abs().max() < 1


def test_pitch_shift_keeps_the_tempo() -> None:
    """Bursts stay where they were, within 24 ms, where a change of tempo moves them by 300."""
    places = [3000, 9000, 15_000]
    wave = torch.zeros(8, 1, T)
    for place in places:
        wave[:, :, place - 400 : place + 400] = tone(800, 8, 800)
    got = PitchShift(PitchShiftConfig())(wave, chance())
    time = torch.arange(T)
    for place in places:
        near = (time - place).abs() < 2000
        power = got[:, 0].square() * near
        centre = (power * time).sum(dim=1) / power.sum(dim=1)
        assert torch.all((centre - place).abs() < 384)


def test_pitch_shift_by_nothing_changes_nothing() -> None:
    wave = white(2)
    got = PitchShift(PitchShiftConfig(cents=(0, 0)))(wave, chance())
    torch.testing.assert_close(got[..., :-600], wave[..., :-600], atol=1e-3, rtol=0)
