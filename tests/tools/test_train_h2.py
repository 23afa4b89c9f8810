"""tools/train_h2.sh: the speed first, then as many steps as fit; started again, it goes on."""

import os
import subprocess
import sys
from pathlib import Path

from pretrain.config import read_config

SCRIPT = Path(__file__).parents[2] / "tools" / "train_h2.sh"

# Stands in for Python: notes what training is asked for, logs a speed, and runs all else.
STAND_IN = """#!/bin/sh
if [ "$1" != "-m" ]; then exec {python} "$@"; fi
echo "$@" >> {calls}
while [ "$1" != "--out" ]; do shift; done
mkdir -p "$2"
echo '{{"step": 100, "clips_per_second": 1.0}}' > "$2/log.jsonl"
echo '{{"step": 200, "clips_per_second": 640.0}}' >> "$2/log.jsonl"
"""


def run(tmp_path, *words):
    python, calls = tmp_path / "python", tmp_path / "calls"
    python.write_text(STAND_IN.format(python=sys.executable, calls=calls))
    python.chmod(0o755)
    calls.unlink(missing_ok=True)
    done = subprocess.run(
        [SCRIPT, *words],
        env={**os.environ, "PYTHON": str(python), "PYTHONPATH": str(SCRIPT.parents[1])},
        capture_output=True,
        text=True,
    )
    return done, calls.read_text().splitlines() if calls.exists() else []


def test_the_length_follows_from_the_speed_and_is_kept(tmp_path):
    out = tmp_path / "out"
    done, (speed, training) = run(tmp_path, "STORE", out, "2", "slim_bank")
    assert done.returncode == 0, done.stderr
    assert speed.startswith("-m pretrain STORE --preset slim_bank --out")
    assert speed.split()[6:9] == [f"{out}/speed", "--set", "optim.steps=200"]
    steps = int(0.97 * 640 * 2 * 3600 / read_config("slim_bank").optim.batch)
    assert training.endswith(f"--out {out}/run --set optim.steps={steps}")
    _, again = run(tmp_path, "STORE", out, "2", "slim_bank")
    assert again == [training]


def test_without_its_arguments_it_says_how_to_call_it(tmp_path):
    done, calls = run(tmp_path)
    assert (done.returncode, calls) == (2, [])
    assert "tools/train_h2.sh STORE OUT [HOURS] [PRESET]" in done.stdout
