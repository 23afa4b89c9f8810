"""HEAR's own validator, the installed tool, on our module with each of its shipped weights."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import wavebyol_hear

WEIGHTS = Path(wavebyol_hear.__file__).with_name("weights")
# Later releases of the tool warn of it whatever they see; 2021.0.2 does not.
UNCONDITIONAL = "rounding errors accumulating over longer audio"


@pytest.mark.parametrize("model", ["", *sorted(p.stem for p in WEIGHTS.glob("*.safetensors"))])
def test_the_real_validator_has_nothing_to_say(model: str, tmp_path: Path) -> None:
    command = [str(Path(sys.executable).with_name("hear-validator")), "wavebyol_hear", "-d", "cpu"]
    done = subprocess.run(
        [*command, *(["-m", str(WEIGHTS / f"{model}.safetensors")] if model else [])],
        cwd=tmp_path,
        env=os.environ | {"PYTHONWARNINGS": "default:::wavebyol_hear", "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "Looks good!"
    warned = re.findall(r"^.*:\d+: \w*Warning: .*(?:\n .*)*", done.stderr, flags=re.MULTILINE)
    expected = (UNCONDITIONAL,) if WEIGHTS.is_dir() else (UNCONDITIONAL, "is UNTRAINED")
    assert [text for text in warned if not any(part in text for part in expected)] == []
