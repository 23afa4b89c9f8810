"""wavebyol embed, killed at random and started again, ends as an undisturbed run does."""

import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.wavebyol_hear.files.mixed_audio import make_bad, make_mixed

pytest.importorskip("pyarrow")

MODEL = "baselines.log_mel"


def command(source: Path, out: Path, part_size: int) -> list[str]:
    options = ["--out", str(out), "--model", MODEL, "--part-size", str(part_size)]
    return [sys.executable, "-m", "wavebyol_hear", "embed", str(source), *options]


def outputs(out: Path) -> dict[str, bytes]:
    """What is in a folder but its locks."""
    return {p.name: p.read_bytes() for p in sorted(out.iterdir()) if p.suffix != ".lock"}


def kill_at_random(call: list[str], out: Path, chance: random.Random) -> int:
    """Start a command and kill it some parts later; return its exit status."""
    before = len(list(out.glob("part-*.parquet"))) if out.exists() else 0
    with subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        wanted = before + chance.randint(0, 3)
        while process.poll() is None:
            if out.exists() and len(list(out.glob("part-*.parquet"))) >= wanted:
                time.sleep(chance.uniform(0, 0.2))
                break
            time.sleep(0.005)
        process.send_signal(chance.choice([signal.SIGKILL, signal.SIGTERM, signal.SIGINT]))
        return process.wait()


def check_resuming(tmp_path: Path, files: int, kills: int, part_size: int) -> None:
    source, whole, broken = tmp_path / "audio", tmp_path / "whole", tmp_path / "broken"
    make_mixed(source, files)
    bad = make_bad(source / "bad")
    done = subprocess.run(
        command(source, whole, part_size), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1, done.stderr
    assert f"{len(bad)} files are not embedded" in done.stdout
    chance = random.Random(files)
    statuses = [
        kill_at_random(command(source, broken, part_size), broken, chance) for _ in range(kills)
    ]
    assert any(status in (-signal.SIGKILL, 143, 130) for status in statuses), statuses
    last = subprocess.run(command(source, broken, part_size), capture_output=True, check=False)
    assert last.returncode == 1, last.stderr
    assert outputs(broken) == outputs(whole)
    shutil.rmtree(broken)


def test_killed_three_times_it_ends_with_the_same_files(tmp_path: Path) -> None:
    check_resuming(tmp_path, files=120, kills=3, part_size=8)


@pytest.mark.slow
def test_killed_ten_times_two_thousand_files_end_the_same(tmp_path: Path) -> None:
    check_resuming(tmp_path, files=2000, kills=10, part_size=64)
