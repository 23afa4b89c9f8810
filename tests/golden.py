"""Reference results of small runs, kept in tests/data/golden: python -m tests.golden [--write].

The runs go through the commands a user types, on data made on the spot: every protocol, one task of
each kind, a HEAR folder, a comparison, and twenty steps of each training method. `--write` replaces
the stored figures; do that only in a commit that says why they move.
"""

import contextlib
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from tests.synth import TREES, noisy_tone

FOLDER = Path(__file__).parent / "data" / "golden"
LOG_MEL, CHANCE = "baselines.log_mel", "baselines.content_random"


def run(module: str, *arguments: object, allowed: tuple[int, ...] = (0,)) -> str:
    """Run a module's command in a process of its own and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-m", module, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    if done.returncode not in allowed:
        raise RuntimeError(f"{module}: exit {done.returncode}\n{done.stdout}\n{done.stderr}")
    return done.stdout


def scores(folder: Path) -> dict[str, Any]:
    """Return the numbers of every result in a folder, by task, model and protocol."""
    kept = {}
    for path in sorted(folder.rglob("*.json")):
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict) or not {"task", "metrics"} <= values.keys():
            continue
        if values["protocol"].startswith("heareval"):
            continue  # trained by heareval, at random
        key = f"{values['task']} / {values['model']} / {values['protocol']}"
        corrupted = values.get("corrupted") or {}
        kept[key] = {
            "metrics": values["metrics"],
            "folds": [fold["metrics"] for fold in values["folds"]],
            "corrupted": {name: v["metrics"] for name, v in corrupted.items()},
        }
    return kept


def benchmark_scores(work: Path, corpus: Path) -> dict[str, Any]:
    """Score the simple models on one task of each kind under every protocol for embeddings."""
    data = work / "data"
    for name in ("speech_commands", "ravdess"):
        TREES[name](data / name)
    shared = ["--data-dir", data, "--workers", 1, "--device", "cpu", "--allow-partial"]
    models = ["--models", f"{CHANCE},{LOG_MEL}"]
    out = work / "out"
    (data / "esc50").symlink_to(corpus)
    protocols = ["--protocol", "linear,knn,mlp"]
    run("benchmark.run", "--tasks", "speech_commands,ravdess", *models, *protocols, *shared,
        "--out", out)  # fmt: skip
    run("benchmark.run", "--tasks", "esc50", *models, *protocols, *shared, "--out", out,
        "--corrupt", "noise:20,clip")  # fmt: skip
    run("benchmark.run", "--tasks", "notes", "--models", LOG_MEL, "--protocol", "linear,knn",
        *shared, "--out", out)  # fmt: skip
    values = scores(out)
    pair = [
        next(out.glob(f"esc50--*{model.rpartition('.')[2]}*linear-1.json"))
        for model in (CHANCE, LOG_MEL)
    ]
    values["compare"] = run("benchmark.compare", *pair)
    return values


def hear_scores(work: Path, corpus: Path) -> dict[str, Any]:
    """Score log-mel statistics on HEAR folders of one label, of several, and of events."""
    from tests.hear.hear_tasks import everyday_sounds, sound_events

    tasks = work / "hear" / "tasks"
    tasks.mkdir(parents=True)
    scene = everyday_sounds(corpus, tasks)
    sound_events(tasks)
    several = tasks / "two_sounds-1.0.0-small"
    several.mkdir()
    for path in scene.iterdir():
        (several / path.name).symlink_to(path)
    for fold in sorted(several.glob("fold*.json")):
        labels = json.loads(fold.read_text())
        names = list(labels)
        both = {n: sorted({labels[n][0], labels[names[i - 1]][0]}) for i, n in enumerate(names)}
        fold.unlink()
        fold.write_text(json.dumps(both))
    metadata = json.loads((several / "task_metadata.json").read_text())
    (several / "task_metadata.json").unlink()
    metadata |= {"task_name": "two_sounds", "prediction_type": "multilabel", "evaluation": ["mAP"]}
    (several / "task_metadata.json").write_text(json.dumps(metadata))
    run("benchmark.run", "--tasks", "hear:all", "--hear-dir", work / "hear", "--hear-linear",
        "--models", LOG_MEL, "--workers", 1, "--device", "cpu", "--data-dir", work / "data",
        "--hear-grid", "faster", "--out", work / "hear_out",
        allowed=(0, 1))  # without heareval its own protocol is missing  # fmt: skip
    return scores(work / "hear_out")


def training_losses(work: Path) -> dict[str, list[float]]:
    """Train each method for twenty steps on 48 short sounds and return its losses."""
    for i in range(48):
        path = work / "sounds" / f"{i:02d}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, noisy_tone(1.5 + 0.02 * i, i), 16_000, subtype="PCM_16")
    run("pretrain.store", work / "sounds", "--out", work / "store", "--workers", 1)
    shared = ["optim.steps=20", "optim.batch=16", "run.precision=fp32", "run.log_every=5"]
    methods = {
        "infonce": ["--preset", "tiny"],
        "byol": ["--preset", "tiny", "--set", "byol.loss=byol"],
        "byol_a": ["--preset", "byol_a"],
        "cola": ["--preset", "cola"],
    }
    losses = {}
    for name, given in methods.items():
        sets = [part for setting in shared for part in ("--set", setting)]
        run("pretrain", work / "store", "--out", work / name, *given, *sets)
        lines = (work / name / "log.jsonl").read_text().splitlines()
        losses[name] = [json.loads(line)["loss"] for line in lines if '"loss"' in line]
    return losses


def flat(values: Any, prefix: str = "") -> dict[str, float | str]:
    """Return nested results as {path: number or text}."""
    if isinstance(values, dict):
        pairs = values.items()
    elif isinstance(values, list):
        pairs = enumerate(values)  # type: ignore[assignment]
    else:
        return {prefix: values}
    parts = [flat(value, f"{prefix} / {key}" if prefix else str(key)) for key, value in pairs]
    return {key: value for part in parts for key, value in part.items()}


def differences(now: Any, stored: Any, tolerance: float) -> list[str]:
    """Return one line for each number that moved by more than a tolerance, or is missing."""
    ours, theirs = flat(now), flat(stored)
    lines = [f"{key}: only {'now' if key in ours else 'stored'}" for key in ours.keys() ^ theirs]
    for key in ours.keys() & theirs:
        a, b = ours[key], theirs[key]
        number = isinstance(a, int | float) and isinstance(b, int | float)
        same = np.isclose(a, b, rtol=tolerance, atol=tolerance) if number else a == b
        if not same:
            lines.append(f"{key}: {b} -> {a}")
    return sorted(lines)


def main() -> int:
    """Compare with, or replace, the stored figures."""
    from tests.conftest import decode_corpus

    parts = {"benchmark": benchmark_scores, "hear": hear_scores, "training": training_losses}
    names = [name for name in sys.argv[1:] if name in parts] or list(parts)
    moved = 0
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        work = Path(folder)
        corpus = decode_corpus(work / "corpus")
        for name in names:
            values = parts[name](work) if name == "training" else parts[name](work, corpus)  # type: ignore[operator]
            path = FOLDER / f"{name}.json"
            if "--write" in sys.argv:
                path.parent.mkdir(exist_ok=True)
                path.write_text(json.dumps(values, indent=1, sort_keys=True) + "\n")
                continue
            lines = differences(values, json.loads(path.read_text()), 1e-6)
            moved += len(lines)
            sys.stdout.write("".join(f"{name}: {line}\n" for line in lines))
    return int(moved > 0)


if __name__ == "__main__":
    sys.exit(main())
