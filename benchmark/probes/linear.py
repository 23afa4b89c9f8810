"""The protocol "linear-1": choose, refit, then look at the test rows of every fold once."""

from collections.abc import Sequence

import numpy as np

from benchmark.data.split import Fold
from benchmark.probes.outcome import Outcome, outcome
from benchmark.probes.rows import Rows
from benchmark.probes.tuning import choose_strengths, refit

PROTOCOL = "linear-1"
"""Changes whenever the same embeddings could score otherwise; results then no longer mix."""


def evaluate(
    embeddings: np.ndarray,
    labels: np.ndarray,
    folds: Sequence[Fold],
    n_classes: int,
    *,
    device: str = "cpu",
    seed: int = 0,
) -> Outcome:
    """Return a prediction for every row that a fold tests; see `benchmark.protocols.Evaluate`."""

    def view(index: np.ndarray) -> Rows:
        return Rows(embeddings, labels, index)

    train, valid = [view(fold.train) for fold in folds], [view(fold.valid) for fold in folds]
    choices, chosen = choose_strengths(train, valid, n_classes, device=device)
    development = [view(fold.development) for fold in folds]
    final = refit(development, choices, chosen, n_classes, device=device)

    def classify(place: int, rows: Rows) -> np.ndarray:
        return final.predict(place, rows)[0]

    converged = bool(final.converged.all())
    return outcome(embeddings, labels, folds, choices, classify, converged=converged)
