"""Signs of collapse, at the two ends of their scales."""

import json
import logging

import pytest
import torch

from pretrain.monitor import Monitor, rank_me, spread


def test_spread_is_one_for_even_directions_and_zero_for_one():
    torch.manual_seed(0)
    assert spread(torch.randn(4000, 32)) == pytest.approx(1, abs=0.02)
    assert spread(torch.ones(100, 32)) == pytest.approx(0, abs=1e-6)


def test_rank_me_counts_equal_directions():
    assert rank_me(torch.eye(20)[:, :6].repeat(5, 1)) == pytest.approx(6, rel=1e-3)
    assert rank_me(torch.ones(50, 8)) == pytest.approx(1, rel=1e-2)


def test_collapse_is_warned_of_once_and_lines_are_json(tmp_path, caplog):
    with Monitor(tmp_path, 0, 10, active=True) as monitor, caplog.at_level(logging.WARNING):
        monitor.write(1, {"loss": 0.5, "spread": 0.01})
        monitor.write(2, {"loss": 0.5, "spread": 0.01})
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    assert sum("collapse" in record.message for record in caplog.records) == 1


def test_an_inactive_monitor_writes_nothing(tmp_path):
    with Monitor(tmp_path, 0, 10, active=False) as monitor:
        monitor.write(1, {"loss": 0.5})
        monitor.advance()
    assert not list(tmp_path.iterdir())
