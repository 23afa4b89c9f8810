"""A command meets its terminal: interrupts, SIGTERM, readers that go away, ASCII, no stdout."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

SLOW = """
import sys, time
from wavebyol_hear.files.command import run_command
def main():
    try:
        print("started", flush=True)
        time.sleep(30)
    finally:
        print("saved", flush=True)
    return 0
run_command(main)
"""
DEAF = """
import time
from wavebyol_hear.files.command import run_command
def main():
    try:
        print("started", flush=True)
        time.sleep(30)
    except:
        pass
    time.sleep(30)
    return 0
run_command(main)
"""
TABLE = """
import sys
from wavebyol_hear.files.command import run_command
def main():
    print("50.0 \\u00b1 2.0 \\u2500\\u2500")
    for i in range(int(sys.argv[1])):
        print("row", i)
    return 7
run_command(main)
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupt_unwinds_and_is_one_line(number: int, code: int) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", SLOW], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        start = time.monotonic()
        process.send_signal(number)
        out, err = process.communicate(timeout=20)
    assert time.monotonic() - start < 10
    assert (process.returncode, out) == (code, "saved\n")
    (line,) = err.strip().splitlines()
    assert line.startswith("interrupted: ")


def test_an_interrupt_that_foreign_code_swallows_is_raised_again() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", DEAF], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert process.returncode == 130
    (line,) = err.strip().splitlines()
    assert line.startswith("interrupted: ")


def test_a_reader_that_goes_away_ends_it_silently() -> None:
    line = f'"{sys.executable}" -c "$CODE" 100000 | head -2; echo "${{PIPESTATUS[0]}}"'
    done = subprocess.run(
        ["bash", "-c", line],
        env=os.environ | {"CODE": TABLE, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.splitlines()[1:] == ["row 0", "141"]
    assert done.stderr == ""


def test_an_ascii_terminal_gets_question_marks_and_a_closed_one_nothing(tmp_path: Path) -> None:
    script = tmp_path / "table.py"
    script.write_text(TABLE, encoding="utf-8")
    environment = os.environ | {"PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, str(script), "0"], env=environment, capture_output=True, check=False
    )
    assert (done.returncode, done.stdout) == (7, b"50.0 ? 2.0 ??\n")
    closed = f'"{sys.executable}" "{script}" 1 >&-'
    done = subprocess.run(["bash", "-c", closed], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (7, b"")
