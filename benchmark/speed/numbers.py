"""Whether the faster precision gives the numbers of fp32, on the real sets that are there."""

import logging
from typing import Any

import numpy as np
import torch

from benchmark.embedding.hear_api import import_module
from benchmark.embedding.read_ahead import of_one_length
from benchmark.probes.linear import evaluate
from benchmark.records import Task, TaskDataError
from benchmark.speed.clock import Figure, Plan
from benchmark.splits import make_folds
from benchmark.tasks.registry import load_tasks, task_root
from wavebyol_hear.audio import read_audio

TASKS = ("esc50", "speech_commands_folds")


def numbers(plan: Plan) -> list[Figure]:
    """Return the least cosine of any clip between precisions, and accuracies under linear-1."""
    known, figures = load_tasks(), []
    for name in TASKS:
        try:
            figures += _compare(known[name], plan)
        except TaskDataError as error:
            logging.getLogger(__name__).warning("not compared: %s", error)
    return figures


def _compare(task: Task, plan: Plan) -> list[Figure]:
    """Return the figures of one task."""
    hear, root = import_module("wavebyol_hear"), task_root(task, plan.data_dir)
    clips = task.index(root)
    model = hear.load_model()
    waves = [read_audio(root / clip.path, model.sample_rate) for clip in clips]
    exact = _embed(hear, hear.load_model(precision="fp32"), waves)
    fast = _embed(hear, model, waves)
    product = np.linalg.norm(exact, axis=1) * np.linalg.norm(fast, axis=1)
    cosine = float(((exact * fast).sum(1) / product).min())
    labels = np.array([task.classes.index(clip.label) for clip in clips])
    folds = make_folds(
        task.split_policy,
        np.array([clip.split for clip in clips]),
        np.array([clip.group for clip in clips]),
    )
    accuracies = []
    for embeddings in (exact, fast):
        found = evaluate(embeddings, labels, folds, len(task.classes))
        accuracies.append(100.0 * float((found.predicted == labels[found.rows]).mean()))
    what = f"{task.name}, {len(clips)} clips, {model.precision} against fp32"
    change = abs(accuracies[1] - accuracies[0])
    return [
        Figure("numbers", f"{what}: least cosine", cosine, "", target=0.999),
        Figure("numbers", f"{what}: accuracy of fp32", accuracies[0], "%"),
        Figure("numbers", f"{what}: change of accuracy", change, "points", None, None, 0.3, True),
    ]


def _embed(hear: Any, model: Any, waves: list[np.ndarray]) -> np.ndarray:  # noqa: ANN401
    """Return the scene embeddings of waves of any lengths."""
    found = np.empty((len(waves), model.scene_embedding_size), dtype=np.float32)
    for rows, block in of_one_length(enumerate(waves)):
        found[rows] = hear.get_scene_embeddings(torch.from_numpy(block), model).numpy()
    return found
