"""Training with one learning rate on one fold, and the checkpoint of a fold.

Random numbers depend only on seed, epoch and row or step, not on what was drawn before, so that a
resumed training gives the same result as an uninterrupted one.
"""

import logging
import math
import pickle
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot
from tqdm import tqdm

from benchmark.data.split import Fold
from benchmark.finetune.config import FinetuneConfig
from benchmark.finetune.model import (
    Classifier,
    Head,
    Setup,
    copy_state,
    freeze_batch_norm,
    score_clips,
)
from wavebyol_hear.files.atomic import atomic_write
from wavebyol_hear.files.read_ahead import Batch, Reader, ahead

NOISE_RANGE_DB = 30.0
"""Range of the signal-to-noise ratio above its minimum."""
ORDER, CROP, STEP = 1, 2, 3
"""First number of the seeds of random streams, which keeps the streams apart."""
SAVE_SECONDS = 60.0
"""Time between two checkpoints: the most that a kill can cost."""

logger = logging.getLogger(__name__)


def crop(wave: np.ndarray, samples: int, generator: np.random.Generator) -> np.ndarray:
    """Return a random part of a long wave, or a short one repeated: float32 `[samples]`."""
    if len(wave) > samples:
        start = int(generator.integers(len(wave) - samples + 1))
        return wave[start : start + samples].copy()  # a view would hold the whole wave
    return np.resize(wave, samples)


def read_crops(reader: Reader, samples: int, seed: int, epoch: int, rows: list[int]) -> Batch:
    """Return the crops of some rows in an epoch, or why there is none."""
    batch: Batch = []
    for row in rows:
        wave = reader.read(row)
        if isinstance(wave, np.ndarray):
            wave = crop(wave, samples, np.random.default_rng([CROP, seed, epoch, row]))
        batch.append((row, wave))
    return batch


def plan_epoch(rows: np.ndarray, batch_size: int, seed: int, epoch: int) -> list[list[int]]:
    """Return the rows in a random order, in batches that differ by one row at most.

    No batch of one clip is left over at the end, which a BatchNorm could not be trained on.
    """
    order = np.random.default_rng([ORDER, seed, epoch]).permutation(rows)
    return [part.tolist() for part in np.array_split(order, math.ceil(len(rows) / batch_size))]


def augment(
    waves: Tensor, targets: Tensor, config: FinetuneConfig, generator: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Return clips `[B, n]` mixed, scaled and with noise, and their mixed labels `[B, K]`."""
    if config.mixup:
        share = float(generator.beta(config.mixup, config.mixup))
        other = torch.from_numpy(generator.permutation(len(waves))).to(waves.device)
        waves = torch.lerp(waves[other], waves, share)
        targets = torch.lerp(targets[other], targets, share)

    def column(low: float, high: float) -> Tensor:
        values = generator.uniform(low, high, (len(waves), 1)).astype(np.float32)
        return torch.from_numpy(values).to(waves.device)

    if config.noise_snr_db is not None:
        snr_db = column(config.noise_snr_db, config.noise_snr_db + NOISE_RANGE_DB)
        level = waves.square().mean(1, keepdim=True).sqrt() * 10 ** (-snr_db / 20)
        source = torch.Generator(waves.device).manual_seed(int(generator.integers(2**63)))
        waves = waves + level * torch.randn(
            waves.shape, generator=source, device=waves.device, dtype=waves.dtype
        )
    if config.gain_db:
        waves = waves * 10 ** (column(-config.gain_db, config.gain_db) / 20)
    return waves, targets


@dataclass
class Attempt:
    """One learning rate on one fold."""

    rate: float  #: learning rate of the encoder
    #: epoch, training loss, and loss and accuracy (percent) on validation
    curve: list[dict[str, float]]
    epoch: int = 0  #: epochs finished
    step: int = 0  #: steps done of the current epoch
    loss: float = 0.0  #: of these steps, summed
    over: bool = False  #: whether it has ended
    diverged: bool = False  #: whether it ended because its loss was NaN or infinite


@dataclass
class Best:
    """The state that did best on validation so far."""

    rate: float  #: learning rate it was reached with; 0 for the initial state
    epoch: int  #: after which it was; 0 for the initial state
    accuracy: float  #: on validation, in percent
    loss: float  #: on validation; decides between equal accuracies
    #: of the classifier; empty for the initial state
    weights: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class FoldState:
    """All that a fold needs to go on."""

    head: Head  #: of the beginning, a linear probe
    c: float  #: that was selected for it, see `benchmark.probes.protocols.select_c`
    start: dict[str, float]  #: the point of the validation curve before any training
    best: Best  #: over all attempts
    attempts: list[Attempt] = field(default_factory=list)  #: those begun, the last perhaps not over
    #: of the classifier in the current attempt
    weights: dict[str, Tensor] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)  #: its state
    #: the class index of each test row; the end of it all
    predicted: list[int] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write the state, whole or not at all, in a folder that is made where it is absent."""
        path.parent.mkdir(parents=True, exist_ok=True)
        attempts = [vars(attempt) for attempt in self.attempts]
        with atomic_write(path) as file:
            torch.save({**vars(self), "best": vars(self.best), "attempts": attempts}, file)

    @classmethod
    def load(cls, path: Path) -> "FoldState | None":
        """Return the state; None where there is none or it is damaged, which is logged."""
        if not path.is_file():
            return None
        try:
            kept = torch.load(path, map_location="cpu", weights_only=True)
            kept["best"] = Best(**kept["best"])
            kept["attempts"] = [Attempt(**attempt) for attempt in kept["attempts"]]
            return cls(**kept)
        except (RuntimeError, EOFError, pickle.UnpicklingError, KeyError, TypeError) as error:
            logger.warning("%s is damaged and is rebuilt (%s)", path, type(error).__name__)
            return None


class Trainer:
    """One learning rate on one fold; goes on where the state stands."""

    def __init__(self, setup: Setup, fold: Fold, state: FoldState, path: Path) -> None:
        self.setup, self.fold, self.state, self.path = setup, fold, state, path
        self.attempt, self.saved = state.attempts[-1], time.monotonic()
        self.classifier = Classifier(setup, state.head)
        if setup.config.head == "zero":
            for parameter in self.classifier.linear.parameters():
                nn.init.zeros_(parameter)
        self.optimizer = torch.optim.AdamW(self.classifier.groups(self.attempt.rate, setup.config))
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        if state.weights:
            self.classifier.load_state_dict(state.weights)
            self.optimizer.load_state_dict(state.optimizer)

    def run(self) -> None:
        """Train until the epochs are over or patience is, keeping the best state."""
        attempt, config, setup = self.attempt, self.setup.config, self.setup
        reader = Reader(setup.paths, setup.hear.sample_rate)
        cuda = [setup.hear.device] if setup.hear.device.type == "cuda" else []
        per_epoch = math.ceil(len(self.fold.train) / config.batch_size)
        with (
            torch.random.fork_rng(devices=cuda),
            tqdm(
                total=config.epochs * per_epoch,
                initial=attempt.epoch * per_epoch + attempt.step,
                desc=f"{setup.title}, {self.fold.name}, rate {attempt.rate:g}",
                unit="step",
            ) as bar,
        ):
            while attempt.epoch < config.epochs and not self._out_of_patience():
                steps = plan_epoch(self.fold.train, config.batch_size, setup.seed, attempt.epoch)

                def read(rows: list[int], epoch: int = attempt.epoch) -> Batch:
                    return read_crops(reader, setup.samples, setup.seed, epoch, rows)

                remaining = ahead(read, steps[attempt.step :], setup.workers)
                with closing(remaining) as batches:
                    for batch in batches:
                        self._step(batch, len(steps))
                        bar.update()
                weights = self.classifier.parameters()
                finite = math.isfinite(attempt.loss) and all(w.isfinite().all() for w in weights)
                if not finite:
                    attempt.diverged = True
                    break
                self._validate()
                bar.set_postfix(valid=f"{attempt.curve[-1]['accuracy']:.1f}")
        attempt.over = True
        self.state.weights, self.state.optimizer = {}, {}

    def _out_of_patience(self) -> bool:
        """Return whether the last epochs brought nothing better."""
        points = [(point["accuracy"], -point["loss"]) for point in self.attempt.curve]
        return len(points) - 1 - points.index(max(points)) >= self.setup.config.patience

    def _step(self, batch: Batch, per_epoch: int) -> None:
        """Take one step and save the state where it is time."""
        attempt, setup = self.attempt, self.setup
        generator = np.random.default_rng([STEP, setup.seed, attempt.epoch, attempt.step])
        torch.manual_seed(int(generator.integers(2**63)))  # of dropout, within the model
        # The share of the full rates: a linear rise, then half a cosine.
        done, total = attempt.epoch * per_epoch + attempt.step, setup.config.epochs * per_epoch
        rise = setup.config.warm_up * total
        share = 0.5 * (1 + math.cos(math.pi * (done - rise) / max(1.0, total - rise)))
        if done < rise:
            share = (done + 1) / (rise + 1)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = share * rate
        rows, waves = setup.readable(batch)
        audio = torch.from_numpy(np.stack(waves)).to(setup.hear.device)
        labels = torch.from_numpy(setup.labels[rows]).to(audio.device)
        targets = one_hot(labels, setup.n_classes).float()
        audio, targets = augment(audio, targets, setup.config, generator)
        self.classifier.train()
        if setup.config.batch_norm == "frozen":
            freeze_batch_norm(self.classifier.encoder)
        loss = cross_entropy(self.classifier(audio), targets)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        attempt.loss += loss.item()
        attempt.step += 1
        if time.monotonic() - self.saved >= SAVE_SECONDS:
            self.state.weights = self.classifier.state_dict()
            self.state.optimizer = self.optimizer.state_dict()
            self.state.save(self.path)
            self.saved = time.monotonic()

    def _validate(self) -> None:
        """Score the epoch and keep the state where it is the best of all attempts."""
        attempt, best = self.attempt, self.state.best
        scores = score_clips(self.classifier, self.setup, self.fold.valid)
        attempt.epoch += 1
        point = {"epoch": float(attempt.epoch), "train_loss": attempt.loss / attempt.step}
        attempt.curve.append(point | {"loss": scores.loss, "accuracy": scores.accuracy})
        attempt.step, attempt.loss = 0, 0.0
        if (scores.accuracy, -scores.loss) > (best.accuracy, -best.loss):
            reached = (attempt.rate, attempt.epoch, scores.accuracy, scores.loss)
            self.state.best = Best(*reached, copy_state(self.classifier))
