"""Results made up for tests of what shows them."""

from typing import Any

import numpy as np

from benchmark.results.schema import Result
from benchmark.stats.metrics import score

BASE = "baselines.log_mel"


def made_cost(**changes: Any) -> dict[str, Any]:
    values: dict[str, Any] = {
        "parameters": 1_234_567,
        "gflop_per_second": 0.25,
        "real_time_factor": 150.0,
        "peak_bytes": 300 << 20,
        "held_bytes": 250 << 20,
        "gpu_bytes": None,
        "counted": "convolutions",
        "missing": {},
    }
    return {**values, **changes}


def bare(task: str, model: str, n: int = 10, **changes: Any) -> Result:
    """A whole result of n clips in which every metric is 50 and there is nothing besides."""
    interval = {"value": 50.0, "low": 0.0, "high": 100.0}
    values: dict[str, Any] = {
        "task": task,
        "model": model,
        "protocol": "linear-1",
        "n_clips": n,
        "n_listed": n,
        "classes": ["cat", "dog"],
        "metrics": dict.fromkeys(("accuracy", "precision", "recall", "f1"), interval),
        "by_class": {},
        "fold_mean": {},
        "folds": [],
        "predictions": {},
        "bad_clips": [],
        "untrained": False,
        "partial": None,
        "notes": [],
        "provenance": {},
    }
    return Result(**{**values, **changes})


def made(
    task: str, model: str, share: float, *, n: int = 400, classes: int = 5, **changes: Any
) -> Result:
    """A result of a model that is right on about a share of clips, and wrong at random."""
    draw = np.random.default_rng(sum(map(ord, task + model)))
    labels = np.arange(n) % classes
    wrong = (labels + draw.integers(1, classes, n)) % classes
    predicted = np.where(draw.random(n) < share, labels, wrong)
    scores = score(labels, predicted, classes)
    names = [f"class {i}" for i in range(classes)]
    curve = [{"strength": 10.0**k, "accuracy": 40.0 + 3 * k} for k in range(-5, 1)]
    fold = {"name": "test", "n_train": 60, "n_valid": 20, "n_test": n, "metrics": scores.overall}
    values: dict[str, Any] = {
        "classes": names,
        "metrics": scores.overall,
        "by_class": {names[i]: intervals for i, intervals in scores.by_class.items()},
        "fold_mean": {"accuracy": scores.overall["accuracy"]["value"], "deviation": 0.0},
        "folds": [fold | {"strength": 1.0, "validation": curve}],
        "predictions": {
            "clip": [f"{task}/{i}" for i in range(n)],
            "label": labels.tolist(),
            "predicted": predicted.tolist(),
        },
        "provenance": {
            "embedding_size": 64,
            "clips_per_second": 50.0,
            "git_revision": "abc",
            "cost": made_cost(),
        },
    }
    return bare(task, model, n, **{**values, **changes})


def some() -> list[Result]:
    return [
        made("birds", BASE, 0.5),
        made("birds", "good", 0.8),
        made("birds", "bad", 0.3),
        made("cars", BASE, 0.6, partial="400 of 900 clips are listed"),
        made("cars", "good", 0.63),
        made("birds", "good", 0.9, n=200, protocol="mlp-1"),
    ]
