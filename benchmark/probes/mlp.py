"""The protocol "mlp-1": one hidden layer of 4096, the head WaveBYOL's authors put on embeddings.

The learning rate and the moment to stop are chosen on validation rows, where the authors stopped by
the test rows; then the head is trained so on training and validation rows together.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice

import numpy as np
from torch import nn
from tqdm import tqdm

from benchmark.data.split import Fold
from benchmark.probes.mlp_head import classify, judge, train
from benchmark.probes.outcome import Choice, Outcome, outcome
from benchmark.probes.rows import ProbeError, Rows, check_training, check_validation

PROTOCOL = "mlp-1"
"""Changes whenever the same embeddings could score otherwise; results then no longer mix."""
RATES = (1e-4, 3e-4, 1e-3)
"""Learning rates that are compared; the authors' own, 8e-4, is among them but for a quarter."""
MOST_ROUNDS = 200
PATIENCE = 10
"""Rounds in which neither accuracy nor loss on validation rows got better that end training: of few
rows an early head's accuracy stands still at chance while its loss already falls."""


@dataclass(frozen=True)
class Tuned:
    """What the validation rows of a fold chose.

    Attributes:
        choice: of the learning rate.
        rounds: to train at that rate.
    """

    choice: Choice
    rounds: int


def choose(rows: Rows, valid: Rows, n_classes: int, *, device: str = "cpu", seed: int = 0) -> Tuned:
    """Choose the learning rate and the number of rounds that are most accurate on valid.

    Of a tie the lower rate and the earlier round are taken.

    Args:
        rows: to train on.
        valid: rows to choose on.
        n_classes: number of classes of the task.
        device: torch device that does the work.
        seed: of the first weights and of the order of rows.

    Raises:
        ProbeError: there are too few rows, or a label or a feature is out of range.
    """
    check_training([rows], n_classes)
    check_validation([valid])
    if len(rows) < 2:
        raise ProbeError("one training row: batch normalisation needs two")
    tried = []
    for rate in RATES:
        heads = train(rows, n_classes, rate, device=device, seed=seed)
        told = f"mlp at {rate:g}"
        bar = tqdm(islice(heads, MOST_ROUNDS), desc=told, unit="round", delay=2, leave=False)
        tried.append(_stop(judge(head, valid) for head in bar))
    curve = tuple((rate, best) for rate, (best, _, _) in zip(RATES, tried, strict=True))
    place = int(np.argmax([best for best, _, _ in tried]))
    choice = Choice(RATES[place], curve, all(ended for *_, ended in tried))
    return Tuned(choice, tried[place][1])


def _stop(judged: Iterable[tuple[float, float]]) -> tuple[float, int, bool]:
    """Return the best accuracy, its round, and whether patience ran out before the rounds did.

    Args:
        judged: accuracy and loss on validation rows after each round, taken only while it goes on.
    """
    best, at, least, waited = -1.0, 0, np.inf, 0
    for number, (accuracy, loss) in enumerate(judged, start=1):
        waited = 0 if accuracy > best or loss < least else waited + 1
        if accuracy > best:
            best, at = accuracy, number
        least = min(least, loss)
        if waited == PATIENCE:
            return best, at, True
    return best, at, False


def refit(
    rows: Rows, tuned: Tuned, n_classes: int, *, device: str = "cpu", seed: int = 0
) -> nn.Module:
    """Return a head trained on training and validation rows together, as was chosen.

    Args:
        rows: training and validation rows.
        tuned: what the validation rows chose.
        n_classes: number of classes of the task.
        device: torch device that does the work.
        seed: of the first weights and of the order of rows.
    """
    heads = train(rows, n_classes, tuned.choice.value, device=device, seed=seed)
    return next(islice(heads, tuned.rounds - 1, None))


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

    tuned = [
        choose(view(fold.train), view(fold.valid), n_classes, device=device, seed=seed)
        for fold in folds
    ]
    heads = [
        refit(view(fold.development), found, n_classes, device=device, seed=seed)
        for fold, found in zip(folds, tuned, strict=True)
    ]

    def give(place: int, rows: Rows) -> np.ndarray:
        return classify(heads[place], rows)

    return outcome(embeddings, labels, folds, [found.choice for found in tuned], give)
