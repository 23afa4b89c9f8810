"""HEAR's own validator, the installed tool, on our module."""

import os
import re
import subprocess
import sys
from pathlib import Path

import wavebyol_hear

# Later releases of the tool warn of it whatever they see; 2021.0.2 does not.
UNCONDITIONAL = "rounding errors accumulating over longer audio"


def test_the_real_validator_has_nothing_to_say(tmp_path: Path) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("hear-validator")), "wavebyol_hear", "-d", "cpu"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONWARNINGS": "default:::wavebyol_hear", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "Looks good!"
    warned = re.findall(r"^.*:\d+: \w*Warning: .*(?:\n .*)*", done.stderr, flags=re.MULTILINE)
    weights = Path(wavebyol_hear.__file__).with_name("weights")
    expected = (UNCONDITIONAL,) if weights.is_dir() else (UNCONDITIONAL, "is UNTRAINED")
    assert [text for text in warned if not any(part in text for part in expected)] == []
