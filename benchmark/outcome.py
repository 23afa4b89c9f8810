"""What a protocol finds: a class for every row tested, how it chose, and the heads it trained."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

Predict = Callable[[int, np.ndarray], np.ndarray]
"""(place of a fold, embeddings `[m, D]`) -> class numbers int64 `[m]`."""


@dataclass(frozen=True)
class Choice:
    """What was chosen on the validation rows of one fold, and how.

    Attributes:
        value: of the setting that the protocol compares, such as the probe's strength.
        curve: (value, accuracy on the validation rows in percent), in the order compared.
        converged: whether everything that was compared reached its tolerance.
    """

    value: float
    curve: tuple[tuple[float, float], ...]
    converged: bool = True


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

    Shape:
        rows and predicted `[n]`.
    """

    rows: np.ndarray
    predicted: np.ndarray
    choices: tuple[Choice, ...]
    converged: bool
    predict: Predict
