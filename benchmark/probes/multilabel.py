"""The protocol "multilabel-1": one label against the rest, for clips of any number of labels.

As in "linear-1", a strength is chosen on validation rows, the probe is fit again on training and
validation rows together, and then sees the test rows of every fold once.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from benchmark.probes.logistic import Logistic, fit_logistic
from benchmark.probes.outcome import Choice
from benchmark.probes.rows import ProbeError, Rows, check_validation
from benchmark.probes.tuning import STRENGTHS
from benchmark.splits import Fold

PROTOCOL = "multilabel-1"
"""Changes whenever the same embeddings could score otherwise; results then no longer mix."""
TOLERANCE = 1e-6
"""Of the search: at 1e-5 the mAP of weak regularisation was 0.007 off scikit-learn's optimum (400
made clips), at 1e-6 it is within 0.001."""

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

    Of strengths that tie the strongest regularisation is taken.

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

    def train(rows: np.ndarray, at: Sequence[float], axes: Tensor | None = None) -> Logistic:
        return fit_logistic(
            view(rows), targets[rows], at, device=device, tolerance=TOLERANCE, axes=axes
        )

    first = train(fold.train, strengths)
    found = first.probabilities(view(fold.valid))
    values = [measure(found[:, place], targets[fold.valid]) for place in range(len(strengths))]
    if not np.isfinite(values).all():
        raise ProbeError(
            f"fold {fold.name}: the measure that chooses is {values[0]} on the validation rows; "
            "every label must be there with and without"
        )
    best = int(np.argmax(values))
    choice = Choice(
        strengths[best],
        tuple(zip(strengths, values, strict=True)),
        bool(first.converged.all()),
    )
    final = train(fold.development, (choice.value,), first.axes)
    converged = choice.converged and bool(final.converged.all())
    return Labelled(choice, final.probabilities(view(fold.test))[:, 0], converged)
