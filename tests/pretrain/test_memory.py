"""Freed memory is kept: a training step that was done before costs next to no page faults."""

import subprocess
import sys

import pytest

from pretrain.memory import keep_freed_memory

COUNT_FAULTS = """
import resource, sys, torch
from torch import nn
from pretrain.memory import keep_freed_memory
if sys.argv[1] == "keep":
    keep_freed_memory()
torch.manual_seed(0)
network = nn.Sequential(nn.Conv2d(1, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.ReLU())
images = torch.randn(64, 1, 64, 96)
for step in range(12):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    network(images).square().mean().backward()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def faults_of_the_last_step(how):
    found = subprocess.run(
        [sys.executable, "-c", COUNT_FAULTS, how], check=True, capture_output=True, text=True
    )
    return int(found.stdout)


def test_a_step_done_before_faults_no_pages_in():
    if not keep_freed_memory():
        pytest.skip("this C library has no mallopt")
    assert faults_of_the_last_step("keep") < faults_of_the_last_step("free") / 10
