"""A reverberation is the direct sound and a room that decays as drawn."""

import numpy as np
import pytest
import scipy.signal
import torch

from pretrain.augment.effect import uniform
from pretrain.augment.filters import fft_size
from pretrain.augment.reverb import Reverb, ReverbConfig
from tests.pretrain.signals import RATE, T, chance, decibels, white


def test_reverb_is_the_direct_sound_and_a_room_by_plain_convolution() -> None:
    effect = Reverb(ReverbConfig(rooms=2))
    wave = white(4)
    spectra, wet = effect.draw(wave, chance())
    got = effect.change(wave, spectra, wet)
    rooms = torch.fft.irfft(spectra, fft_size(T))
    assert torch.equal(rooms[:2], rooms[2:])
    assert not torch.equal(rooms[0], rooms[1])
    for i in range(4):
        room = rooms[i].double().numpy()
        want = scipy.signal.fftconvolve(wave[i, 0].double().numpy(), room)[:T]
        want = wave[i, 0].double().numpy() + float(wet[i]) * want
        np.testing.assert_allclose(got[i, 0].numpy(), want, atol=1e-4)


def decay_time(room: np.ndarray, low: float, high: float) -> float:
    """Return T60 in s of a band: Schroeder's backward integral, its line from -5 to -35 dB."""
    band = scipy.signal.butter(4, [low, high], "bandpass", fs=RATE, output="sos")
    energy = np.cumsum(scipy.signal.sosfilt(band, room)[::-1] ** 2)[::-1]
    level = 10 * np.log10(energy / energy[0] + 1e-12)
    first, last = int((level < -5).argmax()), int((level < -35).argmax())
    slope = np.polyfit(np.arange(first, last) / RATE, level[first:last], 1)[0]
    return float(-60 / slope)


def test_reverb_decays_in_its_time_and_faster_up_high() -> None:
    spectra, _ = Reverb(ReverbConfig(decay=(0.2, 0.7), rooms=8)).draw(white(8), chance())
    rooms = torch.fft.irfft(spectra, fft_size(T)).double().numpy()
    random = chance()
    decay, damping = uniform(white(8), random, 0.2, 0.7), uniform(white(8), random, 0.5, 0.9)
    for room, time, share in zip(rooms, decay.tolist(), damping.tolist(), strict=True):
        assert decay_time(room, 300, 1700) == pytest.approx(time, rel=0.15)
        high = time * (1 - share)
        assert decay_time(room, 3000, 7000) == pytest.approx(high, rel=0.2)
        assert (room**2).sum() == pytest.approx(1, rel=1e-3)


def test_reverb_has_the_drawn_direct_to_reverberant_ratio() -> None:
    effect = Reverb(ReverbConfig(direct=(-3, 10)))
    click = torch.zeros(100, 1, T)
    click[:, :, 0] = 1
    got = effect(click, chance())
    assert torch.allclose(got[:, :, 0], torch.ones(1), atol=1e-4)
    ratio = -decibels(got[:, 0, 1:].norm(dim=1))
    assert ratio.min() == pytest.approx(-3, abs=0.7)
    assert ratio.max() == pytest.approx(10, abs=0.7)
