"""Whether the faster precision gives the numbers of fp32, on the real sets that are there."""

import logging
import warnings
from typing import Any

import numpy as np
import torch

from benchmark.data.clip import Task, TaskDataError
from benchmark.data.registry import list_clips, load_tasks, task_root
from benchmark.data.split import make_folds
from benchmark.probes.protocols import evaluate_linear
from benchmark.probes.rows import Examples
from tools.speed.clock import Figure, Plan
from wavebyol_hear.audio import read_audio
from wavebyol_hear.files.hear_module import import_module
from wavebyol_hear.files.read_ahead import of_one_length

TASKS = ("esc50", "speech_commands_folds")
# h2 costs minutes a thousand clips: fewer, of a second, but enough that one makes 0.2 points.
H2_TASK, H2_CLIPS = "speech_commands_folds", 500


def numbers(plan: Plan) -> list[Figure]:
    """Return the minimum cosine of any clip between precisions, and accuracies under linear-1."""
    known, figures = load_tasks(), []
    for name in TASKS:
        try:
            figures += _compare(known[name], plan)
        except TaskDataError as error:
            logging.getLogger(__name__).warning("not compared: %s", error)
    return figures


def numbers_h2(plan: Plan) -> list[Figure]:
    """Return the same of h2, untrained, on part of one set."""
    try:
        return _compare(load_tasks()[H2_TASK], plan, "h2", H2_CLIPS)
    except TaskDataError as error:
        logging.getLogger(__name__).warning("not compared: %s", error)
        return []


def _compare(
    task: Task, plan: Plan, preset: str | None = None, most: int | None = None
) -> list[Figure]:
    """Return the figures of one task.

    Args:
        task: whose sound is there.
        plan: with the folder of the sets.
        preset: of an untrained model; None takes the shipped one.
        most: clips, spread evenly over the list; None takes all.
    """
    hear, root = import_module("wavebyol_hear"), task_root(task, plan.data_dir)
    clips = list_clips(task, root)
    clips = clips[:: -(-len(clips) // most)] if most else clips
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="(?i).*untrained")
        plain, model = (hear.load_model(preset=preset, precision=p) for p in ("fp32", "auto"))
    waves = [read_audio(root / clip.path, model.sample_rate) for clip in clips]
    exact = _embed(hear, plain, waves)
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
        found = evaluate_linear(Examples(embeddings, labels, folds, len(task.classes)))
        accuracies.append(100.0 * float((found.predicted == labels[found.rows]).mean()))
    name = f"{preset}, untrained, " if preset else ""
    what = f"{name}{task.name}, {len(clips)} clips, {model.precision} against fp32"
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
