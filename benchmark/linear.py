"""The protocol "linear-1": choose, refit, then look at the test rows of every fold once."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.rows import Rows
from benchmark.splits import Fold
from benchmark.tuning import Choice, choose_strengths, refit

PROTOCOL = "linear-1"
"""Changes whenever the same embeddings could score otherwise; results then no longer mix."""


@dataclass(frozen=True)
class Outcome:
    """What the protocol found.

    Attributes:
        rows: the rows tested, ascending.
        predicted: the class number given to each by the fold that tested it.
        choices: of each fold.
        converged: whether every probe reached its tolerance.

    Shape:
        rows and predicted `[n]`.
    """

    rows: np.ndarray
    predicted: np.ndarray
    choices: tuple[Choice, ...]
    converged: bool


def evaluate(
    embeddings: np.ndarray,
    labels: np.ndarray,
    folds: Sequence[Fold],
    n_classes: int,
    *,
    device: str = "cpu",
) -> Outcome:
    """Return a prediction for every row that a fold tests.

    Args:
        embeddings: possibly memory-mapped.
        labels: class numbers.
        folds: whose test rows do not overlap.
        n_classes: number of classes of the task.
        device: torch device that does the work.

    Shape:
        embeddings `[n, D]`, labels `[n]`.

    Raises:
        ProbeError: a fold lacks rows, or a label or an embedding is out of range.
    """

    def view(index: np.ndarray) -> Rows:
        return Rows(embeddings, labels, index)

    train, valid = [view(fold.train) for fold in folds], [view(fold.valid) for fold in folds]
    choices, chosen = choose_strengths(train, valid, n_classes, device=device)
    development = [view(fold.development) for fold in folds]
    final = refit(development, choices, chosen, n_classes, device=device)
    predicted = np.full(len(labels), -1, dtype=np.int64)
    for number, fold in enumerate(folds):
        predicted[fold.test] = final.predict(number, view(fold.test))[0]
    rows = np.sort(np.concatenate([fold.test for fold in folds]))
    converged = all(choice.converged for choice in choices) and bool(final.converged.all())
    return Outcome(rows, predicted[rows], tuple(choices), converged)
