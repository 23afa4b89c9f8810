"""The loss of softmax regression over blocks of rows, for many folds and values of C at once."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from benchmark.probes.rows import Rows

WORK_BYTES = 1 << 26
"""Size of one block's logits; up to four such arrays live at a time."""
STREAM_BYTES = 1 << 24
"""Size of a block of features that is read anew in every iteration. Above 32 MiB the C library
gives freed memory back to the system, and a third of an iteration's time went in page faults."""
ROTATION_LIMIT = 4096
"""Largest eigenvalue problem worth solving: 10 to 20 s on 2 cores, growing as the cube."""
AXES_ROWS = 20_000
"""Rows from which axes are estimated: they change the speed of a search, not its result."""


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


class Features:
    """Every fold's features, standardized by its own rows, and a last feature of ones for the bias.

    They are rotated to the fold's principal axes: an L2 penalty does not notice a rotation, and
    there the Hessian of a linear probe is nearly diagonal. Features that fit are kept rotated;
    larger ones are streamed, unrotated, and the weights are rotated instead.

    Args:
        folds: the training rows of each fold.
        device: torch device that does the work.
        resident_bytes: features up to this size are kept on the device.
        axes: orthonormal axes `[F, D, D]` of earlier rows to use again; None computes new ones.

    Shape:
        mean and scale `[F, D]`; axes `[F, D, R - 1]`; variance `[F, R]`; resident `[F, n, R]`.
    """

    def __init__(
        self,
        folds: Sequence[Rows],
        device: torch.device,
        resident_bytes: float,
        axes: Tensor | None = None,
    ) -> None:
        self.folds, self.device = folds, device
        moments = [rows.moments() for rows in folds]
        self.mean, self.scale = (
            torch.from_numpy(np.stack(x)).to(device) for x in zip(*moments, strict=True)
        )
        self.length = max(len(rows) for rows in folds)
        # None where rows and features both are too many for an eigenvalue problem: a search then
        # takes more iterations.
        self.axes, variance = self._principal_axes(axes)
        self.variance = torch.cat([variance, torch.ones_like(variance[:, :1])], dim=1)
        self.resident: Tensor | None = None  # features are streamed
        if 4 * len(folds) * self.length * self.variance.shape[1] <= resident_bytes:
            self.resident = self._rotated()

    def to_axes(self, weights: Tensor) -> Tensor:
        """Rotate weights `[F, D + 1, S, K]`, the bias last, to the axes `[F, R, S, K]`."""
        return _rotate(None if self.axes is None else self.axes.transpose(1, 2), weights)

    def from_axes(self, weights: Tensor) -> Tensor:
        """Rotate weights `[F, R, S, K]`, the bias last, back to features `[F, D + 1, S, K]`."""
        return _rotate(self.axes, weights)

    def blocks(self, columns: int) -> Iterator[tuple[slice, Tensor]]:
        """Yield slices of rows and their features, `[F, b, R]`, or `[F, b, D + 1]` if streamed.

        A row has so many `columns` of logits, over all folds.
        """
        size = STREAM_BYTES if self.resident is None else WORK_BYTES
        step = max(1, size // (4 * max(columns, len(self.folds) * self.mean.shape[1])))
        for start in range(0, self.length, step):
            rows = slice(start, min(start + step, self.length))
            if self.resident is not None:
                yield rows, self.resident[:, rows]
            else:
                yield rows, nn.functional.pad(self._standardized(rows), (0, 1), value=1.0)

    def _standardized(self, block_rows: slice) -> Tensor:
        """Return a slice of each fold's rows, zero beyond a fold's end, `[F, b, D]`."""
        start, stop = block_rows.start, block_rows.stop
        block = torch.zeros(len(self.folds), stop - start, self.mean.shape[1], device=self.device)
        for fold, rows in enumerate(self.folds):
            part = torch.from_numpy(rows.read(start, stop)).to(self.device)
            block[fold, : len(part)] = part.sub_(self.mean[fold]).div_(self.scale[fold])
        return block

    def _rotated(self) -> Tensor:
        """Return all folds' features in their axes with the bias's ones, `[F, n, R]`."""
        width = self.variance.shape[1]
        kept = torch.ones(len(self.folds), self.length, width, device=self.device)
        step = max(1, WORK_BYTES // (4 * len(self.folds) * self.mean.shape[1]))
        for start in range(0, self.length, step):
            part = slice(start, min(start + step, self.length))
            block = self._standardized(part)
            kept[:, part, :-1] = block if self.axes is None else torch.bmm(block, self.axes)
            for rows in self.folds:
                rows.release()
        return kept

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


class SoftmaxLoss:
    """Mean cross-entropy plus L2 penalty, and its gradient, in each fold's principal axes.

    There the Hessian at zero weights is about variance / K + 1 / (C n) on the diagonal. Variables
    are scaled by the inverse root of that, and the search sees round valleys.

    Shape:
        c `[F, S]`; points and gradients `[F, S, R K]`, where R counts the axes and the bias.
    """

    def __init__(self, features: Features, c: np.ndarray, n_classes: int) -> None:
        self.features, self.n_classes = features, n_classes
        folds, device = features.folds, features.device
        # A row's share of its fold's mean; rows that only fill up a shorter fold have none.
        share = torch.zeros(len(folds), features.length)
        labels = torch.zeros_like(share, dtype=torch.int64)
        # A class without training rows is left out of the sum: its bias would run to infinity.
        absent = torch.full((len(folds), n_classes), -torch.inf)
        for fold, rows in enumerate(folds):
            targets = torch.from_numpy(rows.targets())
            # Filling rows get a label that is there: no share of an absent one's infinity is NaN.
            labels[fold] = targets[0]
            labels[fold, : len(rows)] = targets
            share[fold, : len(rows)] = 1.0 / len(rows)
            absent[fold, targets] = 0.0
        self.labels, self.share, self.absent = (x.to(device) for x in (labels, share, absent))
        self.incomplete = bool(torch.isinf(absent).any())
        sizes = torch.tensor([len(rows) for rows in folds], dtype=torch.float64)
        self.l2 = (1.0 / (sizes[:, None] * torch.from_numpy(c))).to(device)
        curvature = features.variance[:, None] / n_classes + self.l2[..., None].float()
        curvature[..., -1] = 1.0 / n_classes  # the bias: variance 1 and no penalty
        self.scaling = curvature.rsqrt()

    def at_zero(self) -> Tensor:
        """Return the values at zero weights, `[F, S]`: the logarithm of the classes present."""
        present = torch.isfinite(self.absent).sum(dim=1, dtype=torch.float64)
        return present.log()[:, None].repeat(1, self.l2.shape[1])

    def points(self, weights: Tensor, bias: Tensor) -> Tensor:
        """Return the points of weights `[F, D, S, K]` and biases `[F, S, K]`."""
        finite = torch.where(torch.isfinite(bias), bias, 0.0)[:, None]
        rotated = self.features.to_axes(torch.cat([weights, finite], dim=1))
        return (rotated.permute(0, 2, 1, 3) / self.scaling[..., None]).flatten(2)

    def weights(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights of standardized features `[F, D, S, K]` and the biases `[F, S, K]`."""
        every = torch.arange(points.shape[1], device=points.device)
        weights = self.features.from_axes(self._unscaled(points, every))
        return weights[:, :-1], weights[:, -1] + self.absent[:, None]

    def __call__(self, points: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Return the values `[F, S']`, float64, and the gradients of the active columns of C."""
        weights = self._unscaled(points, columns)
        if self.features.resident is None:
            weights = self.features.from_axes(weights)
        value, gradient = self._cross_entropy(weights)
        if self.features.resident is None:
            gradient = self.features.to_axes(gradient)
        scale = self.scaling[:, columns]
        gradient = gradient.permute(0, 2, 1, 3) * scale[..., None]
        # The penalty of a scaled variable: the bias's is zero.
        l2 = self.l2[:, columns, None].float() * scale.square()
        l2[..., -1] = 0.0
        pull = l2[..., None] * points.unflatten(2, (-1, self.n_classes))
        gradient += pull
        value += 0.5 * (pull.flatten(2) * points).sum(2, dtype=torch.float64)
        return value, gradient.flatten(2)

    def _unscaled(self, points: Tensor, columns: Tensor) -> Tensor:
        """Return points in the axes' own units, `[F, S', R K] -> [F, R, S', K]`."""
        points = points.unflatten(2, (-1, self.n_classes))
        return (points * self.scaling[:, columns, :, None]).permute(0, 2, 1, 3).contiguous()

    def _cross_entropy(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean cross-entropy `[F, S]` and its gradient by the weights `[F, R, S, K]`."""
        n_columns = weights.shape[2]
        packed = weights.flatten(2)
        # Kept transposed: of few columns, features' x slope takes ten times as long as slope' x
        # features.
        gradient = torch.zeros_like(packed.transpose(1, 2), memory_format=torch.contiguous_format)
        value = torch.zeros(len(packed), n_columns, dtype=torch.float64, device=packed.device)
        for rows, features in self.features.blocks(packed.shape[0] * packed.shape[2]):
            logits = torch.bmm(features, packed).unflatten(2, weights.shape[2:])
            if self.incomplete:
                logits += self.absent[:, None, None]
            labels = self.labels[:, rows, None, None].expand(-1, -1, n_columns, 1)
            share = self.share[:, rows, None, None]
            logits = torch.log_softmax(logits, dim=3)
            right = logits.gather(3, labels)
            value -= (right * share).sum(dim=(1, 3), dtype=torch.float64)
            slope = logits.exp_().mul_(share)
            slope.scatter_add_(3, labels, -share.expand(-1, -1, n_columns, 1))
            gradient.baddbmm_(slope.flatten(2).transpose(1, 2), features)
        return value, gradient.transpose(1, 2).unflatten(2, weights.shape[2:])


def _rotate(axes: Tensor | None, weights: Tensor) -> Tensor:
    """Multiply all but the bias by one matrix per fold, `[F, A, B]` and `[F, B + 1, S, K]`."""
    if axes is None:
        return weights
    rotated = torch.bmm(axes, weights[:, :-1].flatten(2)).unflatten(2, weights.shape[2:])
    return torch.cat([rotated, weights[:, -1:]], dim=1)
