"""What ends the whole process costs one model; the others are measured, and once."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import soundfile

from benchmark.results.failures import read_failures
from benchmark.results.schema import read_results
from tests.synth import noisy_tone

CHECKOUT = Path(__file__).parents[3]
SEEN = """
import pathlib
pathlib.Path("seen.txt").open("a").write(__name__ + "\\n")
"""
DEATHS = {
    "exits": "import os\ndef get_scene_embeddings(audio, model): os._exit(3)",
    "crashes": "import os\ndef load_model(path=''): os.kill(os.getpid(), 11)",
    "outgrows": "import os\ndef get_scene_embeddings(audio, model): os.kill(os.getpid(), 9)",
}


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    for i in range(12):
        folder = tmp_path / "clips" / ("low", "high")[i % 2]
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"{i}.wav", noisy_tone(0.1 + 0.3 * (i % 2), i, 16000), 16000)
    return tmp_path / "clips"


def start(tmp_path: Path, clips: Path, models: str) -> subprocess.Popen[str]:
    words = f"-m benchmark.run --folder {clips} --models {models} --protocol linear,knn"
    path = os.pathsep.join([str(tmp_path / "modules"), str(CHECKOUT)])
    return subprocess.Popen(
        [sys.executable, *words.split(), "--out", "out", "--cache-dir", "cache"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path, "WAVEBYOL_DATA": str(tmp_path / "data")},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_model_that_ends_the_process_costs_only_itself(
    tmp_path: Path, clips: Path, write_module: Callable[..., str]
) -> None:
    for name, more in DEATHS.items():
        write_module(name, more)
    write_module("first", SEEN)
    write_module("last", SEEN)
    with start(tmp_path, clips, "first,exits,crashes,outgrows,last") as process:
        _, said = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "Traceback" not in said
    measured = [(r.model, r.protocol.partition("-")[0]) for r in read_results(tmp_path / "out")]
    assert sorted(measured) == [(m, p) for m in ("first", "last") for p in ("knn", "linear")]
    assert (tmp_path / "seen.txt").read_text().split() == ["first", "last"]  # each once
    failures = read_failures(tmp_path / "out")
    assert len(failures) == 6
    for name, reason in (("exits", "code 3"), ("crashes", "SIGSEGV"), ("outgrows", "SIGKILL")):
        assert all(reason in why for (_, model, _), why in failures.items() if model == name)
        assert said.count(f"no result of {name}") == 2


def test_an_interrupt_reaches_the_child_and_is_one_line(
    tmp_path: Path, clips: Path, write_module: Callable[..., str]
) -> None:
    write_module(
        "slow",
        "import time\ndef get_scene_embeddings(audio, model):\n"
        "    print('embedding', flush=True)\n    time.sleep(60)",
    )
    with start(tmp_path, clips, "slow") as process:
        assert process.stdout is not None
        while "embedding" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGTERM
    assert said.count("interrupted: ") == 1
    assert "Traceback" not in said


def test_no_child_outlives_a_parent_that_is_killed(
    tmp_path: Path, clips: Path, write_module: Callable[..., str]
) -> None:
    write_module(
        "slow",
        "import os, time\ndef get_scene_embeddings(audio, model):\n"
        "    print('embedding', os.getpid(), flush=True)\n    time.sleep(60)",
    )
    with start(tmp_path, clips, "slow") as process:
        assert process.stdout is not None
        while "embedding" not in (line := process.stdout.readline()):
            assert process.poll() is None
        process.kill()
        end = time.monotonic() + 20
        while Path(f"/proc/{line.split()[1]}").exists() and time.monotonic() < end:
            time.sleep(0.05)
    assert time.monotonic() < end
