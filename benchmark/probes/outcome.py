"""What a protocol finds: a class for every row tested, how it chose, and the heads it trained."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmark.data.split import Fold
from benchmark.probes.rows import Rows, every_row

Predict = Callable[[int, np.ndarray], np.ndarray]
"""(place of a fold, embeddings `[m, D]`) -> class numbers int64 `[m]`."""


@dataclass(frozen=True)
class Choice:
    """What was chosen on the validation rows of one fold, and how.

    Attributes:
        value: of the setting that the protocol compares, such as the probe's strength.
        curve: (value, accuracy on the validation rows in percent), in the order compared.
        converged: whether everything that was compared reached its tolerance.
        details: what else the result's record of the fold should hold; plain JSON values.
    """

    value: float
    curve: tuple[tuple[float, float], ...]
    converged: bool = True
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """What a protocol found on a task.

    Attributes:
        rows: the rows tested, ascending.
        predicted: the class number given to each by the fold that tested it.
        choices: of each fold.
        converged: whether every head reached its tolerance.
        predict: gives the classes of other embeddings by the head of a fold, as trained; what it
            is given must be as the embeddings trained on, neither standardised nor normalised.
        settings: with which the protocol ran, for the result's provenance; plain JSON values.

    Shape:
        rows and predicted `[n]`.
    """

    rows: np.ndarray
    predicted: np.ndarray
    choices: tuple[Choice, ...]
    converged: bool
    predict: Predict
    settings: dict[str, Any] = field(default_factory=dict)


def outcome(
    embeddings: np.ndarray,
    labels: np.ndarray,
    folds: Sequence[Fold],
    choices: Sequence[Choice],
    classify: Callable[[int, Rows], np.ndarray],
    *,
    converged: bool = True,
) -> Outcome:
    """Read the test rows of every fold, once, and return what its head makes of them.

    Args:
        embeddings: possibly memory-mapped.
        labels: class numbers.
        folds: whose test rows do not overlap.
        choices: of each fold.
        classify: gives class numbers `[m]` to m rows by the finished head of a fold.
        converged: whether every finished head reached its tolerance.

    Shape:
        embeddings `[n, D]`, labels `[n]`.
    """
    predicted = np.full(len(labels), -1, dtype=np.int64)
    for place, fold in enumerate(folds):
        predicted[fold.test] = classify(place, Rows(embeddings, labels, fold.test))
    rows = np.sort(np.concatenate([fold.test for fold in folds]))

    def predict(place: int, others: np.ndarray) -> np.ndarray:
        return classify(place, every_row(others))

    converged = converged and all(choice.converged for choice in choices)
    return Outcome(rows, predicted[rows], tuple(choices), converged, predict)
