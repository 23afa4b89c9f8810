"""Each effect does to the sound what its parameters say, measured on the sound."""

from collections.abc import Callable

import pytest
import torch

from pretrain.augment.effect import Effect, EffectConfig
from pretrain.augment.effects import (
    Clip,
    ClipConfig,
    Speed,
    SpeedConfig,
    TimeDropout,
    TimeDropoutConfig,
)
from pretrain.augment.filters import Equaliser, EqualiserConfig
from pretrain.augment.noise import Noise, NoiseConfig
from pretrain.augment.pitch import PitchShift, PitchShiftConfig
from pretrain.augment.reverb import Reverb, ReverbConfig
from tests.pretrain.signals import T, cents, chance, pitch, tone, white

EFFECTS: list[Effect] = [
    TimeDropout(TimeDropoutConfig()),
    Clip(ClipConfig()),
    Speed(SpeedConfig()),
    Equaliser(EqualiserConfig()),
    Reverb(ReverbConfig()),
    PitchShift(PitchShiftConfig()),
    Noise(NoiseConfig()),
]
NAMES = [f"{type(effect).__name__}{i}" for i, effect in enumerate(EFFECTS)]


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
    drawn = effect.draw(wave, chance())
    rows = torch.tensor([4, 1])
    some = effect.change(wave[rows], *(parameter[rows] for parameter in drawn))
    torch.testing.assert_close(some, effect.change(wave, *drawn)[rows], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("effect", EFFECTS, ids=NAMES)
def test_silence_stays_finite(effect: Effect) -> None:
    assert effect(torch.zeros(3, 1, T), chance()).isfinite().all()


def test_time_dropout_silences_its_span_and_nothing_else() -> None:
    effect = TimeDropout(TimeDropoutConfig(seconds=0.5))
    wave = white(200) + 1
    starts, ends = effect.draw(wave, chance())
    got = effect.change(wave, starts, ends)
    for i in range(200):
        start, end = int(starts[i]), int(ends[i])
        assert 0 <= start <= end <= T
        assert not got[i, 0, start:end].any()
        assert torch.equal(got[i, 0, :start], wave[i, 0, :start])
        assert torch.equal(got[i, 0, end:], wave[i, 0, end:])
    length = ends - starts
    assert 7700 < length.max() <= 8000
    assert length.min() < 300
    assert starts.min() < 400
    assert ends.max() > T - 400


def test_clip_leaves_the_share_of_the_peaks() -> None:
    effect = Clip(ClipConfig())
    wave = white(200) + 0.02
    (factor,) = effect.draw(wave, chance())
    got = effect.change(wave, factor)
    torch.testing.assert_close(got.amax((1, 2)), wave.amax((1, 2)) * factor)
    torch.testing.assert_close(got.amin((1, 2)), wave.amin((1, 2)) * factor)
    under = (got < got.amax(2, keepdim=True)) & (got > got.amin(2, keepdim=True))
    assert torch.equal(got[under], wave[under])
    assert factor.min() < 0.05
    assert factor.max() > 0.95


def test_speed_moves_pitch_by_one_of_the_speeds() -> None:
    effect = Speed(SpeedConfig())
    wave = tone(1000, 60)
    speed, fraction = effect.draw(wave, chance())
    got = effect.change(wave, speed, fraction)
    assert len(speed.unique()) == 9
    for i in range(0, 60, 6):
        assert cents(pitch(got[i, 0]) / 1000) == pytest.approx(cents(float(speed[i])), abs=0.5)
    assert got[:, 0, -50:].abs().amax(dim=1).min() > 0.1, "slower is longer: no silence at the end"


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
        (lambda: PitchShift(PitchShiftConfig())(white(1, 400), chance()), "400 samples"),
    ],
)
def test_wrong_settings_are_named(make: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()
