"""The protocol "knn-1": the nearest training rows by cosine vote; only their number is selected.

Rows are standardized by the training rows, as for the linear probe, then compared by cosine. A
neighbor's vote weighs 1 + cosine, so that of two classes with as many neighbors the nearer wins.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmark.probes.rows import (
    Examples,
    ProbeResult,
    Rows,
    Selection,
    check_training,
    check_validation,
    predict_test,
)

PROTOCOL = "knn-1"
"""Changes whenever the same embeddings could score otherwise; results then no longer mix."""
COUNTS = (1, 3, 5, 10, 20, 50, 100)
"""Numbers of neighbors that are compared; with fewer training rows all of them vote."""
WORK_BYTES = 1 << 24
"""Size of one block of rows and of one block of cosines; a few of each live at a time."""


class Neighbors:
    """Rows to search, with their statistics: nothing is trained but the standardization."""

    def __init__(self, rows: Rows, n_classes: int, *, device: str = "cpu") -> None:
        check_training([rows], n_classes)
        self.rows, self.n_classes = rows, n_classes
        self.mean, self.scale = (torch.from_numpy(x).to(device) for x in rows.moments())

    @torch.inference_mode()
    def predict(self, queries: Rows, counts: Sequence[int]) -> np.ndarray:
        """Return the classes of n rows by so many neighbors each, int64 `[C, n]`."""
        classes = []
        for block in queries.blocks(WORK_BYTES):
            cosine, label = self._nearest(self._directions(block), max(counts))
            none = torch.zeros(len(cosine), self.n_classes, device=cosine.device)
            votes = (none.scatter_add(1, label[:, :k], 1.0 + cosine[:, :k]) for k in counts)
            classes.append(torch.stack([each.argmax(dim=1) for each in votes]).cpu().numpy())
        return np.concatenate(classes, axis=1)

    def _nearest(self, queries: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Return cosines and labels of the nearest rows, nearest first, `[n, count or fewer]`."""
        best = queries.new_zeros(len(queries), 0)
        labels = torch.zeros(len(queries), 0, dtype=torch.int64, device=queries.device)
        targets = torch.from_numpy(self.rows.targets()).to(queries.device)
        step = max(1, WORK_BYTES // (4 * max(len(queries), self.rows.width)))
        for start in range(0, len(self.rows), step):
            block = self._directions(self.rows.read(start, min(start + step, len(self.rows))))
            cosine, index = (queries @ block.T).topk(min(count, len(block)), dim=1)
            best = torch.cat([best, cosine], dim=1)
            labels = torch.cat([labels, targets[start + index]], dim=1)
            best, index = best.topk(min(count, best.shape[1]), dim=1)
            labels = labels.gather(1, index)
        return best, labels

    def _directions(self, block: np.ndarray) -> Tensor:
        """Return rows standardized and of length 1."""
        rows = torch.from_numpy(block).to(self.mean.device)
        return F.normalize((rows - self.mean) / self.scale, dim=1)


def select(train: Rows, valid: Rows, n_classes: int, *, device: str = "cpu") -> Selection:
    """Select the number of neighbors that is most accurate on valid; a tie goes to the largest."""
    check_validation([valid])
    predicted = Neighbors(train, n_classes, device=device).predict(valid, COUNTS)
    accuracy = 100.0 * (predicted == valid.targets()).mean(axis=1)
    curve = tuple(zip(COUNTS, accuracy.tolist(), strict=True))
    return Selection(max(count for count, value in curve if value == accuracy.max()), curve)


def evaluate(data: Examples, *, device: str = "cpu", seed: int = 0) -> ProbeResult:
    """Return a prediction for every row that a fold tests; see `protocols.Evaluate`."""
    selections, neighbors = [], []
    for train, valid, development in data.parts():
        selections.append(select(train, valid, data.n_classes, device=device))
        neighbors.append(Neighbors(development, data.n_classes, device=device))

    def classify(fold: int, rows: Rows) -> np.ndarray:
        return neighbors[fold].predict(rows, [int(selections[fold].value)])[0]

    return predict_test(data, selections, classify)
