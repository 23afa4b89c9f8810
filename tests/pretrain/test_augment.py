"""The layer gives each sample the effects it drew, in the order it drew, and no others."""

import dataclasses
from itertools import chain
from typing import cast

import pytest
import torch
from torch import Tensor

from pretrain.augment.effect import Effect, EffectConfig
from pretrain.augment.effects import ClipConfig, SpeedConfig, TimeDropoutConfig
from pretrain.augment.filters import EqualiserConfig
from pretrain.augment.layer import AugmentationLayer, AugmentConfig
from pretrain.augment.noise import NoiseConfig
from pretrain.augment.pitch import PitchShiftConfig
from pretrain.augment.reverb import ReverbConfig

T = 20_480
NONE = AugmentConfig(
    count=None,
    time_dropout=TimeDropoutConfig(),
    reverb=ReverbConfig(),
    pitch_shift=PitchShiftConfig(),
    clip=ClipConfig(),
    speed=SpeedConfig(),
    noise=NoiseConfig(),
)
CHEAP = dataclasses.replace(
    NONE,
    equaliser=EqualiserConfig(probability=0.5),
    reverb=ReverbConfig(probability=0.5),
    time_dropout=TimeDropoutConfig(probability=0.5),
    clip=ClipConfig(probability=0.5, factor=(0.3, 1.0)),
    noise=NoiseConfig(probability=0.5),
)


def chance(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def white(batch: int, samples: int = T) -> Tensor:
    return 0.1 * torch.randn(batch, 1, samples, generator=chance(9))


def test_the_authors_recipe_is_two_to_five_effects_and_then_noise() -> None:
    layer = AugmentationLayer(AugmentConfig())
    steps, gets = layer.draw(white(600, 4), chance())
    assert steps[-1] == ["noise"]
    assert gets["noise"].all()
    five = ["time_dropout", "reverb", "pitch_shift", "clip", "speed"]
    assert sorted(chain.from_iterable(steps[:-1])) == sorted(five)
    number = torch.stack([gets[name] for name in five]).sum(dim=0)
    assert number.unique().tolist() == [2, 3, 4, 5]
    # 150 of 600 expected of each, standard deviation 10.6
    assert torch.all((number.bincount()[2:] - 150).abs() < 40)
    for name in five:  # 3.5 effects of 5
        assert gets[name].float().mean() == pytest.approx(0.7, abs=0.06)


def test_the_order_is_drawn() -> None:
    layer = AugmentationLayer(AugmentConfig())
    orders = {str(layer.draw(white(2, 4), chance(seed))[0]) for seed in range(40)}
    assert len(orders) > 20


def test_probabilities_are_each_effects_own() -> None:
    config = dataclasses.replace(CHEAP, clip=ClipConfig(probability=0.1))
    _, gets = AugmentationLayer(config).draw(white(1000, 4), chance())
    assert gets["clip"].float().mean() == pytest.approx(0.1, abs=0.03)
    assert gets["reverb"].float().mean() == pytest.approx(0.5, abs=0.05)
    both = (gets["reverb"] & gets["equaliser"]).float().mean()
    assert both == pytest.approx(0.25, abs=0.05)


def test_the_layer_is_its_effects_one_after_another() -> None:
    """Filters in one product, and pieces of the batch, change nothing but rounding."""
    layer = AugmentationLayer(CHEAP)
    wave = white(100)
    got = layer(wave, chance(3))
    random = chance(3)
    steps, gets = layer.draw(wave, random)
    effects = {name: cast(Effect, effect) for name, effect in layer.effects.items()}
    drawn = {name: effect.draw(wave, random) for name, effect in effects.items()}
    want = wave.clone()
    for name in chain.from_iterable(steps):
        changed = effects[name].change(want, *drawn[name])
        want = torch.where(gets[name][:, None, None], changed, want)
    linear = gets["reverb"] & gets["equaliser"]
    # filters in a row: between two of them the plain way cuts off what rings on beyond the end
    torch.testing.assert_close(got[~linear], want[~linear], atol=1e-5, rtol=1e-4)
    error = (got - want)[linear].norm() / want[linear].norm()
    assert error < 0.05


def test_samples_without_effects_stay_bit_for_bit() -> None:
    layer = AugmentationLayer(dataclasses.replace(CHEAP, noise=NoiseConfig(probability=0.2)))
    wave = white(100)
    _, gets = layer.draw(wave, chance(4))
    got = layer(wave, chance(4))
    changed = torch.stack(list(gets.values())).any(dim=0)
    assert 0 < int((~changed).sum()) < 20
    assert torch.equal(got[~changed], wave[~changed])
    assert not torch.isclose(got[changed], wave[changed]).all(dim=2).any()


def test_with_no_effect_nothing_changes() -> None:
    wave = white(3)
    assert torch.equal(AugmentationLayer(NONE)(wave, chance()), wave)


def test_the_generator_decides_alone_and_the_input_stays() -> None:
    layer = AugmentationLayer(AugmentConfig())
    wave = white(4)
    before = wave.clone()
    first = layer(wave, chance(1))
    torch.rand(7)
    assert torch.equal(first, layer(wave, chance(1)))
    assert not torch.equal(first, layer(wave, chance(2)))
    assert torch.equal(wave, before)
    assert first.shape == wave.shape
    assert first.isfinite().all()


def test_every_effect_can_be_switched_on() -> None:
    fields = [f.name for f in dataclasses.fields(AugmentConfig)]
    effects = [name for name in fields if isinstance(getattr(NONE, name), EffectConfig)]
    assert len(effects) == 7
    wave = white(2)
    for name in effects:
        settings = dataclasses.replace(getattr(NONE, name), probability=1.0)
        layer = AugmentationLayer(dataclasses.replace(NONE, **{name: settings}))
        assert list(layer.effects) == [name]
        assert not torch.equal(layer(wave, chance()), wave)


def test_wrong_counts_are_named() -> None:
    with pytest.raises(ValueError, match="count is"):
        AugmentConfig(count=(3, 2))
    with pytest.raises(ValueError, match="but 1 effects"):
        dataclasses.replace(NONE, count=(2, 5), clip=ClipConfig(probability=1.0))
