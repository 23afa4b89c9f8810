"""What the two real runners of heareval leave, run once for all tests."""

import importlib.util
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

import wavebyol_hear
from benchmark.heareval.predict import RUNNER, VERSION, interpreter
from tests.hear.hear_tasks import everyday_sounds, sound_events
from wavebyol_hear.files.hear_module import HearModel, load

# They need HEAR's tools, which `make hear` installs in an environment of their own.
collect_ignore_glob = [] if importlib.util.find_spec("heareval") else ["test_*.py"]


def heareval(runner: str, *arguments: str, folder: Path) -> None:
    """Run one of heareval's commands in a process of its own."""
    # Its checkpoints hold more than tensors, which torch no longer reads by default.
    variables = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [interpreter(), "-m", f"heareval.{runner}.runner"]
    if runner == "predictions":  # unmodified it cannot score event tasks, see runner.py
        command = [interpreter(), str(RUNNER), VERSION]
    done = subprocess.run(
        [*command, *arguments],
        cwd=folder,
        env=os.environ | variables | {"CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture(scope="session")
def embedded(esc50_root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The folders of embeddings and scores that the two runners leave, by embedding type."""
    folder = tmp_path_factory.mktemp("hear")
    tasks = folder / "tasks"
    tasks.mkdir()
    made = {"scene": everyday_sounds(esc50_root, tasks), "event": sound_events(tasks)}
    # In bf16, which a machine may be faster at, a clip's neighbours change its last digits.
    exact = ("--model-options", '{"precision": "fp32"}')
    heareval("embeddings", "wavebyol_hear", "--tasks-dir", "tasks", *exact, folder=folder)
    (module,) = (folder / "embeddings").iterdir()
    done = [module / task.name for task in made.values()]
    options = ("--grid", "faster", "--grid-points", "1")
    heareval("predictions", *map(str, done), *options, folder=folder)
    return dict(zip(made, done, strict=True))


@pytest.fixture(scope="session")
def exact() -> HearModel:
    """Our module as the fixture above runs it."""
    model = wavebyol_hear.load_model(precision="fp32")
    return replace(load("wavebyol_hear"), model=model)
