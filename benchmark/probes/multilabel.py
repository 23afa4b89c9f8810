"""The protocol "multilabel-2": one label against the rest, for clips of any number of labels.

As in "linear-1", a strength is chosen on validation rows, the probe is fit again on training and
validation rows together, and then sees the test rows of every fold once.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from benchmark.data.split import Fold
from benchmark.probes.logistic import Logistic, logistic_path
from benchmark.probes.outcome import Choice
from benchmark.probes.rows import ProbeError, Rows, check_validation
from benchmark.probes.tuning import STRENGTHS

PROTOCOL = "multilabel-2"
"""Changes whenever the same embeddings could score otherwise; results then no longer mix.

In "multilabel-1" all strengths were tried.
"""
Measure = Callable[[np.ndarray, np.ndarray], float]
"""(probabilities `[n, K]`, targets bool `[n, K]`) -> what is to be high."""


@dataclass(frozen=True)
class Labelled:
    """What was found on one fold.

    Attributes:
        choice: of the strength; its curve holds the measure on the validation rows.
        probabilities: of each label for each test row.
        converged: whether both fits reached their tolerance.

    Shape:
        probabilities float32 `[n, K]`.
    """

    choice: Choice
    probabilities: np.ndarray
    converged: bool


def label_fold(
    embeddings: np.ndarray,
    targets: np.ndarray,
    fold: Fold,
    measure: Measure,
    *,
    strengths: Sequence[float] = STRENGTHS,
    device: str = "cpu",
) -> Labelled:
    """Choose on validation rows, fit again, and find the labels of the test rows.

    Strengths are tried from the strongest regularisation on until the measure has fallen twice in a
    row: the weakest take most rounds by far, and few sets ever choose them. Of strengths that tie
    the strongest regularisation is taken.

    Args:
        embeddings: possibly memory-mapped.
        targets: whether a row has a label.
        fold: whose test rows are looked at once, after the choice.
        measure: decides among strengths.
        strengths: to compare, scikit-learn's C, ascending.
        device: torch device that does the work.

    Shape:
        embeddings `[n, D]`, targets bool `[n, K]`.

    Raises:
        ProbeError: a part has no row, the measure is not finite on the validation rows, or an
            embedding is not finite.
    """

    def view(index: np.ndarray) -> Rows:
        return Rows(embeddings, np.full(len(embeddings), -1), index)

    check_validation([view(fold.valid)])

    rows = fold.train
    path = logistic_path(view(rows), targets[rows], strengths, device=device)
    first, values = _try(path, fold, view(fold.valid), targets[fold.valid], measure)
    best = int(np.argmax(values))
    choice = Choice(
        strengths[best],
        tuple(zip(strengths, values, strict=False)),
        all(one.converged.all() for one in first),
    )
    rows = fold.development
    (final,) = logistic_path(
        view(rows), targets[rows], (choice.value,), device=device, start=first[best]
    )
    converged = choice.converged and bool(final.converged.all())
    return Labelled(choice, final.probabilities(view(fold.test))[:, 0], converged)


def _try(
    path: Generator[Logistic, None, None],
    fold: Fold,
    valid: Rows,
    truth: np.ndarray,
    measure: Measure,
) -> tuple[list[Logistic], list[float]]:
    """Return the fits until the measure has fallen twice in a row, and what they measure.

    Shape:
        truth bool `[len(valid), K]`.
    """
    fits: list[Logistic] = []
    values: list[float] = []
    with closing(path):  # it lets go of the training rows before the last fit takes its own
        for one in path:
            fits.append(one)
            values.append(measure(one.probabilities(valid)[:, 0], truth))
            if not np.isfinite(values[-1]):
                raise ProbeError(
                    f"fold {fold.name}: the measure that chooses is {values[-1]} on the "
                    "validation rows; every label must be there with and without"
                )
            if len(values) > 2 and values[-3] > values[-2] > values[-1]:
                break
    return fits, values
