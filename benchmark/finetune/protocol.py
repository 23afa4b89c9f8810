"""Fine-tuning as a protocol beside the probes: it needs the sound, which it takes from the job."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.data.clip import Clip, Task
from benchmark.data.split import Fold
from benchmark.embed.cache import cache_folder
from benchmark.embed.embed import EmbeddedTask
from benchmark.embed.model import load
from benchmark.finetune.config import FinetuneConfig
from benchmark.finetune.finetune import PROTOCOL, tune_fold
from benchmark.finetune.model import check_trainable, copy_state
from benchmark.finetune.score import FinetuneError, Sounds
from benchmark.finetune.state import FoldState
from benchmark.finetune.train import Setup
from benchmark.probes.rows import ProbeResult, Selection


@dataclasses.dataclass(frozen=True)
class Finetune:
    """Evaluates as `protocols.Evaluate` says, with the sound behind the embeddings.

    Args:
        task: whose clips these are.
        embedded: what the untrained module made of them.
        clips: that the task lists.
        root: of the task's data.
        model: `module` or `module:weights`.
        config: of the training.
        cache_dir: under which the state of every fold is kept.
        workers: threads that decode, 0 or more.
    """

    task: Task
    embedded: EmbeddedTask
    clips: Sequence[Clip]
    root: Path
    model: str
    config: FinetuneConfig
    cache_dir: Path
    workers: int

    def __call__(
        self,
        embeddings: np.ndarray,
        labels: np.ndarray,
        folds: Sequence[Fold],
        n_classes: int,
        *,
        device: str = "cpu",
        seed: int = 0,
    ) -> ProbeResult:
        """Return the outcome; see `protocols.Evaluate`.

        Raises:
            NoGradientError: the module cannot be trained.
            ProbeError: a part of a fold has no clips, or a clip can no longer be read.
            HearError: the module fails in training.
            OSError: the state cannot be written.
        """
        hear = load(self.model, device)
        samples = self.config.samples(hear.sample_rate, self.task.clip_seconds)
        check_trainable(hear, samples)
        place = {clip.clip_id: str(self.root / clip.path) for clip in self.clips}
        paths = [place[clip] for clip in self.embedded.clip_ids.tolist()]
        title = f"{self.task.name}, {self.model}"
        sounds = Sounds(paths, labels, n_classes, hear.sample_rate, self.workers, title)
        setup = Setup(hear, copy_state(hear.model), sounds, self.config, samples, seed)
        folder = cache_folder(
            self.cache_dir / "finetune",
            self.model,
            self.task.name,
            weights=hear.weights_hash,
            data=self.embedded.data_hash,
            protocol=PROTOCOL,
            options={
                "device": hear.device.type,
                "precision": hear.precision,  # may change from run to run on a busy machine
                "seed": seed,
                "samples": samples,
            },
            config=dataclasses.asdict(self.config),
        )
        states = [tune_fold(setup, embeddings, fold, folder / f"{fold.name}.pt") for fold in folds]
        predicted = np.full(len(labels), -1, dtype=np.int64)
        for fold, state in zip(folds, states, strict=True):
            predicted[fold.test] = state.predicted
        rows = np.sort(np.concatenate([fold.test for fold in folds]))
        return ProbeResult(
            rows,
            predicted[rows],
            tuple(_choice(state) for state in states),
            True,
            no_head,
            {"config": dataclasses.asdict(self.config), "crop_samples": samples},
        )


def _choice(state: FoldState) -> Selection:
    """Return what was chosen on a fold, and all curves."""
    best = [max(point["accuracy"] for point in each.curve) for each in state.attempts]
    rates = [each.rate for each in state.attempts]
    training = [
        {"learning_rate": each.rate, "diverged": each.diverged, "curve": each.curve}
        for each in state.attempts
    ]
    details: dict[str, Any] = {
        "epoch": state.best.epoch,
        "head_strength": state.strength,
        "training": training,
    }
    return Selection(state.best.rate, tuple(zip(rates, best, strict=True)), details=details)


def no_head(fold: int, embeddings: np.ndarray) -> np.ndarray:
    """Refuse: the classes of a fine-tuned model come from sound, not from embeddings.

    Raises:
        FinetuneError: always.
    """
    raise FinetuneError(
        "the protocol finetune has no head for embeddings, as its encoder is another on every "
        "fold; ask this of the protocol linear"
    )

