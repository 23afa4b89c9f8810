"""Whether another runtime gives a model's numbers, and how long it takes."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from wavebyol_hear.classify.model import Classifier
from wavebyol_hear.embed import Embedder

LENGTHS = (1, 160, 1_000, 8_000, 20_479, 20_480, 20_481, 44_100, 80_000, 160_000)
"""Samples: below, at and above a training crop, up to ten seconds at 16 kHz."""
TOLERANCE = 1e-4
"""Of float32 values up to 10 in size. A pure tone, whose quiet bands lie at the floor of the
logarithm, is 2e-4 off in torch itself (against float64); what is tested with is no pure tone."""
REPEATS = 5

Run = Callable[[np.ndarray], np.ndarray]
"""float32 [B, n] -> float32 [B, D]."""


class ExportError(ValueError):
    """An export that cannot be made or gives other numbers: one line with the reason."""


@dataclass(frozen=True)
class Comparison:
    """How far two runtimes are apart at `LENGTHS`.

    Attributes:
        difference: largest absolute difference of any number.
        cosine: smallest cosine of any clip.
    """

    difference: float
    cosine: float


def synthetic_audio(batch: int, samples: int) -> Tensor:
    """Return clips of noise, gliding tones and a pause, from quiet to full scale, always the same.

    Shape:
        float32 [batch, samples].
    """
    generator = torch.Generator().manual_seed(samples)
    time_s = torch.arange(samples, dtype=torch.float64) / 16_000
    clips = []
    for index in range(batch):
        glide = torch.sin(2 * torch.pi * (220 * (index + 1) * time_s + 90 * time_s.square()))
        envelope = 0.55 + 0.45 * torch.sin(2 * torch.pi * 1.5 * time_s + index)
        noise = torch.randn(samples, generator=generator, dtype=torch.float64)
        clips.append((0.5 * envelope * glide + 0.2 * noise) * 10.0**-index)
    audio = torch.stack(clips).float()
    audio[:, samples // 2 : samples // 2 + samples // 20] *= 0.03
    return audio


def torch_runner(model: Embedder, *, classify: bool = False) -> Run:
    """Return the model as a runtime: its embeddings, or a classifier's probabilities."""

    def run(audio: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            result = model.scenes(torch.from_numpy(audio))
            if classify:
                assert isinstance(model, Classifier)
                result = model.head(result)
            return result.numpy()

    return run


def compare(reference: Run, run: Run) -> Comparison:
    """Return how far a runtime is from torch at `LENGTHS`, in batches of one to three."""
    differences, cosines = [], []
    for index, samples in enumerate(LENGTHS):
        audio = synthetic_audio(1 + index % 3, samples)
        wanted = torch.from_numpy(reference(audio.numpy())).double()
        got = torch.from_numpy(run(audio.numpy())).double()
        if got.shape != wanted.shape or not got.isfinite().all():
            raise ExportError(
                f"{samples} samples give {list(got.shape)} where torch gives {list(wanted.shape)}, "
                "or are not finite: nothing is written"
            )
        differences.append(float((got - wanted).abs().max()))
        cosines.append(float(torch.cosine_similarity(got, wanted).min()))
    return Comparison(max(differences), min(cosines))


def check_equal(comparison: Comparison, what: str) -> None:
    """Raise an ExportError where a runtime is further from torch than `TOLERANCE`."""
    if comparison.difference > TOLERANCE:
        raise ExportError(
            f"{what} is {comparison.difference:.1e} from torch, more than {TOLERANCE:g}: nothing "
            "is written"
        )


def seconds(run: Run, samples: int = LENGTHS[-1]) -> float:
    """Return how long one clip takes, in seconds: the minimum of some runs after a first one."""
    audio = synthetic_audio(1, samples).numpy()
    run(audio)
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run(audio)
        times.append(time.perf_counter() - start)
    return min(times)
