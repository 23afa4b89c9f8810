"""Runs heareval's predictions runner in a separate process, and reads its scores.

It trains a network with one or two hidden layers of 1024 units for every point of a grid, selects
on the validation part, and tests. Since this is not a linear probe, it is a separate protocol.
"""

import json
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from tqdm import tqdm

from benchmark.data.clip import BenchmarkError
from wavebyol_hear.files.atomic import read_object, write_text

VERSION = "2021.1.3"
RUNNER = Path(__file__).with_name("runner.py")
PYTHON_VARIABLE = "WAVEBYOL_HEAR_PYTHON"
"""Environment variable with the path of a Python that has heareval."""
POINTS = 8
"""Points of the grid that heareval tries by default."""
SCORES = "test.predicted-scores.json"
FINISHED = "prediction-done.json"
SETTINGS = "prediction-settings.json"
ENVIRONMENT = {
    # Its checkpoints hold more than tensors, which torch reads only where it is asked to.
    "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
    # A step frees and takes arrays of 20 MB several times. glibc gives such memory back to the
    # system, which clears every page anew: kept, the runner took 23 % less processor time. The
    # first is the largest that every glibc takes.
    "MALLOC_MMAP_THRESHOLD_": str(1 << 25),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 32),
}
"""Environment variables of heareval's process; none changes a score."""


class HearevalError(BenchmarkError):
    """heareval is not installed, failed, or gave no scores; one line with its log."""


@dataclass(frozen=True)
class Predicted:
    """What heareval scored on one task."""

    #: of every tested part, heareval's measures by name, such as "top1_acc"
    folds: dict[str, dict[str, float]]
    hyperparameters: dict[str, Any]  #: of the point of the grid it chose
    seconds: float  #: that its runner took, whenever it ran


def protocol(grid: str, points: int = POINTS) -> str:
    """Return the name of the protocol; a grid that is not heareval's default is part of it."""
    name = f"heareval-{VERSION}"
    if grid != "default":
        name += f"-{grid}"
    return name if points == POINTS else f"{name}-{points}-points"


def interpreter() -> str:
    """Return the Python that has heareval: the variable's, that of `.venv-hear`, or our own.

    Raises:
        HearevalError: there is none.
    """
    asked = os.environ.get(PYTHON_VARIABLE)
    if asked:
        return str(Path(asked).expanduser())
    prepared = Path(__file__).parents[2] / ".venv-hear" / "bin" / "python"
    if prepared.is_file():
        return str(prepared)
    if find_spec("heareval") is None:
        raise HearevalError(
            f"heareval {VERSION} is not installed: run `make env-hear`, or name in "
            f"{PYTHON_VARIABLE} the Python that has it"
        )
    return sys.executable


def predict(folder: Path, grid: str, points: int = POINTS, device: str = "cpu") -> Predicted:
    """Run heareval's predictions runner on a folder of embeddings, or read what it left there.

    Args:
        folder: of one task's embeddings, in heareval's format.
        grid: "default", "fast" or "faster".
        points: of the grid that are tried, >= 1.
        device: torch device that trains; heareval knows the CPU and CUDA's first.

    Raises:
        HearevalError: it is not installed, fails, or gives no finite score.
    """
    kind = device.partition(":")[0]
    settings = {"version": VERSION, "grid": grid, "points": points, "device": kind}
    # heareval takes its own "done" for an answer to any grid: ours says which grid it was.
    kept = read_object(folder / SETTINGS)
    if kept.get("settings") != settings or not (folder / FINISHED).exists():
        seconds = _run(folder, grid, points, kind)
        kept = {"settings": settings, "seconds": seconds}
        write_text(folder / SETTINGS, json.dumps(kept, indent=1))
    return read_scores(folder, float(kept["seconds"]))


def _run(folder: Path, grid: str, points: int, kind: str) -> float:
    """Run the runner, its output into a log, and return its wall time in seconds."""
    for name in (FINISHED, SCORES, SETTINGS):
        (folder / name).unlink(missing_ok=True)
    log = folder / "heareval.log"
    command = [interpreter(), str(RUNNER), VERSION, f"./{folder.name}"]
    command += ["--grid", grid, "--grid-points", str(points)]
    environment = os.environ | ENVIRONMENT
    if kind == "cpu":
        environment["CUDA_VISIBLE_DEVICES"] = ""
    tqdm.write(f"heareval's predictions on {folder.name}; its output is in {log}", sys.stderr)
    start = time.monotonic()
    with log.open("wb") as output:
        try:
            done = subprocess.run(
                command,
                cwd=folder.parent,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        except OSError as error:
            raise HearevalError(
                f"{command[0]} cannot be run ({error.strerror}): run `make env-hear`, or correct "
                f"{PYTHON_VARIABLE}"
            ) from error
    seconds = time.monotonic() - start
    shutil.rmtree(folder.parent / "logs" / folder.name, ignore_errors=True)  # its checkpoints
    if done.returncode or not (folder / SCORES).exists():
        lines = [x for x in log.read_text(errors="replace").splitlines() if x.strip()]
        last = lines[-1].strip() if lines else "no output"
        (folder / FINISHED).unlink(missing_ok=True)
        raise HearevalError(
            f"heareval failed on {folder.name} with status {done.returncode} ({last:.200}); "
            f"see {log}"
        )
    return seconds


def read_scores(folder: Path, seconds: float = 0.0) -> Predicted:
    """Read the scores file that heareval left in a folder of embeddings, in so many seconds.

    Raises:
        HearevalError: the file is absent or damaged, or a score is not a number.
    """
    path = folder / SCORES
    content = read_object(path)
    folds: dict[str, dict[str, float]] = {}
    for part, values in content.items():
        if not isinstance(values, dict) or "test_score" not in values:
            continue  # hyperparameters and heareval's own means
        scores = {
            name.removeprefix("test_"): value
            for name, value in values.items()
            if name.startswith("test_") and name not in ("test_score", "test_loss")
        }
        for name, value in scores.items():
            if not isinstance(value, int | float):
                raise HearevalError(f"{path}: {name} of {part} is {value!r}, not a number")
        folds[part] = {name: float(value) for name, value in scores.items()}
    if not folds:
        raise HearevalError(f"{path}: holds no scores; delete it and run again")
    hyperparameters = content.get("hparams")
    return Predicted(folds, hyperparameters if isinstance(hyperparameters, dict) else {}, seconds)
