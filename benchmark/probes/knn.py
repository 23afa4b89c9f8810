"""The protocol "knn-1": the nearest training rows by cosine vote; only their number is chosen.

Rows are standardised by the training rows, as for the linear probe, then compared by cosine. A
neighbour's vote weighs 1 + cosine, so that of two classes with as many neighbours the nearer wins.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.data.split import Fold
from benchmark.probes.outcome import Choice, Outcome, outcome
from benchmark.probes.rows import Rows, check_training, check_validation

PROTOCOL = "knn-1"
"""Changes whenever the same embeddings could score otherwise; results then no longer mix."""
COUNTS = (1, 3, 5, 10, 20, 50, 100)
"""Numbers of neighbours that are compared; with fewer training rows all of them vote."""
WORK_BYTES = 1 << 24
"""Size of one block of rows and of one block of cosines; a few of each live at a time."""


@dataclass(frozen=True)
class Neighbours:
    """Rows to look among, with their statistics; the rows are read when they are looked among.

    Args:
        rows: with labels, possibly memory-mapped.
        mean: of each feature over the rows.
        scale: standard deviation of each feature over the rows.
        n_classes: number of classes K of the task.

    Shape:
        mean and scale `[D]`.
    """

    rows: Rows
    mean: Tensor
    scale: Tensor
    n_classes: int

    def predict(self, queries: Rows, counts: Sequence[int]) -> np.ndarray:
        """Return the class numbers given to rows by so many neighbours each, int64 `[C, n]`."""
        found = [np.zeros((len(counts), 0), dtype=np.int64)]
        for block in queries.blocks(WORK_BYTES):
            cosine, label = self._nearest(self._directions(block), max(counts))
            found.append(np.stack([self._vote(cosine[:, :k], label[:, :k]) for k in counts]))
        return np.concatenate(found, axis=1)

    def _vote(self, cosine: Tensor, label: Tensor) -> np.ndarray:
        """Return the class with the most weight of `[n, k]` neighbours, int64 `[n]`."""
        votes = torch.zeros(len(cosine), self.n_classes, device=cosine.device)
        return votes.scatter_add_(1, label, 1.0 + cosine).argmax(dim=1).cpu().numpy()

    def _nearest(self, queries: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Return cosines and labels of the nearest rows, nearest first, `[n, count or fewer]`."""
        best = queries.new_zeros(len(queries), 0)
        labels = torch.zeros(len(queries), 0, dtype=torch.int64, device=queries.device)
        targets = torch.from_numpy(self.rows.targets()).to(queries.device)
        step = max(1, WORK_BYTES // (4 * max(len(queries), self.rows.width)))
        for start in range(0, len(self.rows), step):
            part = self._directions(self.rows.read(start, min(start + step, len(self.rows))))
            cosine = queries @ part.T
            near, place = cosine.topk(min(count, len(part)), dim=1)
            best = torch.cat([best, near], dim=1)
            labels = torch.cat([labels, targets[start + place]], dim=1)
            best, place = best.topk(min(count, best.shape[1]), dim=1)
            labels = labels.gather(1, place)
        return best, labels

    def _directions(self, block: np.ndarray) -> Tensor:
        """Return rows standardised and of length 1."""
        rows = torch.from_numpy(block).to(self.mean.device)
        return F.normalize((rows - self.mean) / self.scale, dim=1)


def refit(rows: Rows, n_classes: int, *, device: str = "cpu") -> Neighbours:
    """Return neighbours to look among: nothing is trained but the standardisation.

    Args:
        rows: to look among.
        n_classes: number of classes of the task.
        device: torch device that does the work.

    Raises:
        ProbeError: there is no row, a label is out of range, or a feature is not finite.
    """
    check_training([rows], n_classes)
    mean, scale = (torch.from_numpy(values).to(device) for values in rows.moments())
    return Neighbours(rows, mean, scale, n_classes)


def choose(train: Rows, valid: Rows, n_classes: int, *, device: str = "cpu") -> Choice:
    """Choose the number of neighbours that is most accurate on valid; of a tie the largest.

    Args:
        train: rows to look among.
        valid: rows to choose on.
        n_classes: number of classes of the task.
        device: torch device that does the work.

    Raises:
        ProbeError: there are no rows to look among or to choose on.
    """
    check_validation([valid])
    with torch.inference_mode():
        found = refit(train, n_classes, device=device).predict(valid, COUNTS)
    accuracy = 100.0 * (found == valid.targets()).mean(axis=1)
    curve = tuple(zip(COUNTS, accuracy.tolist(), strict=True))
    return Choice(max(count for count, value in curve if value == accuracy.max()), curve)


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

    choices = [
        choose(view(fold.train), view(fold.valid), n_classes, device=device) for fold in folds
    ]
    among = [refit(view(fold.development), n_classes, device=device) for fold in folds]

    def classify(place: int, rows: Rows) -> np.ndarray:
        with torch.inference_mode():
            return among[place].predict(rows, [int(choices[place].value)])[0]

    return outcome(embeddings, labels, folds, choices, classify)
