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


def faults_of_steps(how):
    """Page faults of each step but the first four, which find their memory."""
    found = subprocess.run(
        [sys.executable, "-c", COUNT_FAULTS, how], check=True, capture_output=True, text=True
    )
    return [int(line) for line in found.stdout.split()][4:]


def test_a_step_done_before_faults_no_pages_in():
    """A system short of memory takes pages back as well, now and then: the best step is judged."""
    if not keep_freed_memory():
        pytest.skip("this C library has no mallopt")
    freed = max(faults_of_steps("free"))
    if not freed:
        pytest.skip("malloc kept the memory of these steps by itself")
    assert min(faults_of_steps("keep")) < freed / 10
