"""How fast the linear probe is: ESC-50's size against heareval's grid, and NSynth's size."""

import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from benchmark.data.split import Fold, make_folds
from benchmark.probes.protocols import evaluate_linear
from benchmark.probes.rows import Examples
from tools.speed.clock import Figure, Plan, interleaved
from wavebyol_hear.files.memory import PeakMemory

HEAREVAL_SECONDS = 1484.0
"""heareval's default grid on ESC-50's five folds of 512-d embeddings, on two cores of another
machine (FACTS, section 2); it is quoted, not measured here."""
NSYNTH = {"train": 289_205, "valid": 12_678, "test": 4_096}


def _made_up(rows: int, width: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Return embeddings of overlapping classes and their labels."""
    random = np.random.default_rng(0)
    labels = np.arange(rows) % classes
    centres = random.standard_normal((classes, width), dtype=np.float32)
    noise = random.standard_normal((rows, width), dtype=np.float32)
    return noise + 0.15 * centres[labels], labels


def probe(plan: Plan) -> list[Figure]:
    """Return the time of the five folds with all strengths, on made-up embeddings of two widths."""
    rows, runs = (250, 1) if plan.small else (2_000, plan.runs)
    splits = np.array([f"fold{1 + row // 50 % 5:02d}" for row in range(rows)])
    folds = make_folds("folds", splits, np.array([str(row) for row in range(rows)]))
    calls = {}
    for width in (64, 128) if plan.small else (512, 1_024):
        embeddings, labels = _made_up(rows, width, 50)
        examples = Examples(embeddings, labels, folds, 50)
        calls[f"{rows} x {width}, five folds"] = partial(evaluate_linear, examples)
    (narrow, took), (wide, longer) = interleaved(calls, runs).items()
    if plan.small:
        return [Figure("probe", narrow, took, "s"), Figure("probe", wide, longer, "s")]
    against = f"{narrow}, against heareval's {HEAREVAL_SECONDS:g} s"
    return [
        Figure("probe", against, took, "s", HEAREVAL_SECONDS / took, target=100.0),
        Figure("probe", wide, longer, "s", target=3.0, at_most=True),
    ]


def nsynth(plan: Plan) -> list[Figure]:
    """Return time and peak memory of a probe of NSynth's size on memory-mapped random numbers."""
    width = 32 if plan.small else 1_024
    sizes = {name: count // 200 if plan.small else count for name, count in NSYNTH.items()}
    labels = np.arange(sum(sizes.values())) % 11
    with tempfile.TemporaryDirectory() as folder:
        shape = (len(labels), width)
        made = np.lib.format.open_memmap(Path(folder) / "rows.npy", "w+", np.float32, shape)
        random = np.random.default_rng(0)
        for start in range(0, len(made), 8192):
            block = made[start : start + 8192]
            random.standard_normal(out=block, dtype=np.float32)
            block[np.arange(len(block)), labels[start : start + 8192]] += 1
        made.flush()
        del made
        embeddings = np.load(Path(folder) / "rows.npy", mmap_mode="r")
        peak, begin = PeakMemory(torch.device("cpu")), perf_counter()
        evaluate_linear(Examples(embeddings, labels, [_one_fold(list(sizes.values()))], 11))
        seconds, most = perf_counter() - begin, peak.process_bytes()
    what = f"{sizes['train']} x {width} training rows, memory-mapped"
    figures = [Figure("nsynth", what, seconds, "s", target=600.0, at_most=True)]
    if isinstance(most, int):
        figures.append(
            Figure("nsynth", "its peak memory", most / 2**30, "GiB", target=4.0, at_most=True)
        )
    return figures


def _one_fold(sizes: Sequence[int]) -> Fold:
    """Return a fold whose rows lie one part after the other."""
    ends = np.cumsum(sizes)
    names = np.repeat(["train", "valid", "test"], sizes)
    groups = np.arange(ends[-1]).astype(str)
    return make_folds("fixed", names, groups)[0]
