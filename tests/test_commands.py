"""Ctrl-C and SIGTERM while a command imports: one line, no traceback, the signal's exit code."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[1]
SLOW_IMPORT = """
import sys, time
print("importing", flush=True)
time.sleep(30)
"""
COMMANDS = (
    "benchmark.run --tasks notes",
    "benchmark.report .",
    "benchmark.compare . .",
    "benchmark.check wavebyol_hear",
    "benchmark.leaks . notes",
    "benchmark.leaderboard .",
    "pretrain . --out run",
    "pretrain.store . --out store",
    "pretrain.whiten . weights",
)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("command", COMMANDS)
def test_an_interrupt_of_the_imports_is_one_line(
    command: str, number: signal.Signals, tmp_path: Path
) -> None:
    slow = tmp_path / "slow"
    slow.mkdir()
    (slow / "numpy.py").write_text(SLOW_IMPORT, encoding="utf-8")
    with subprocess.Popen(
        [sys.executable, "-m", *command.split()],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": f"{slow}{os.pathsep}{CHECKOUT}"},
        cwd=tmp_path,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "importing\n"
        process.send_signal(number)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 128 + number
    (line,) = said.strip().splitlines()
    assert line.startswith("interrupted")
