"""The training benchmark: what it prints adds up."""

import json
import subprocess
import sys

import pytest
import torch

from pretrain.config import read_config
from pretrain.methods.byol import Byol
from pretrain.train import Learner
from tools.speed.pretrain import matmul_roof, step_flop


def test_the_command_prints_figures_that_add_up(store, tmp_path):
    out = tmp_path / "bench.json"
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "tools.speed.pretrain",
            store,
            "--preset",
            "tiny",
            "--steps",
            "1",
            "--json",
            out,
            "--set",
            "encoder.widths=4 P 8 P",
            "--set",
            "encoder.crop_samples=4096",
            "--set",
            "optim.batch=8",
            "--set",
            "byol.projector=[16, 8]",
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    figures = json.loads(out.read_text())
    shares = sum(figures[f"share_{part}"] for part in ("data", "augment", "model"))
    assert shares == pytest.approx(1)
    assert figures["ratio_to_plain"] == pytest.approx(
        figures["clips_per_second"] / figures["plain_clips_per_second"]
    )
    assert 0 < figures["share_of_roof"] < 1
    assert "clips_per_second" in done.stdout


def test_the_flop_of_a_step_is_that_of_three_forwards_of_both_views():
    sets = [
        "byol.loss=infonce",
        "byol.projector=[8, 8]",
        "encoder.widths=4 P 8 P",
        "encoder.crop_samples=4096",
    ]
    learner = Learner(read_config("tiny", None, sets), torch.device("cpu"), 10)
    learner.wrap()
    view = torch.randn(2, 1, 4096)
    counted = step_flop(learner, view, view)
    assert isinstance(learner.method, Byol)
    frames = learner.method.encoder.frames(4096)
    convs = 2 * 9 * (3 * 4 * 32 * frames + 4 * 8 * 16 * (frames // 2))
    gabor = 2 * 192 * 400 * (2 * frames)  # two moduli a frame; frozen, so forward alone
    want = 4 * (gabor + 3 * convs)  # two views of two clips; a backward is two forwards
    assert counted == pytest.approx(want, rel=0.05)


def test_the_roof_is_a_plausible_speed():
    assert 1e8 < matmul_roof(torch.device("cpu"), torch.float32, seconds=0.1) < 1e14
