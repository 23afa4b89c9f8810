"""The protocol "finetune-1": encoder and head are trained end to end.

On every fold, the first candidate is the linear probe on the embeddings of the training clips (C
selected on validation clips). Then encoder and head are trained with each learning rate of the
configuration; the head starts from zero or, in two stages (Kumar et al., arXiv 2202.10054), from
the probe. Validation accuracy, and among equals validation loss, decides when to stop a learning
rate and which state of which learning rate is selected. That state is tested once. Unlike in
"linear-1", it is not trained again on training and validation clips, since no clips for early
stopping would be left.

A kill costs at most a minute: the same call resumes, on a CPU with the same result.
"""

import dataclasses
from pathlib import Path

import numpy as np

from benchmark.data.registry import TaskClips
from benchmark.data.split import Fold
from benchmark.embed.cache import cache_folder
from benchmark.embed.embed import EmbeddedTask
from benchmark.finetune.config import FinetuneConfig
from benchmark.finetune.model import (
    Classifier,
    FinetuneError,
    Setup,
    check_trainable,
    copy_state,
    head_of,
    score_clips,
)
from benchmark.finetune.train import Attempt, Best, FoldState, Trainer
from benchmark.probes.protocols import PROTOCOLS, select_c
from benchmark.probes.rows import Examples, ProbeResult, Rows, Selection, predict_test
from wavebyol_hear.files.hear_module import load

PROTOCOL = PROTOCOLS["finetune"].version
"""Changes whenever the same clips and configuration could score otherwise."""


def tune_fold(setup: Setup, embeddings: np.ndarray, fold: Fold, path: Path) -> FoldState:
    """Train, select and test on one fold, resuming from its checkpoint."""
    state = FoldState.load(path)
    if state is None:  # begin with a linear probe as head, and its validation score
        train, valid = ([Rows(embeddings, setup.labels, x)] for x in (fold.train, fold.valid))
        (selection,), probe = select_c(train, valid, setup.n_classes, device=str(setup.hear.device))
        head = head_of(probe)
        scores = score_clips(Classifier(setup, head), setup, fold.valid)
        start = {"epoch": 0.0, "loss": scores.loss, "accuracy": scores.accuracy}
        best = Best(0.0, 0, scores.accuracy, scores.loss)
        state = FoldState(head, selection.value, start, best)
    if state.predicted:
        return state
    for i, rate in enumerate(setup.config.learning_rates):
        if i == len(state.attempts):
            state.attempts.append(Attempt(rate, [state.start]))
        if not state.attempts[i].over:
            Trainer(setup, fold, state, path).run()
            state.save(path)
    classifier = Classifier(setup, state.head)
    if state.best.weights:
        classifier.load_state_dict(state.best.weights)
    state.predicted = score_clips(classifier, setup, fold.test).predicted.tolist()
    state.best.weights = {}  # of no more use, and large
    state.save(path)
    return state


@dataclasses.dataclass(frozen=True)
class Finetune:
    """Evaluates as `benchmark.probes.protocols.Evaluate` says, with the audio of the embeddings."""

    source: TaskClips  #: the task
    embedded: EmbeddedTask  #: its embeddings by the untrained module
    model: str  #: `module` or `module:weights`
    config: FinetuneConfig  #: of the training
    cache_dir: Path  #: under which the state of every fold is kept
    workers: int  #: threads that decode, 0 or more

    def __call__(self, data: Examples, *, device: str = "cpu", seed: int = 0) -> ProbeResult:
        """Return the result; see `benchmark.probes.protocols.Evaluate`.

        Raises:
            NoGradientError: the module cannot be trained; HearError: it fails in training.
            ProbeError: a part of a fold has no clips, or a clip can no longer be read.
            OSError: the state cannot be written.
        """
        hear, task, root = load(self.model, device), self.source.task, self.source.root
        samples = self.config.samples(hear.sample_rate, task.clip_seconds)
        check_trainable(hear, samples)
        path_of = {clip.clip_id: str(root / clip.path) for clip in self.source.clips}
        paths = [path_of[clip] for clip in self.embedded.clip_ids.tolist()]
        setup = Setup(
            *(hear, copy_state(hear.model), paths, data.labels, data.n_classes, self.workers),
            *(f"{task.name}, {self.model}", self.config, samples, seed),
        )
        folder = cache_folder(
            self.cache_dir / "finetune",
            self.model,
            task.name,
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
        states = [
            tune_fold(setup, data.embeddings, fold, folder / f"{fold.name}.pt")
            for fold in data.folds
        ]
        result = predict_test(
            data,
            [_selection(state) for state in states],
            lambda fold, rows: np.array(states[fold].predicted),
        )
        settings = {"config": dataclasses.asdict(self.config), "crop_samples": samples}
        return dataclasses.replace(result, predict=no_head, settings=settings)


def _selection(state: FoldState) -> Selection:
    """Return what was selected on a fold, and all curves."""
    attempts = state.attempts
    curve = tuple((each.rate, max(point["accuracy"] for point in each.curve)) for each in attempts)
    training = [
        {"learning_rate": each.rate, "diverged": each.diverged, "curve": each.curve}
        for each in attempts
    ]
    details = {"epoch": state.best.epoch, "head_strength": state.c, "training": training}
    return Selection(state.best.rate, curve, details=details)


def no_head(fold: int, embeddings: np.ndarray) -> np.ndarray:
    """Raise FinetuneError: a fine-tuned model's classes come from audio, not from embeddings."""
    raise FinetuneError(
        "the protocol finetune has no head for embeddings, as its encoder is another on every "
        "fold; use the protocol linear for this"
    )
