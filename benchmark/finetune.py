"""The protocol "finetune-1" on one fold: encoder and head trained end to end, chosen, tested once.

The head begins as the linear probe of the training clips (strength chosen on validation), so that
the encoder is not bent by the gradients of a random head (Kumar et al., arXiv 2202.10054). Then
encoder and head are trained at each learning rate of the configuration. Validation accuracy, and
validation loss between equals, decides when a rate is given up and which state of which rate is
kept, the untrained beginning among them. The test clips are read once, by the state that was kept.
It is not trained again on training and validation clips together, as `linear-1` is: there would be
nothing left to stop it by.

A kill costs a minute at most: the same call goes on where it was, on a CPU to the same numbers.
"""

from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmark.finetune_model import Classifier, head_of
from benchmark.finetune_score import judge, outputs, usable
from benchmark.finetune_state import Attempt, Best, FoldState, StateFile
from benchmark.finetune_train import Setup, Trainer
from benchmark.rows import Rows
from benchmark.splits import Fold
from benchmark.tuning import choose_strengths

PROTOCOL = "finetune-1"
"""Changes whenever the same clips and configuration could score otherwise."""


def tune_fold(setup: Setup, fold: Fold, path: Path) -> FoldState:
    """Train, choose and test on one fold, from where its file stands.

    Args:
        setup: what is trained and how.
        fold: which rows do what.
        path: of the state's file.

    Raises:
        FinetuneError: a part of the fold has no clip that can be read.
        HearError: the module fails in training.
        OSError: the file cannot be written.
    """
    file = StateFile(path)
    state = file.read()
    if state is None:
        state = _begin(setup, fold, path)
        file.save(state)
    if state.tested:
        return state
    for place, rate in enumerate(setup.config.learning_rates):
        if place == len(state.attempts):
            state.attempts.append(Attempt(rate, [state.start]))
        if not state.attempts[place].over:
            Trainer(setup, fold, state, file).run()
            file.save(state)
    classifier = Classifier(setup.hear, state.head)
    if state.best.weights:
        classifier.load_state_dict(state.best.weights)
    judged = judge(classifier, setup.sounds, fold.test, state.errors)
    state.tested, state.predicted = judged.rows.tolist(), judged.predicted.tolist()
    state.best.weights = {}  # of no more use, and large
    file.save(state)
    return state


def _begin(setup: Setup, fold: Fold, path: Path) -> FoldState:
    """Return the state before any training: a linear probe as head, and its validation score."""
    sounds = setup.sounds
    errors: dict[int, str] = {}
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_suffix(".npy")
    shape = (len(fold.development), setup.hear.size)
    features = np.lib.format.open_memmap(scratch, mode="w+", dtype=np.float32, shape=shape)
    try:
        with tqdm(total=len(features), desc=f"{sounds.title}: first head", leave=False) as bar:
            for rows, values in outputs(setup.hear.embed, sounds, fold.development, errors):
                features[np.searchsorted(fold.development, rows)] = values.cpu().numpy()
                bar.update(len(rows))
        train, valid = (
            Rows(
                features,
                sounds.labels[fold.development],
                np.searchsorted(fold.development, usable(part, errors)),
            )
            for part in (fold.train, fold.valid)
        )
        choices, probe = choose_strengths(
            [train], [valid], sounds.n_classes, device=str(setup.hear.device)
        )
    finally:
        scratch.unlink()
    head = head_of(probe)
    judged = judge(Classifier(setup.hear, head), sounds, usable(fold.valid, errors), errors)
    start = {"epoch": 0.0, "loss": judged.loss, "accuracy": judged.accuracy}
    best = Best(0.0, 0, judged.accuracy, judged.loss)
    return FoldState(head, choices[0].strength, start, best, errors=errors)
