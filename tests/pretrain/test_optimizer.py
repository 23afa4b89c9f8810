"""Parameter groups: who decays, and whose learning rate is scaled."""

import dataclasses

import pytest
import torch

from pretrain.config import OptimConfig
from pretrain.optimizer import build_optimizer, set_learning_rate
from wavebyol_hear.encoder import PRESETS, Encoder
from wavebyol_hear.front_end import GaborFrontEndConfig

SMALL = dataclasses.replace(
    PRESETS["slim"], widths="4 P 8 P", front_end=GaborFrontEndConfig(trained=True)
)


@pytest.mark.parametrize("name", ["adamw", "adamp"])
def test_matrices_decay_vectors_do_not_and_the_front_end_has_its_own_rate(name):
    encoder = Encoder(SMALL)
    optimizer = build_optimizer(
        encoder, OptimConfig(name=name, weight_decay=0.1, front_end_scale=0.02)
    )
    set_learning_rate(optimizer, 0.5)
    settings = {
        id(p): (group["weight_decay"], group["lr"])
        for group in optimizer.param_groups
        for p in group["params"]
    }
    for key, parameter in encoder.named_parameters():
        decay, rate = settings.pop(id(parameter))
        assert decay == (0.1 if parameter.ndim > 1 else 0.0), key
        assert rate == pytest.approx(0.01 if key.endswith(("centre", "bandwidth")) else 0.5), key
    assert not settings


def test_a_frozen_front_end_is_left_out():
    encoder = Encoder(dataclasses.replace(PRESETS["slim"], widths="4 P"))
    groups = build_optimizer(encoder, OptimConfig()).param_groups
    held = {id(p) for group in groups for p in group["params"]}
    assert id(encoder.front_end.centre) not in held
    assert id(encoder.front_end.norm.weight) in held


def test_a_trained_front_end_moves_its_centres_and_stays_a_filter_bank():
    torch.manual_seed(0)
    encoder = Encoder(SMALL)
    optimizer = build_optimizer(encoder, OptimConfig(name="adamw", front_end_scale=100.0))
    set_learning_rate(optimizer, 0.01)
    before = encoder.front_end.centre.detach().clone()
    for _ in range(3):
        optimizer.zero_grad()
        encoder(torch.randn(2, 1, 20480)).square().mean().backward()
        optimizer.step()
    moved = (encoder.front_end.centre - before).abs()
    assert 0.1 < float(moved.max()) < 10  # Hz: steps of the size of the learning rate
    energy = encoder.front_end.filters().square().reshape(2, -1, 400).sum((0, 2))
    torch.testing.assert_close(energy, torch.ones_like(energy))


def test_filters_do_not_decay_and_have_their_own_rate():
    config = dataclasses.replace(PRESETS["slim_bank"], widths="4 P")
    encoder = Encoder(config)
    optimizer = build_optimizer(encoder, OptimConfig(weight_decay=0.1, front_end_scale=0.02))
    names = {id(parameter): name for name, parameter in encoder.named_parameters()}
    scaled = {
        names[id(parameter)]: group["weight_decay"]
        for group in optimizer.param_groups
        if group["scale"] == 0.02
        for parameter in group["params"]
    }
    assert scaled == {"front_end.taps": 0.0, "front_end.averaging": 0.0}
