"""Training clips: decoded ahead, cut or repeated to one length, changed at random.

Everything drawn depends on seed, epoch and row or step alone, not on what was drawn before, so that
training goes on after a break as if there had been none.
"""

import math
from collections.abc import Generator, Sequence

import numpy as np
import torch
from torch import Tensor

from benchmark.finetune.config import FinetuneConfig
from wavebyol_hear.files.ahead import ahead
from wavebyol_hear.files.read_ahead import Batch, Reader

NOISE_RANGE_DB = 30.0
"""By how much the signal-to-noise ratio may exceed its least."""

ORDER, CROP, STEP = 1, 2, 3
"""What is drawn: first in a seed, so that no two things share a stream."""


def cut(wave: np.ndarray, samples: int, draw: np.random.Generator) -> np.ndarray:
    """Return a random part of a long wave, or a short one repeated: float32 `[samples]`."""
    if len(wave) > samples:
        start = int(draw.integers(len(wave) - samples + 1))
        return wave[start : start + samples]
    return np.resize(wave, samples)


class Crops:
    """Decodes and cuts the clips of a step.

    Args:
        reader: of the files.
        samples: of a crop.
        seed: of the cuts.
    """

    def __init__(self, reader: Reader, samples: int, seed: int) -> None:
        """Keep what to read and how to cut it."""
        self.reader = reader
        self.samples = samples
        self.seed = seed

    def of(self, epoch: int, rows: Sequence[int]) -> Batch:
        """Return the crops of some rows in an epoch, or why there is none."""
        batch: Batch = []
        for row in rows:
            wave = self.reader.read(row)
            if isinstance(wave, np.ndarray):
                draw = np.random.default_rng([CROP, self.seed, epoch, row])
                wave = cut(wave, self.samples, draw).copy()  # a part alone would hold the whole
            batch.append((row, wave))
        return batch


def plan_epoch(rows: np.ndarray, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Return the rows in a random order, in batches that differ by one row at most.

    No batch of one clip is left over at the end, which a BatchNorm could not be trained on.
    """
    order = np.random.default_rng([ORDER, seed, epoch]).permutation(rows)
    return [part.tolist() for part in np.array_split(order, math.ceil(len(rows) / batch_size))]


def step_source(seed: int, epoch: int, step: int) -> np.random.Generator:
    """Return what says all that is random in one step."""
    return np.random.default_rng([STEP, seed, epoch, step])


def training_batches(
    crops: Crops, steps: Sequence[list[int]], epoch: int, workers: int
) -> Generator[Batch, None, None]:
    """Return the crops of some steps of an epoch, decoded ahead by threads."""
    return ahead(lambda rows: crops.of(epoch, rows), steps, workers)


def augment(
    waves: Tensor, targets: Tensor, config: FinetuneConfig, draw: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Return clips mixed, scaled and with noise, and the labels of the mixtures.

    Args:
        waves: of one length.
        targets: the share of each class.
        config: how much of it.
        draw: says all that is random.

    Shape:
        waves `[B, n]`, targets `[B, K]` -> the same.
    """
    if config.mixup:
        share = float(draw.beta(config.mixup, config.mixup))
        other = torch.from_numpy(draw.permutation(len(waves))).to(waves.device)
        waves = torch.lerp(waves[other], waves, share)
        targets = torch.lerp(targets[other], targets, share)

    def column(low: float, high: float) -> Tensor:
        drawn = draw.uniform(low, high, (len(waves), 1)).astype(np.float32)
        return torch.from_numpy(drawn).to(waves.device)

    if config.noise_snr_db is not None:
        snr_db = column(config.noise_snr_db, config.noise_snr_db + NOISE_RANGE_DB)
        level = waves.square().mean(1, keepdim=True).sqrt() * 10 ** (-snr_db / 20)
        source = torch.Generator(waves.device).manual_seed(int(draw.integers(2**63)))
        waves = waves + level * torch.randn(
            waves.shape, generator=source, device=waves.device, dtype=waves.dtype
        )
    if config.gain_db:
        waves = waves * 10 ** (column(-config.gain_db, config.gain_db) / 20)
    return waves, targets
