"""Inputs and outputs of probes: rows of an embedding array, a selection, a result."""

import mmap
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmark.data.clip import BenchmarkError
from benchmark.data.split import Fold

BLOCK_BYTES = 1 << 26
"""Size of one block of rows, or of its logits: large enough for full matrix speed."""
RESIDENT_BYTES = {"cpu": 1 << 31, "cuda": 1 << 34}
"""Maximum size of features that stay on the device during training; larger ones are streamed."""
STREAM_BYTES = 1 << 24
"""Size of a block of features that is read again in every iteration. Above 32 MiB the C library
returns freed memory to the system, and page faults took a third of an iteration."""
ROTATION_LIMIT = 4096
"""Largest eigenvalue problem worth solving: 10 to 20 s on 2 cores, growing as the cube."""
AXES_ROWS = 20_000
"""Rows from which axes are estimated; axes change the speed of the optimization, not its result."""


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

        Otherwise they count as memory of this process, in addition to the copy made of them.
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
    #: more values for the record of the fold in the result; plain JSON values
    details: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ProbeResult:
    """The result of a protocol on a task."""

    rows: np.ndarray  #: the rows tested, ascending `[n]`
    predicted: np.ndarray  #: the class index of each by the fold that tested it `[n]`
    selections: tuple[Selection, ...]  #: one per fold
    converged: bool  #: whether every classifier reached its tolerance
    #: (index of a fold, embeddings `[m, D]`) -> class indices int64 `[m]` by the classifier of that
    #: fold; the embeddings must be raw, neither standardized nor normalized
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
    """Read the test rows of every fold, once, and return the predictions of its classifier."""
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


class Features:
    """The features of every fold, standardized by its rows, with a column of ones for the bias.

    They are rotated to the principal axes of the fold: the L2 penalty is invariant to rotations,
    and in these axes the Hessian of a linear probe is nearly diagonal. Features that fit into
    memory are kept rotated; larger ones are streamed without rotation, and the weights are rotated
    instead.

    Args:
        folds: the training rows of each fold.
        device: torch device that does the work.
        axes: orthonormal axes `[F, D, D]` of earlier rows to use again; None computes new ones.

    Shape:
        mean and scale `[F, D]`; share `[F, n]`; axes `[F, D, R - 1]`; variance `[F, R]`; resident
        `[F, n, R]`.
    """

    def __init__(self, folds: Sequence[Rows], device: str, axes: Tensor | None = None) -> None:
        self.folds, self.device = folds, torch.device(device)
        moments = [rows.moments() for rows in folds]
        self.mean, self.scale = (
            torch.from_numpy(np.stack(x)).to(device) for x in zip(*moments, strict=True)
        )
        self.sizes = torch.tensor([len(rows) for rows in folds], dtype=torch.float64)
        self.length = max(len(rows) for rows in folds)
        # A row's share of its fold's mean; rows that only fill up a shorter fold have none.
        share = torch.zeros(len(folds), self.length)
        for fold, rows in enumerate(folds):
            share[fold, : len(rows)] = 1.0 / len(rows)
        self.share = share.to(device)
        # None where rows and features both are too many for an eigenvalue problem: a search then
        # takes more iterations.
        self.axes, variance = self._principal_axes(axes)
        self.variance = torch.cat([variance, torch.ones_like(variance[:, :1])], dim=1)
        resident_bytes = RESIDENT_BYTES.get(self.device.type, RESIDENT_BYTES["cpu"])
        fits = 4 * len(folds) * self.length * self.variance.shape[1] <= resident_bytes
        self.resident: Tensor | None = None  # features are streamed
        if fits:
            kept = torch.ones(len(folds), self.length, self.variance.shape[1], device=self.device)
            for part, block in self.blocks(0):
                features = block[..., :-1]
                kept[:, part, :-1] = features if self.axes is None else features @ self.axes
                for rows in folds:
                    rows.release()
            self.resident = kept

    def to_axes(self, weights: Tensor) -> Tensor:
        """Rotate weights `[F, D + 1, M, J]`, the bias last, to the axes `[F, R, M, J]`."""
        return _rotate(None if self.axes is None else self.axes.transpose(1, 2), weights)

    def from_axes(self, weights: Tensor) -> Tensor:
        """Rotate weights `[F, R, M, J]`, the bias last, back to features `[F, D + 1, M, J]`."""
        return _rotate(self.axes, weights)

    def blocks(self, columns: int) -> Iterator[tuple[slice, Tensor]]:
        """Yield slices of rows and their features, `[F, b, R]`, or `[F, b, D + 1]` if streamed.

        A row has so many `columns` of logits, over all folds.
        """
        size = STREAM_BYTES if self.resident is None else BLOCK_BYTES
        step = max(1, size // (4 * max(columns, len(self.folds) * self.mean.shape[1])))
        for start in range(0, self.length, step):
            part = slice(start, min(start + step, self.length))
            if self.resident is not None:
                yield part, self.resident[:, part]
                continue
            folds, width = self.mean.shape
            block = torch.ones(folds, part.stop - start, width + 1, device=self.device)
            for fold, rows in enumerate(self.folds):
                some = torch.from_numpy(rows.read(start, part.stop)).to(self.device)
                block[fold, : len(some), :-1] = some.sub_(self.mean[fold]).div_(self.scale[fold])
                block[fold, len(some) :] = 0.0  # beyond a fold's end
            yield part, block

    def _principal_axes(self, earlier: Tensor | None) -> tuple[Tensor | None, Tensor]:
        """Return orthonormal axes `[F, D, R - 1]` and the variances along them `[F, R - 1]`."""
        width = self.mean.shape[1]
        if earlier is not None and (self.length < width or earlier.shape[1] != earlier.shape[2]):
            earlier = None  # only square axes lose nothing, whichever rows they come from
        count = min(width, self.length)
        if count > ROTATION_LIMIT:
            return None, torch.ones(len(self.folds), width, device=self.device)
        axes = torch.zeros(len(self.folds), width, count, device=self.device)
        variance = torch.zeros(len(self.folds), count, device=self.device)
        threads = torch.get_num_threads()
        # Eigenvalue problems of this size gain nothing from threads, and stall for seconds where
        # other work holds a core; folds side by side do gain.
        with ThreadPoolExecutor(threads, initializer=partial(torch.set_num_threads, 1)) as pool:
            results = list(pool.map(partial(self._axes_of, earlier), range(len(self.folds))))
        torch.set_num_threads(threads)
        for fold, (fold_axes, along) in enumerate(results):
            axes[fold, :, : len(along)] = fold_axes
            variance[fold, : len(along)] = along
        return axes, variance

    def _axes_of(self, earlier: Tensor | None, fold: int) -> tuple[Tensor, Tensor]:
        """Return one fold's axes `[D, r]` and variances `[r]`; r is the lesser of rows and D.

        With fewer rows than features the axes span the rows: the best weights lie there, for any
        part outside would cost penalty and change no logit.
        """
        rows = self.folds[fold]
        wide = len(rows) < rows.width
        sample = torch.from_numpy(rows.sample(len(rows) if wide else AXES_ROWS))
        sample = (sample.to(self.device) - self.mean[fold]) / self.scale[fold]
        if earlier is not None:
            return earlier[fold], (sample @ earlier[fold]).square().mean(dim=0)
        if not wide:
            return _eigenvectors(sample.T @ sample / len(sample))
        basis, triangle = torch.linalg.qr(sample.T)
        axes, variance = _eigenvectors(triangle @ triangle.T / len(sample))
        return basis @ axes, variance


def _eigenvectors(covariance: Tensor) -> tuple[Tensor, Tensor]:
    """Return the eigenvectors and eigenvalues of a matrix, or its own axes and diagonal.

    Features that repeat make eigenvalues repeat, for which the solver may not converge. Any axes
    do: they change the speed of a search, not its result.
    """
    for matrix in (covariance, covariance.double()):
        try:
            variance, axes = (x.to(covariance.dtype) for x in torch.linalg.eigh(matrix))
        except torch.linalg.LinAlgError:
            continue
        if axes.isfinite().all():
            return axes, variance.clamp(min=0.0)
    return torch.eye(len(covariance)).to(covariance), covariance.diagonal().clone()


def _rotate(axes: Tensor | None, weights: Tensor) -> Tensor:
    """Multiply all but the bias by one matrix per fold, `[F, A, B]` and `[F, B + 1, M, J]`."""
    if axes is None:
        return weights
    rotated = torch.bmm(axes, weights[:, :-1].flatten(2)).unflatten(2, weights.shape[2:])
    return torch.cat([rotated, weights[:, -1:]], dim=1)
