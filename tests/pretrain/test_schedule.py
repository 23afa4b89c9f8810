"""Schedules: values at the places where their formulas can be read off."""

import math

import pytest

from pretrain.schedule import learning_rate, target_decay

SHAPE = {"peak": 2.0, "steps": 110, "warmup": 10}


@pytest.mark.parametrize("schedule", ["constant", "cosine", "wsd"])
def test_warm_up_is_linear_and_ends_at_the_peak(schedule):
    rates = [learning_rate(s, schedule=schedule, **SHAPE) for s in range(10)]
    assert rates == pytest.approx([0.2 * (s + 1) for s in range(10)])


def test_cosine_is_half_way_at_half_time_and_ends_near_zero():
    assert learning_rate(60, schedule="cosine", **SHAPE) == pytest.approx(1.0)
    assert learning_rate(109, schedule="cosine", **SHAPE) < 0.001


def test_wsd_is_flat_then_falls_in_a_line_to_one_step_before_zero():
    rate = [learning_rate(s, schedule="wsd", decay=0.2, **SHAPE) for s in range(110)]
    assert rate[10:88] == [2.0] * 78
    assert rate[99] == pytest.approx(2.0 * 11 / 22)
    assert 0 < rate[109] == pytest.approx(2.0 / 22)


def test_lengthening_a_wsd_run_leaves_its_stable_part_as_it_was():
    longer = {**SHAPE, "steps": 1000}
    for step in range(88):
        assert learning_rate(step, schedule="wsd", **SHAPE) == learning_rate(
            step, schedule="wsd", **longer
        )


def test_target_decay_goes_from_first_to_last_by_a_cosine():
    tau = [target_decay(s, first=0.9, last=1.0, steps=100) for s in (0, 50, 100)]
    assert tau == pytest.approx([0.9, 0.95, 1.0])
    assert target_decay(25, first=0.0, last=1.0, steps=100) == pytest.approx(
        (1 - math.cos(math.pi / 4)) / 2
    )
