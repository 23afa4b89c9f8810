"""What every probe reads and returns: rows of an embedding array, a selection, a result."""

import mmap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmark.data.clip import BenchmarkError
from benchmark.data.split import Fold

BLOCK_BYTES = 1 << 26
"""Bytes of one block of rows when an array is streamed: large enough for full matrix speed."""


class ProbeError(BenchmarkError):
    """Embeddings, labels or settings on which no probe can be trained."""


@dataclass(frozen=True)
class Rows:
    """The rows `index` of an embedding array: a view that reads nothing by itself."""

    features: np.ndarray  #: embeddings `[N, D]`, float32, possibly memory-mapped
    labels: np.ndarray  #: class indices of all clips `[N]`, each in [0, number of classes)
    index: np.ndarray  #: of these rows, ascending `[n]`

    def __len__(self) -> int:
        return len(self.index)

    @property
    def width(self) -> int:
        """The number of features D."""
        return int(self.features.shape[1])

    def targets(self) -> np.ndarray:
        """Return the class indices of these rows, int64 `[n]`."""
        return np.asarray(self.labels[self.index], dtype=np.int64)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return rows start to stop of the view as a fresh float32 array `[stop - start, D]`."""
        index = self.index[start:stop]
        if len(index) and index[-1] - index[0] == len(index) - 1:
            # Consecutive rows are one copy; a memory map reads it in order.
            return np.array(self.features[index[0] : index[-1] + 1], dtype=np.float32)
        return np.asarray(self.features[index], dtype=np.float32)

    def take(self, positions: np.ndarray) -> np.ndarray:
        """Return rows of the view by position `[m]`, in any order, float32 `[m, D]`."""
        return np.asarray(self.features[self.index[positions]], dtype=np.float32)

    def blocks(self, block_bytes: int = BLOCK_BYTES) -> Iterator[np.ndarray]:
        """Yield all rows in order, about `block_bytes` at a time; of no rows an empty block."""
        step = max(1, block_bytes // (4 * self.width))
        for start in range(0, max(1, len(self)), step):
            yield self.read(start, min(start + step, len(self)))

    def release(self) -> None:
        """Let the system drop the pages of a memory map that were read; they can be read again.

        Otherwise they count as this process's memory, as does the copy that was made of them.
        """
        mapped = getattr(self.features, "_mmap", None)
        if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)

    def sample(self, count: int) -> np.ndarray:
        """Return at most `count` rows spread evenly over the view, float32."""
        positions = np.linspace(0, len(self) - 1, min(count, len(self)))
        return self.take(np.unique(positions.astype(np.int64)))

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean and the standard deviation of each feature, float32 `[D]`.

        A constant feature gets the deviation 1, as in scikit-learn's StandardScaler, so that it
        becomes zero and not a division by zero.
        """
        if not len(self):
            raise ProbeError("no rows to train on: the split's training part is empty")
        # Sums are taken about the first row, in double precision: the plain sum of squares loses
        # all its digits where a feature's mean is large against its deviation.
        shift = self.read(0, 1)[0]
        total, square = np.zeros(self.width), np.zeros(self.width)
        for block in self.blocks():
            block -= shift
            total += block.sum(axis=0, dtype=np.float64)
            square += np.einsum("nd,nd->d", block, block, dtype=np.float64)
        mean = total / len(self)
        variance = np.maximum(square / len(self) - mean**2, 0.0)
        if not np.isfinite(variance).all():
            bad = int(np.flatnonzero(~np.isfinite(variance))[0])
            raise ProbeError(f"feature {bad} holds NaN or infinite values: check the embeddings")
        deviation = np.sqrt(variance)
        # A constant feature keeps a residue of rounding, in proportion to its size.
        deviation[deviation <= 1e-7 * np.abs(mean + shift)] = 1.0
        return (mean + shift).astype(np.float32), deviation.astype(np.float32)


def every_row(features: np.ndarray) -> Rows:
    """Return all rows of an array `[n, D]` as a view without labels."""
    index = np.arange(len(features))
    return Rows(features, np.full_like(index, -1), index)


def check_training(folds: Sequence[Rows], n_classes: int) -> None:
    """Raise ProbeError where a fold has no training rows or a label is out of range."""
    for number, rows in enumerate(folds, start=1):
        if not len(rows):
            raise ProbeError(f"fold {number} of {len(folds)} has no training rows")
        targets = rows.targets()
        if targets.min() < 0 or targets.max() >= n_classes:
            wrong = targets[(targets < 0) | (targets >= n_classes)][0]
            raise ProbeError(f"label {wrong} is not one of the {n_classes} classes")


def check_validation(folds: Sequence[Rows]) -> None:
    """Raise ProbeError where a fold has no validation rows."""
    for number, rows in enumerate(folds, start=1):
        if not len(rows):
            raise ProbeError(f"fold {number} of {len(folds)} has no validation rows to select on")


@dataclass(frozen=True)
class Selection:
    """The setting selected on the validation rows of one fold."""

    value: float  #: of the setting that the protocol compares, such as the probe's C
    #: (value, accuracy on the validation rows in percent), in the order compared
    curve: tuple[tuple[float, float], ...]
    converged: bool = True  #: whether everything that was compared reached its tolerance
    #: what else the result's record of the fold should hold; plain JSON values
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ProbeResult:
    """The result of a protocol on a task."""

    rows: np.ndarray  #: the rows tested, ascending `[n]`
    predicted: np.ndarray  #: the class index of each by the fold that tested it `[n]`
    selections: tuple[Selection, ...]  #: one per fold
    converged: bool  #: whether every head reached its tolerance
    #: (index of a fold, embeddings `[m, D]`) -> class indices int64 `[m]` by that fold's head. The
    #: embeddings must be raw, neither standardized nor normalized
    predict: Callable[[int, np.ndarray], np.ndarray]
    #: of the protocol, for the result's provenance; plain JSON values
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Examples:
    """Embeddings with labels, and the folds in which they train, select and test."""

    embeddings: np.ndarray  #: possibly memory-mapped `[n, D]`
    labels: np.ndarray  #: class indices `[n]`
    folds: Sequence[Fold]  #: whose test rows do not overlap
    n_classes: int  #: of the task, whether or not all have rows

    def parts(self) -> Iterator[tuple[Rows, Rows, Rows]]:
        """Yield the training, validation and development rows of each fold: all but its test."""
        for fold in self.folds:
            train, valid, development = (
                Rows(self.embeddings, self.labels, index)
                for index in (fold.train, fold.valid, fold.development)
            )
            yield train, valid, development


def predict_test(
    data: Examples, selections: Sequence[Selection], classify: Callable[[int, Rows], np.ndarray]
) -> ProbeResult:
    """Read the test rows of every fold, once, and return the predictions of its finished head."""
    predicted = np.full(len(data.labels), -1, dtype=np.int64)
    for i, fold in enumerate(data.folds):
        predicted[fold.test] = classify(i, Rows(data.embeddings, data.labels, fold.test))
    rows = np.sort(np.concatenate([fold.test for fold in data.folds]))
    return ProbeResult(
        rows,
        predicted[rows],
        tuple(selections),
        all(selection.converged for selection in selections),
        lambda i, others: classify(i, every_row(others)),
    )
