"""One learning rate on one fold: the epochs, their steps and what is kept of them."""

import math
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot
from tqdm import tqdm

from benchmark.data.split import Fold
from benchmark.embed.model import HearModel
from benchmark.finetune.config import FinetuneConfig
from benchmark.finetune.data import Crops, augment, plan_epoch, step_source, training_batches
from benchmark.finetune.model import Classifier, Head, copy_state
from benchmark.finetune.score import Sounds, judge, together
from benchmark.finetune.state import Best, FoldState, StateFile
from wavebyol_hear.files.read_ahead import Batch, Reader


@dataclass(frozen=True)
class Setup:
    """What all folds share.

    Attributes:
        hear: the module, whose model is trained in place.
        initial: state of the model, where every training begins.
        sounds: all clips.
        config: of the training.
        samples: of a training clip.
        seed: of all that is random.
    """

    hear: HearModel
    initial: dict[str, Tensor]
    sounds: Sounds
    config: FinetuneConfig
    samples: int
    seed: int

    def classifier(self, head: Head) -> Classifier:
        """Return the untrained model with a head."""
        return Classifier(self.hear, self.initial, head)


class Trainer:
    """One learning rate on one fold; goes on where the state stands.

    Args:
        setup: what is trained and how.
        fold: which rows do what; its test rows are not touched.
        state: of the fold, whose last attempt this is; kept up to date.
        file: where the state is saved.
    """

    def __init__(self, setup: Setup, fold: Fold, state: FoldState, file: StateFile) -> None:
        """Build model and optimiser and bring them to where the state stands."""
        self.setup, self.state, self.file = setup, state, file
        self.attempt = state.attempts[-1]
        self.train, self.valid = fold.train, fold.valid
        self.classifier = setup.classifier(state.head)
        if setup.config.head == "zero":
            for parameter in self.classifier.linear.parameters():
                nn.init.zeros_(parameter)
        self.optimizer = torch.optim.AdamW(self.classifier.groups(self.attempt.rate, setup.config))
        self.rates = [group["lr"] for group in self.optimizer.param_groups]
        if state.weights:
            self.classifier.load_state_dict(state.weights)
            self.optimizer.load_state_dict(state.optimizer)
        self.bar_title = f"{setup.sounds.title}, {fold.name}, rate {self.attempt.rate:g}"

    def run(self) -> None:
        """Train until the epochs are over or patience is, keeping the best state."""
        attempt, config, setup = self.attempt, self.setup.config, self.setup
        reader = Reader(setup.sounds.paths, setup.sounds.sample_rate)
        crops = Crops(reader, setup.samples, setup.seed)
        cuda = [setup.hear.device] if setup.hear.device.type == "cuda" else []
        per_epoch = math.ceil(len(self.train) / config.batch_size)
        with (
            torch.random.fork_rng(devices=cuda),
            tqdm(
                total=config.epochs * per_epoch,
                initial=attempt.epoch * per_epoch + attempt.step,
                desc=self.bar_title,
                unit="step",
            ) as bar,
        ):
            while attempt.epoch < config.epochs and not self._out_of_patience():
                steps = plan_epoch(self.train, config.batch_size, setup.seed, attempt.epoch)
                left = steps[attempt.step :]
                read = training_batches(crops, left, attempt.epoch, setup.sounds.workers)
                with closing(read) as batches:
                    for batch in batches:
                        self._step(batch, len(steps))
                        bar.update()
                if not self._finite():
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
        draw = step_source(setup.seed, attempt.epoch, attempt.step)
        torch.manual_seed(int(draw.integers(2**63)))  # of dropout, within the model
        share = self._rate_share(attempt.epoch * per_epoch + attempt.step, per_epoch)
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = share * rate
        rows, waves = together(batch, setup.sounds)
        audio = torch.from_numpy(np.stack(waves)).to(setup.hear.device)
        labels = torch.from_numpy(setup.sounds.labels[rows]).to(audio.device)
        targets = one_hot(labels, setup.sounds.n_classes).float()
        audio, targets = augment(audio, targets, setup.config, draw)
        self.classifier.training_mode(setup.config.batch_norm)
        loss = cross_entropy(self.classifier(audio), targets)
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        attempt.loss += loss.item()
        attempt.step += 1
        if self.file.due():
            self.state.weights = self.classifier.state_dict()
            self.state.optimizer = self.optimizer.state_dict()
            self.file.save(self.state)

    def _rate_share(self, step: int, per_epoch: int) -> float:
        """Return the share of the full rates: a linear rise, then half a cosine."""
        total = self.setup.config.epochs * per_epoch
        rise = self.setup.config.warm_up * total
        if step < rise:
            return (step + 1) / (rise + 1)
        return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1.0, total - rise)))

    def _validate(self) -> None:
        """Score the epoch and keep the state where it is the best of all attempts."""
        attempt, best = self.attempt, self.state.best
        judged = judge(self.classifier, self.setup.sounds, self.valid)
        attempt.epoch += 1
        attempt.curve.append(
            {
                "epoch": float(attempt.epoch),
                "train_loss": attempt.loss / attempt.step,
                "loss": judged.loss,
                "accuracy": judged.accuracy,
            }
        )
        attempt.step, attempt.loss = 0, 0.0
        if judged.beats(best.accuracy, best.loss):
            weights = copy_state(self.classifier)
            self.state.best = Best(
                attempt.rate, attempt.epoch, judged.accuracy, judged.loss, weights
            )

    def _finite(self) -> bool:
        """Return whether losses and weights of the epoch are numbers."""
        weights = self.classifier.parameters()
        return math.isfinite(self.attempt.loss) and all(w.isfinite().all() for w in weights)
