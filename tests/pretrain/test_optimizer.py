"""Schedules where their formulas can be read off; parameter groups: decay and scaled rates."""

import copy
import dataclasses
import math
from typing import Any

import pytest
import torch

from pretrain.config import ByolConfig, OptimConfig
from pretrain.optimizer import (
    build_optimizer,
    learning_rate,
    set_learning_rate,
    target_decay,
)
from wavebyol_hear.encoder import PRESETS, Encoder
from wavebyol_hear.front_end import GaborFrontEnd, GaborFrontEndConfig

SMALL = dataclasses.replace(
    PRESETS["slim"], widths="4 P 8 P", front_end=GaborFrontEndConfig(trained=True)
)
SHAPE: dict[str, Any] = {"lr": 2.0, "steps": 110, "warmup": 10}


def rate(step, **settings):
    return learning_rate(step, OptimConfig(**settings))


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
    optimized = {id(p) for group in groups for p in group["params"]}
    assert id(encoder.get_parameter("front_end.centre")) not in optimized
    assert id(encoder.get_parameter("front_end.norm.weight")) in optimized


def test_a_trained_front_end_moves_its_centres_and_stays_a_filter_bank():
    torch.manual_seed(0)
    encoder = Encoder(SMALL)
    optimizer = build_optimizer(encoder, OptimConfig(name="adamw", front_end_scale=100.0))
    set_learning_rate(optimizer, 0.01)
    front_end = encoder.front_end
    assert isinstance(front_end, GaborFrontEnd)
    before = front_end.centre.detach().clone()
    for _ in range(3):
        optimizer.zero_grad()
        encoder(torch.randn(2, 1, 20480)).square().mean().backward()
        optimizer.step()
    moved = (front_end.centre - before).abs()
    assert 0.1 < float(moved.max()) < 10  # Hz: steps of the size of the learning rate
    energy = front_end.filters().square().reshape(2, -1, 400).sum((0, 2))
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


@pytest.mark.parametrize("schedule", ["constant", "cosine", "wsd"])
def test_warm_up_is_linear_and_ends_at_the_peak(schedule):
    rates = [rate(s, schedule=schedule, **SHAPE) for s in range(10)]
    assert rates == pytest.approx([0.2 * (s + 1) for s in range(10)])


def test_cosine_is_half_way_at_half_time_and_ends_near_zero():
    assert rate(60, schedule="cosine", **SHAPE) == pytest.approx(1.0)
    assert rate(109, schedule="cosine", **SHAPE) < 0.001


def test_wsd_is_flat_then_falls_in_a_line_to_one_step_before_zero():
    rates = [rate(s, schedule="wsd", decay=0.2, **SHAPE) for s in range(110)]
    assert rates[10:88] == [2.0] * 78
    assert rates[99] == pytest.approx(2.0 * 11 / 22)
    assert 0 < rates[109] == pytest.approx(2.0 / 22)


def test_lengthening_a_wsd_run_leaves_its_stable_part_as_it_was():
    longer = {**SHAPE, "steps": 1000}
    for step in range(88):
        assert rate(step, schedule="wsd", **SHAPE) == rate(step, schedule="wsd", **longer)


def test_target_decay_goes_from_first_to_last_by_a_cosine():
    config = ByolConfig(tau=0.9, tau_final=1.0)
    assert [target_decay(s, config, 100) for s in (0, 50, 100)] == pytest.approx([0.9, 0.95, 1.0])
    expected = (1 - math.cos(math.pi / 4)) / 2
    assert target_decay(25, ByolConfig(tau=0.0), 100) == pytest.approx(expected)


def test_adamp_takes_weights_in_channels_last_as_it_takes_others():
    torch.manual_seed(0)
    plain = torch.nn.Conv2d(3, 4, 3)
    last = copy.deepcopy(plain)
    last.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # absent in the stubs
    images = torch.randn(2, 3, 8, 8)
    for network in (plain, last):
        optimizer = build_optimizer(network, OptimConfig(name="adamp", weight_decay=0.1, lr=0.1))
        for _ in range(3):
            optimizer.zero_grad()
            network(images).square().mean().backward()
            optimizer.step()
    assert not last.weight.is_contiguous()
    torch.testing.assert_close(last.weight, plain.weight)
