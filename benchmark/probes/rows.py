"""Rows of an embedding array that are read only when asked for, and their statistics."""

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

BLOCK_BYTES = 1 << 26
"""Bytes of one block of rows when an array is streamed: large enough for full matrix speed."""


class ProbeError(ValueError):
    """Embeddings, labels or strengths on which no probe can be trained."""


@dataclass(frozen=True)
class Rows:
    """The rows `index` of an embedding array, a view that reads nothing by itself.

    Args:
        features: embeddings, float32, possibly memory-mapped.
        labels: class numbers of all clips, each in [0, number of classes).
        index: the rows meant, ascending.

    Shape:
        features `[N, D]`, labels `[N]`, index `[n]`.
    """

    features: np.ndarray
    labels: np.ndarray
    index: np.ndarray

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.index)

    @property
    def width(self) -> int:
        """The number of features."""
        return int(self.features.shape[1])

    def targets(self) -> np.ndarray:
        """Return the class numbers of these rows, int64 `[n]`."""
        return np.asarray(self.labels[self.index], dtype=np.int64)

    def read(self, start: int, stop: int) -> np.ndarray:
        """Return rows start to stop of the view as a fresh float32 array `[stop - start, D]`."""
        wanted = self.index[start:stop]
        if len(wanted) and wanted[-1] - wanted[0] == len(wanted) - 1:
            # A run of neighbours is one copy; a memory map reads it in order.
            return np.array(self.features[wanted[0] : wanted[-1] + 1], dtype=np.float32)
        return np.asarray(self.features[wanted], dtype=np.float32)

    def take(self, places: np.ndarray) -> np.ndarray:
        """Return rows of the view by their places `[m]`, in any order, float32 `[m, D]`."""
        return np.asarray(self.features[self.index[places]], dtype=np.float32)

    def blocks(self, block_bytes: int = BLOCK_BYTES) -> Iterator[np.ndarray]:
        """Yield all rows in order, a block of about `block_bytes` at a time."""
        step = max(1, block_bytes // (4 * self.width))
        for start in range(0, len(self), step):
            yield self.read(start, min(start + step, len(self)))

    def release(self) -> None:
        """Give the pages of a memory map that were read back to the system; they can be read again.

        They count as this process's memory otherwise, beside the copy that was made of them.
        """
        mapped = getattr(self.features, "_mmap", None)
        if isinstance(mapped, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
            mapped.madvise(mmap.MADV_DONTNEED)

    def sample(self, count: int) -> np.ndarray:
        """Return at most `count` rows spread evenly over the view, float32."""
        chosen = np.unique(np.linspace(0, len(self) - 1, min(count, len(self))).astype(np.int64))
        return self.take(chosen)

    def moments(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean and the standard deviation of each feature over these rows.

        A feature that never changes gets the deviation 1, as in scikit-learn's StandardScaler, so
        that it becomes zero and not a division by zero.

        Shape:
            two float32 arrays `[D]`.

        Raises:
            ProbeError: there is no row, or a value is not finite.
        """
        if not len(self):
            raise ProbeError("no rows to train on: the split's training part is empty")
        # Sums are taken about the first row, in double precision: the plain sum of squares loses
        # all its digits where a feature's mean is large beside its deviation.
        shift = self.read(0, 1)[0]
        total = np.zeros(self.width)
        square = np.zeros(self.width)
        for block in self.blocks():
            block -= shift
            total += block.sum(axis=0, dtype=np.float64)
            square += np.einsum("nd,nd->d", block, block, dtype=np.float64)
        mean = total / len(self)
        variance = np.maximum(square / len(self) - mean**2, 0.0)
        if not np.isfinite(variance).all():
            bad = int(np.flatnonzero(~np.isfinite(variance))[0])
            raise ProbeError(
                f"feature {bad} holds values that are not finite: check the embeddings"
            )
        deviation = np.sqrt(variance)
        # A constant feature keeps a residue of rounding, in proportion to its size.
        deviation[deviation <= 1e-7 * np.abs(mean + shift)] = 1.0
        return (mean + shift).astype(np.float32), deviation.astype(np.float32)


def every_row(features: np.ndarray) -> Rows:
    """Return all rows of an array as a view, for which no labels are known.

    Shape:
        features `[n, D]`.
    """
    rows = np.arange(len(features))
    return Rows(features, np.full_like(rows, -1), rows)


def check_training(folds: Sequence[Rows], n_classes: int) -> None:
    """Raise where nothing can be trained.

    Args:
        folds: the training rows of each fold.
        n_classes: number of classes of the task.

    Raises:
        ProbeError: a fold has no rows, or a label is out of range.
    """
    for number, rows in enumerate(folds, start=1):
        if not len(rows):
            raise ProbeError(f"fold {number} of {len(folds)} has no training rows")
        targets = rows.targets()
        if targets.min() < 0 or targets.max() >= n_classes:
            wrong = targets[(targets < 0) | (targets >= n_classes)][0]
            raise ProbeError(f"label {wrong} is not one of the {n_classes} classes")


def check_validation(folds: Sequence[Rows]) -> None:
    """Raise ProbeError where the validation rows of a fold are none."""
    for number, rows in enumerate(folds, start=1):
        if not len(rows):
            raise ProbeError(f"fold {number} of {len(folds)} has no validation rows to choose on")
