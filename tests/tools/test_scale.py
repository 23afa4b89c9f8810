"""The simulation against closed forms: no preemption, the mean of repeated parts, fixed slices."""

import math

import numpy as np
import pytest

from tools.scale import Rates, makespan, report, static_makespan


def test_without_preemption_equal_parts_take_as_long_as_full_rounds() -> None:
    for parts, workers in ((1, 4), (8, 4), (9, 4)):
        end, lost = makespan([0.5] * parts, workers, mtbf=math.inf, away=1.0)
        assert end == pytest.approx(0.5 * math.ceil(parts / workers))
        assert lost == 0


def test_a_part_that_is_begun_anew_takes_the_expected_time() -> None:
    """With rate r and length T a part takes (exp(rT) - 1) / r on average when nothing is kept."""
    mtbf, length, parts = 2.0, 1.5, 20_000
    end, lost = makespan([length] * parts, 1, mtbf=mtbf, away=0.0)
    expected = mtbf * math.expm1(length / mtbf)
    assert end / parts == pytest.approx(expected, rel=0.03)
    assert lost == pytest.approx(1 - length / expected, rel=0.06)


def test_absence_adds_itself_once_per_preemption() -> None:
    parts, mtbf, length = 20_000, 2.0, 1.5
    quick, _ = makespan([length] * parts, 1, mtbf=mtbf, away=0.0)
    slow, _ = makespan([length] * parts, 1, mtbf=mtbf, away=0.25)
    assert (slow - quick) / parts == pytest.approx(0.25 * math.expm1(length / mtbf), rel=0.05)


def test_a_queue_ends_no_later_than_fixed_slices_and_no_earlier_than_the_mean() -> None:
    durations = np.random.default_rng(0).lognormal(0, 1, 600).tolist()
    queue, _ = makespan(durations, 20, mtbf=math.inf, away=0.0)
    assert sum(durations) / 20 <= queue <= static_makespan(durations, 20)


def test_the_report_scales_with_the_rates() -> None:
    table = report(Rates(decode=1000.0, embed=500.0, gpu_crops=20_000.0), mtbf=6.0)
    row = next(line for line in table.splitlines() if line.startswith("| ACAV100M"))
    assert row.split(" | ")[4:] == ["278", "556", "1.39 |"]
