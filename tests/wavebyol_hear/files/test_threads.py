"""Threads: as many as affinity and quotas allow, sleeping while they wait, and what others use."""

import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wavebyol_hear.files.threads import OtherLoad, _quota, usable_cores

ASK = "\nimport os\nprint(os.environ['OMP_NUM_THREADS'], os.environ['OMP_WAIT_POLICY'])"
TORCH = "\nimport torch\nassert torch.get_num_threads() == 1"
CHOOSE = "from wavebyol_hear.files.threads import choose_threads\nchoose_threads()"
PARSE = """
import argparse
from wavebyol_hear.files.threads import add_threads
parser = argparse.ArgumentParser()
add_threads(parser)
parser.parse_args(["--threads", "1"])
"""


def threads(code: str, **environment: str) -> str:
    names = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY")
    kept = {name: value for name, value in os.environ.items() if name not in names}
    command = [sys.executable, "-c", code + ASK]
    done = subprocess.run(command, env=kept | environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_cores_that_may_be_used_and_threads_that_sleep_unless_the_user_says_otherwise() -> None:
    assert threads(CHOOSE) == f"{usable_cores()} PASSIVE"
    assert threads(CHOOSE, OMP_NUM_THREADS="1", OMP_WAIT_POLICY="ACTIVE") == "1 ACTIVE"
    assert threads(CHOOSE + PARSE + TORCH, OMP_NUM_THREADS="2") == "1 PASSIVE"


def test_a_quota_of_a_control_group_or_of_one_above_it_counts(tmp_path: Path) -> None:
    own = tmp_path / "cgroup"
    own.write_text("0::/job/step\n")
    assert _quota(tmp_path, own) == math.inf
    step = tmp_path / "job" / "step"
    step.mkdir(parents=True)
    (step / "cpu.max").write_text("max 100000\n")
    assert _quota(tmp_path, own) == math.inf
    (step.parent / "cpu.max").write_text("150000 100000\n")
    assert _quota(tmp_path, own) == 1.5
    own.write_text("4:memory:/job\n3:cpu,cpuacct:/job\n")
    group = tmp_path / "cpu,cpuacct" / "job"
    group.mkdir(parents=True)
    (group / "cpu.cfs_quota_us").write_text("50000\n")
    (group / "cpu.cfs_period_us").write_text("100000\n")
    assert _quota(tmp_path, own) == 0.5


@pytest.mark.skipif(OtherLoad().share() is None, reason="the system does not say")
def test_what_others_use_is_told_from_what_this_process_uses() -> None:
    core = min(os.sched_getaffinity(0))
    load = OtherLoad()
    end = time.monotonic() + 0.5
    while time.monotonic() < end:
        pass
    alone = load.share()
    spin = f"import os\nos.sched_setaffinity(0, [{core}])\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", spin]) as other:
        time.sleep(0.2)
        load = OtherLoad()
        time.sleep(0.7)
        beside = load.share()
        other.kill()
    assert alone is not None
    assert beside is not None
    assert 0 <= alone <= 1
    assert beside > 0.5 / len(os.sched_getaffinity(0))
