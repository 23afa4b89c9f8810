"""The protocol "finetune-1" on one fold: encoder and head trained end to end, chosen, tested once.

The beginning is the linear probe of the training clips' embeddings (strength chosen on validation),
which is a candidate like any later state. Then encoder and head are trained at each learning rate
of the configuration, the head from zero or, in two stages (Kumar et al., arXiv 2202.10054), from
the probe. Validation accuracy, and validation loss between equals, decides when a rate is given up
and which state of which rate is kept. The test clips are looked at once, by the state that was
kept. It is not trained again on training and validation clips together, as `linear-1` is: nothing
would be left to stop it by.

A kill costs a minute at most: the same call goes on where it was, on a CPU to the same numbers.
"""

from pathlib import Path

import numpy as np

from benchmark.data.split import Fold
from benchmark.finetune.model import head_of
from benchmark.finetune.score import judge
from benchmark.finetune.state import Attempt, Best, FoldState, StateFile
from benchmark.finetune.train import Setup, Trainer
from benchmark.probes.linear import select_c
from benchmark.probes.rows import Rows

PROTOCOL = "finetune-1"
"""Changes whenever the same clips and configuration could score otherwise."""


def tune_fold(setup: Setup, embeddings: np.ndarray, fold: Fold, path: Path) -> FoldState:
    """Train, choose and test on one fold, from where its file stands.

    Args:
        setup: what is trained and how.
        embeddings: of the untrained module, for the first head; test rows are not read.
        fold: which rows do what.
        path: of the state's file.

    Shape:
        embeddings `[n, D]`.

    Raises:
        ProbeError: a part of the fold has no clips, or a clip can no longer be read.
        HearError: the module fails in training.
        OSError: the file cannot be written.
    """
    file = StateFile(path)
    state = file.read() or _begin(setup, embeddings, fold)
    if state.predicted:
        return state
    for place, rate in enumerate(setup.config.learning_rates):
        if place == len(state.attempts):
            state.attempts.append(Attempt(rate, [state.start]))
        if not state.attempts[place].over:
            Trainer(setup, fold, state, file).run()
            file.save(state)
    classifier = setup.classifier(state.head)
    if state.best.weights:
        classifier.load_state_dict(state.best.weights)
    state.predicted = judge(classifier, setup.sounds, fold.test).predicted.tolist()
    state.best.weights = {}  # of no more use, and large
    file.save(state)
    return state


def _begin(setup: Setup, embeddings: np.ndarray, fold: Fold) -> FoldState:
    """Return the state before any training: a linear probe as head, and its validation score."""
    labels = setup.sounds.labels
    choices, probe = select_c(
        [Rows(embeddings, labels, fold.train)],
        [Rows(embeddings, labels, fold.valid)],
        setup.sounds.n_classes,
        device=str(setup.hear.device),
    )
    head = head_of(probe)
    judged = judge(setup.classifier(head), setup.sounds, fold.valid)
    start = {"epoch": 0.0, "loss": judged.loss, "accuracy": judged.accuracy}
    best = Best(0.0, 0, judged.accuracy, judged.loss)
    return FoldState(head, choices[0].value, start, best)
