"""Choosing the probe's strength on validation rows; nothing here can be given a test row."""

from collections.abc import Sequence

import numpy as np

from benchmark.probes.outcome import Choice
from benchmark.probes.probe import Fitted, fit
from benchmark.probes.rows import Rows, check_validation

STRENGTHS = tuple(float(c) for c in np.logspace(-5, 0, 9))
"""scikit-learn's C, strongest regularisation first: steps of a factor of 4.2."""


def choose_strengths(
    train: Sequence[Rows],
    valid: Sequence[Rows],
    n_classes: int,
    *,
    strengths: Sequence[float] = STRENGTHS,
    device: str = "cpu",
) -> tuple[list[Choice], Fitted]:
    """Choose for each fold the strength whose probe, fit on train, is most accurate on valid.

    Of strengths that tie the strongest regularisation is taken.

    Args:
        train: training rows of each fold.
        valid: validation rows of each fold.
        n_classes: number of classes of the task.
        strengths: to compare, scikit-learn's C, ascending.
        device: torch device that does the work.

    Returns:
        the choice of each fold, and the probes chosen.

    Raises:
        ProbeError: a fold has no training or no validation rows.
    """
    check_validation(valid)
    table = np.tile(strengths, (len(train), 1))
    fitted = fit(train, table, n_classes, device=device)
    choices, columns = [], []
    for fold, rows in enumerate(valid):
        accuracy = (fitted.predict(fold, rows) == rows.targets()).mean(axis=1)
        curve = zip(strengths, (100.0 * accuracy).tolist(), strict=True)
        columns.append(int(accuracy.argmax()))
        choices.append(
            Choice(strengths[columns[-1]], tuple(curve), bool(fitted.converged[fold].all()))
        )
    return choices, fitted.at(columns)


def refit(
    development: Sequence[Rows],
    choices: Sequence[Choice],
    start: Fitted,
    n_classes: int,
    *,
    device: str = "cpu",
) -> Fitted:
    """Return the probes fit on training and validation rows together at the strengths chosen.

    Args:
        development: training and validation rows of each fold.
        choices: of the same folds.
        start: the probes chosen, from which the search starts.
        n_classes: number of classes of the task.
        device: torch device that does the work.
    """
    strengths = np.array([[choice.value] for choice in choices])
    return fit(development, strengths, n_classes, device=device, start=start)
