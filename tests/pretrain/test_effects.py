"""Each effect does to the sound what its parameters say, measured on the sound."""

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import scipy.signal
import soundfile
import torch
from torch import Tensor

from pretrain import store_build
from pretrain.effect import Effect, EffectConfig
from pretrain.effects import (
    Clip,
    ClipConfig,
    Gain,
    GainConfig,
    Speed,
    SpeedConfig,
    TimeDropout,
    TimeDropoutConfig,
)
from pretrain.effects_filter import (
    BandReject,
    BandRejectConfig,
    Equaliser,
    EqualiserConfig,
    fft_size,
)
from pretrain.effects_noise import Noise, NoiseConfig, coloured_noise
from pretrain.effects_pitch import PitchShift, PitchShiftConfig
from pretrain.effects_reverb import Reverb, ReverbConfig

T = 20_480
RATE = 16_000
EFFECTS: list[Effect] = [
    TimeDropout(TimeDropoutConfig()),
    Clip(ClipConfig()),
    Gain(GainConfig()),
    Speed(SpeedConfig()),
    Equaliser(EqualiserConfig()),
    BandReject(BandRejectConfig()),
    Reverb(ReverbConfig()),
    PitchShift(PitchShiftConfig()),
    Noise(NoiseConfig()),
    Noise(NoiseConfig(origin="coloured")),
]
NAMES = [f"{type(effect).__name__}{i}" for i, effect in enumerate(EFFECTS)]


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


@pytest.mark.parametrize("effect", EFFECTS, ids=NAMES)
@pytest.mark.parametrize("shape", [(5, 1, T), (1, 1, 3001)])
def test_shape_and_type_are_kept_and_the_generator_decides_alone(
    effect: Effect, shape: tuple[int, int, int]
) -> None:
    wave = white(shape[0], shape[2])
    before = wave.clone()
    first = effect(wave, chance(1))
    torch.rand(3)
    assert first.shape == shape
    assert first.dtype == torch.float32
    assert first.isfinite().all()
    assert torch.equal(first, effect(wave, chance(1)))
    assert not torch.equal(first, effect(wave, chance(2)))
    assert torch.equal(wave, before), "the effect changed its input"


@pytest.mark.parametrize("effect", EFFECTS, ids=NAMES)
def test_some_rows_parameters_give_those_rows(effect: Effect) -> None:
    wave = white(6)
    parameters = effect.draw(wave, chance())
    rows = torch.tensor([4, 1])
    some = effect.change(wave[rows], parameters.take(rows))
    torch.testing.assert_close(some, effect.change(wave, parameters)[rows], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("effect", EFFECTS, ids=NAMES)
def test_silence_stays_finite(effect: Effect) -> None:
    assert effect(torch.zeros(3, 1, T), chance()).isfinite().all()


def test_time_dropout_silences_its_span_and_nothing_else() -> None:
    effect = TimeDropout(TimeDropoutConfig(seconds=0.5))
    wave = white(200) + 1
    span = effect.draw(wave, chance())
    got = effect.change(wave, span)
    for i in range(200):
        start, end = int(span.start[i]), int(span.end[i])
        assert 0 <= start <= end <= T
        assert not got[i, 0, start:end].any()
        assert torch.equal(got[i, 0, :start], wave[i, 0, :start])
        assert torch.equal(got[i, 0, end:], wave[i, 0, end:])
    length = span.end - span.start
    assert 7700 < length.max() <= 8000
    assert length.min() < 300
    assert span.start.min() < 400
    assert span.end.max() > T - 400


def test_clip_leaves_the_share_of_the_peaks() -> None:
    effect = Clip(ClipConfig())
    wave = white(200) + 0.02
    drawn = effect.draw(wave, chance())
    got = effect.change(wave, drawn)
    torch.testing.assert_close(got.amax((1, 2)), wave.amax((1, 2)) * drawn.factor)
    torch.testing.assert_close(got.amin((1, 2)), wave.amin((1, 2)) * drawn.factor)
    under = (got < got.amax(2, keepdim=True)) & (got > got.amin(2, keepdim=True))
    assert torch.equal(got[under], wave[under])
    assert drawn.factor.min() < 0.05
    assert drawn.factor.max() > 0.95


def test_gain_is_uniform_in_decibels() -> None:
    wave = white(400)
    gain = decibels(
        Gain(GainConfig(decibels=(-6, 12)))(wave, chance()).norm(dim=2) / wave.norm(dim=2)
    )
    assert gain.min() >= -6.01
    assert gain.max() <= 12.01
    assert gain.mean() == pytest.approx(3, abs=0.8)  # three standard errors


def test_speed_moves_pitch_by_one_of_the_speeds() -> None:
    effect = Speed(SpeedConfig())
    wave = tone(1000, 60)
    drawn = effect.draw(wave, chance())
    got = effect.change(wave, drawn)
    assert len(drawn.speed.unique()) == 9
    for i in range(0, 60, 6):
        assert cents(pitch(got[i, 0]) / 1000) == pytest.approx(
            cents(float(drawn.speed[i])), abs=0.5
        )
    assert got[:, 0, -50:].abs().amax(dim=1).min() > 0.1, "slower is longer: no silence at the end"


@pytest.mark.parametrize("hertz", [220.0, 1000.0, 3000.0])
def test_pitch_shift_moves_a_tone_by_its_cents(hertz: float) -> None:
    effect = PitchShift(PitchShiftConfig())
    wave = tone(hertz, 12)
    drawn = effect.draw(wave, chance())
    got = effect.change(wave, drawn)
    want = 1200 * drawn.ratio.log2()
    assert want.min() < -300
    assert want.max() > 300
    for i in range(12):
        assert cents(pitch(got[i, 0]) / hertz) == pytest.approx(float(want[i]), abs=2)
    # linear interpolation takes up to 2 dB at 3 kHz
    level = got[..., 3000:-3000].square().mean().sqrt() / wave.square().mean().sqrt()
    assert decibels(level).abs() < 2.5


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


def test_reverb_is_the_direct_sound_and_a_room_by_plain_convolution() -> None:
    effect = Reverb(ReverbConfig(rooms=2))
    wave = white(4)
    drawn = effect.draw(wave, chance())
    got = effect.change(wave, drawn)
    rooms = torch.fft.irfft(drawn.spectra, fft_size(T))
    for i in range(4):
        room = rooms[i % 2].double().numpy()
        want = scipy.signal.fftconvolve(wave[i, 0].double().numpy(), room)[:T]
        want = wave[i, 0].double().numpy() + float(drawn.wet[i]) * want
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
    effect = Reverb(ReverbConfig(decay=(0.2, 0.7), rooms=8))
    drawn = effect.draw(white(8), chance())
    rooms = torch.fft.irfft(drawn.spectra, fft_size(T)).double().numpy()
    for room, decay, damping in zip(rooms, drawn.decay, drawn.damping, strict=True):
        assert decay_time(room, 300, 1700) == pytest.approx(float(decay), rel=0.15)
        high = float(decay * (1 - damping))
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


@pytest.mark.parametrize("origin", ["batch", "coloured"])
def test_noise_has_its_ratio_to_the_signal(origin: str) -> None:
    effect = Noise(NoiseConfig(snr=(5, 19), origin=origin))  # type: ignore[arg-type]
    wave = white(200) * torch.rand(200, 1, 1, generator=chance(5))
    drawn = effect.draw(wave, chance())
    added = effect.change(wave, drawn) - wave
    snr = decibels(wave.norm(dim=2) / added.norm(dim=2))[:, 0]
    torch.testing.assert_close(snr, drawn.snr, atol=0.01, rtol=0)
    assert 5 <= snr.min() < 6
    assert 18 < snr.max() <= 19.01


def test_noise_of_the_batch_is_another_sample() -> None:
    wave = white(7)
    drawn = Noise(NoiseConfig()).draw(wave.repeat(1, 1, 1), chance())
    assert torch.all(drawn.start // T != torch.arange(7))
    many = torch.stack([Noise(NoiseConfig()).draw(wave, chance(i)).start // T for i in range(60)])
    assert all(len(column.unique()) == 6 for column in many.T)


def test_silence_gets_no_noise_and_silent_noise_changes_nothing() -> None:
    wave = torch.cat([torch.zeros(1, 1, T), white(1)])
    assert torch.equal(Noise(NoiseConfig())(wave, chance()), wave)


def test_coloured_noise_falls_by_0_to_6_decibels_an_octave() -> None:
    noise = coloured_noise(3, 1 << 16).double().numpy()
    frequency, power = scipy.signal.welch(noise, RATE, nperseg=4096)
    some = (frequency > 100) & (frequency < 6000)
    slope = [np.polyfit(np.log2(frequency[some]), 10 * np.log10(p[some]), 1)[0] for p in power]
    np.testing.assert_allclose(slope, [0, -3.01, -6.02], atol=0.15)


def test_noise_from_a_store(tmp_path: Path) -> None:
    sounds = tmp_path / "musan"
    sounds.mkdir()
    for i in range(3):
        soundfile.write(sounds / f"{i}.wav", np.full(3 * T, (i + 1) / 8), RATE)
    (tmp_path / "store" / "parts").mkdir(parents=True)
    for i, part in enumerate(store_build.parts_of(str(sounds))):
        store_build.decode_part(part, tmp_path / "store" / "parts" / f"{i:06d}.json")
    store_build.build([str(sounds)], tmp_path / "store", 1)
    effect = Noise(NoiseConfig(origin="store", store=str(tmp_path / "store")))
    wave = white(50)
    drawn = effect.draw(wave, chance())
    levels = (effect.noise(T, drawn) / 32767 * 8).round(decimals=2)
    assert set(levels.flatten().tolist()) == {1.0, 2.0, 3.0}
    added = effect.change(wave, drawn) - wave
    snr = decibels(wave.norm(dim=2) / added.norm(dim=2))[:, 0]
    torch.testing.assert_close(snr, drawn.snr, atol=0.01, rtol=0)


def test_fft_size_never_wraps() -> None:
    for samples in (1, 1000, T, T + 1, 80_000):
        assert fft_size(samples) >= samples + 12_288 - 1
    assert fft_size(T) == 32_768


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EffectConfig(probability=1.5), "probability is 1.5"),
        (lambda: NoiseConfig(snr=(19, 5)), r"snr is \(19, 5\)"),
        (lambda: Noise(NoiseConfig(origin="store")), "store is empty"),
        (lambda: Reverb(ReverbConfig(decay=(0.2, 2.0))), "decay"),
        (lambda: Reverb(ReverbConfig(damping=(0.5, 1.0))), "damping"),
        (lambda: Reverb(ReverbConfig(rooms=0)), "rooms is 0"),
        (lambda: Speed(SpeedConfig(speeds=(0.0,))), "speeds"),
        (lambda: Equaliser(EqualiserConfig(knots=1)), "knots is 1"),
        (lambda: BandReject(BandRejectConfig(width=(0.0, 1.5))), "width"),
        (lambda: PitchShift(PitchShiftConfig())(white(1, 400), chance()), "400 samples"),
    ],
)
def test_wrong_settings_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
