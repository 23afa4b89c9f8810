"""The loss of softmax regression over blocks of rows, for many folds and strengths at once."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from torch import Tensor

from benchmark.probes.axes import AXES_ROWS, principal_axes
from benchmark.probes.rows import Rows

WORK_BYTES = 1 << 26
"""Size of one block's logits; up to four such arrays live at a time."""
STREAM_BYTES = 1 << 24
"""Size of a block of features that is read anew in every round. Above 32 MiB the C library gives
freed memory back to the system, and a third of a round's time went in page faults."""
ROTATION_LIMIT = 4096
"""Largest eigenvalue problem worth solving: 10 to 20 s on 2 cores, growing as the cube."""


class SoftmaxLoss:
    """Mean cross-entropy plus penalty and its gradient, in each fold's principal axes.

    Features are standardised by each fold's own rows and rotated to their principal axes; a last
    feature that is always 1 carries the bias and is not penalised. The penalty does not notice a
    rotation, and there the Hessian at zero weights is nearly diagonal: variance / K + 1 / (C n). So
    variables are scaled by the inverse root of that diagonal, and the search sees round valleys.

    Args:
        folds: the training rows of each fold.
        strengths: scikit-learn's C, above 0.
        n_classes: number of classes K.
        device: torch device that does the work.
        resident_bytes: features up to this size are kept on the device, larger ones streamed.
        axes: orthonormal axes `[F, D, D]` of earlier rows to use again; None finds new ones.

    Shape:
        strengths `[F, S]`; points and gradients `[F, S, R K]`, where R counts the axes and the
        bias.
    """

    def __init__(
        self,
        folds: Sequence[Rows],
        strengths: np.ndarray,
        n_classes: int,
        device: torch.device,
        resident_bytes: int,
        axes: Tensor | None = None,
    ) -> None:
        """Take the statistics and the axes of each fold; keep the features if they fit."""
        self.folds, self.device, self.n_classes = folds, device, n_classes
        moments = [rows.moments() for rows in folds]
        self.mean = torch.from_numpy(np.stack([mean for mean, _ in moments])).to(device)
        self.scale = torch.from_numpy(np.stack([scale for _, scale in moments])).to(device)
        self.length = max(len(rows) for rows in folds)
        labels = torch.zeros(len(folds), self.length, dtype=torch.int64)
        # A row's share of its fold's mean; rows that only fill up a shorter fold have none.
        share = torch.zeros(len(folds), self.length)
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
        sizes = torch.tensor([len(rows) for rows in folds], dtype=torch.float64)
        self.penalty = (1.0 / (sizes[:, None] * torch.from_numpy(strengths))).to(device)
        self.incomplete = bool(torch.isinf(absent).any())
        self.axes, variance = self._principal_axes(axes)
        # 1 / sqrt of the Hessian's diagonal at zero weights; the bias's feature has variance 1.
        variance = torch.cat([variance, torch.ones_like(variance[:, :1])], dim=1)
        curvature = variance[:, None] / n_classes + self.penalty[..., None].float()
        curvature[..., -1] = 1.0 / n_classes
        self.scaling = curvature.rsqrt()
        self.resident: Tensor | None = None
        if 4 * len(folds) * self.length * self.width <= resident_bytes:
            self.resident = self._rotated()

    @property
    def width(self) -> int:
        """The number of variables R that a class has: the axes and the bias."""
        return self.scaling.shape[2]

    def at_zero(self, strengths: int) -> Tensor:
        """Return the values at zero weights, `[F, S]`: the logarithm of the classes present."""
        present = torch.isfinite(self.absent).sum(dim=1, dtype=torch.float64)
        return present.log()[:, None].repeat(1, strengths)

    def points(self, weights: Tensor, bias: Tensor) -> Tensor:
        """Return the points of given weights `[F, D, S, K]` and biases `[F, S, K]`."""
        turned = weights if self.axes is None else _turn(self.axes.transpose(1, 2), weights)
        known = torch.where(torch.isfinite(bias), bias, 0.0)[:, None]
        points = torch.cat([turned, known], dim=1).permute(0, 2, 1, 3)
        return (points / self.scaling[..., None]).flatten(2)

    def weights(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights of standardised features `[F, D, S, K]` and the biases `[F, S, K]`."""
        every = torch.arange(points.shape[1], device=self.device)
        turned = self._unscaled(points, every)
        weights = turned[:, :-1] if self.axes is None else _turn(self.axes, turned[:, :-1])
        return weights, turned[:, -1] + self.absent[:, None]

    def __call__(self, points: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Return the values `[F, S']`, float64, and the gradients of the kept strengths."""
        weights = self._unscaled(points, kept)
        turn = self.axes if self.resident is None else None
        if turn is not None:
            weights = torch.cat([_turn(turn, weights[:, :-1]), weights[:, -1:]], dim=1)
        value, gradient = self._cross_entropy(weights)
        if turn is not None:
            back = _turn(turn.transpose(1, 2), gradient[:, :-1])
            gradient = torch.cat([back, gradient[:, -1:]], dim=1)
        scale = self.scaling[:, kept]
        gradient = gradient.permute(0, 2, 1, 3) * scale[..., None]
        # The penalty of a scaled variable: the bias's is zero.
        penalty = self.penalty[:, kept, None].float() * scale.square()
        penalty[..., -1] = 0.0
        pull = penalty[..., None] * points.unflatten(2, (-1, self.n_classes))
        gradient += pull
        value += 0.5 * (pull.flatten(2) * points).sum(2, dtype=torch.float64)
        return value, gradient.flatten(2)

    def _unscaled(self, points: Tensor, kept: Tensor) -> Tensor:
        """Return points in the axes' own units, `[F, S', R K] -> [F, R, S', K]`."""
        points = points.unflatten(2, (-1, self.n_classes))
        return (points * self.scaling[:, kept, :, None]).permute(0, 2, 1, 3).contiguous()

    def _cross_entropy(self, weights: Tensor) -> tuple[Tensor, Tensor]:
        """Return the mean cross-entropy `[F, S]` and its gradient by the weights `[F, R, S, K]`."""
        strengths = weights.shape[2]
        packed = weights.flatten(2)
        # Kept transposed: of few columns, features' x slope takes ten times as long as slope' x
        # features.
        gradient = torch.zeros_like(packed.transpose(1, 2), memory_format=torch.contiguous_format)
        value = torch.zeros(len(packed), strengths, dtype=torch.float64, device=self.device)
        for where, features in self._blocks(packed.shape[0] * packed.shape[2]):
            logits = torch.bmm(features, packed).unflatten(2, weights.shape[2:])
            if self.incomplete:
                logits += self.absent[:, None, None]
            labels = self.labels[:, where, None, None].expand(-1, -1, strengths, 1)
            share = self.share[:, where, None, None]
            logits = torch.log_softmax(logits, dim=3)
            right = logits.gather(3, labels)
            value -= (right * share).sum(dim=(1, 3), dtype=torch.float64)
            slope = logits.exp_().mul_(share)
            slope.scatter_add_(3, labels, -share.expand(-1, -1, strengths, 1))
            gradient.baddbmm_(slope.flatten(2).transpose(1, 2), features)
        return value, gradient.transpose(1, 2).unflatten(2, weights.shape[2:])

    def _blocks(self, columns: int) -> Iterator[tuple[slice, Tensor]]:
        """Yield slices of rows and their features with the bias's ones, `[F, b, R]`.

        Args:
            columns: number of logits a row has, over all folds.
        """
        size = STREAM_BYTES if self.resident is None else WORK_BYTES
        step = max(1, size // (4 * max(columns, len(self.folds) * self.mean.shape[1])))
        for start in range(0, self.length, step):
            where = slice(start, min(start + step, self.length))
            if self.resident is not None:
                yield where, self.resident[:, where]
                continue
            block = self._standardised(where.start, where.stop)
            yield where, torch.cat([block, torch.ones_like(block[:, :, :1])], dim=2)

    def _standardised(self, start: int, stop: int) -> Tensor:
        """Return rows start to stop of each fold, zero beyond a fold's end, `[F, b, D]`."""
        shape = (len(self.folds), stop - start, self.mean.shape[1])
        block = torch.zeros(shape, device=self.device)
        for fold, rows in enumerate(self.folds):
            part = torch.from_numpy(rows.read(start, stop)).to(self.device)
            block[fold, : len(part)] = part.sub_(self.mean[fold]).div_(self.scale[fold])
        return block

    def _rotated(self) -> Tensor:
        """Return all folds' features in their axes with the bias's ones, `[F, n, R]`."""
        kept = torch.ones(len(self.folds), self.length, self.width, device=self.device)
        step = max(1, WORK_BYTES // (4 * len(self.folds) * self.mean.shape[1]))
        for start in range(0, self.length, step):
            block = self._standardised(start, min(start + step, self.length))
            turned = block if self.axes is None else torch.bmm(block, self.axes)
            kept[:, start : start + step, :-1] = turned
            for rows in self.folds:
                rows.release()
        return kept

    def _principal_axes(self, given: Tensor | None) -> tuple[Tensor | None, Tensor]:
        """Return orthonormal axes `[F, D, R - 1]` and the variances along them `[F, R - 1]`.

        Where rows and features both are too many for an eigenvalue problem there are no axes, and
        the search takes more rounds.
        """
        width = self.mean.shape[1]
        if given is not None and self.length < width:
            given = None
        if min(width, self.length) > ROTATION_LIMIT:
            return None, torch.ones(len(self.folds), width, device=self.device)
        count = min(width, self.length)
        axes = torch.zeros(len(self.folds), width, count, device=self.device)
        variance = torch.zeros(len(self.folds), count, device=self.device)
        threads = torch.get_num_threads()
        # Eigenvalue problems of this size gain nothing from threads, and stall for seconds where
        # other work holds a core; folds side by side do gain.
        with ThreadPoolExecutor(threads, initializer=partial(torch.set_num_threads, 1)) as pool:
            found = list(pool.map(partial(self._axes_of, given), range(len(self.folds))))
        torch.set_num_threads(threads)
        for fold, (turn, along) in enumerate(found):
            axes[fold, :, : turn.shape[1]] = turn
            variance[fold, : len(along)] = along
        return axes, variance

    def _axes_of(self, given: Tensor | None, fold: int) -> tuple[Tensor, Tensor]:
        """Return one fold's axes `[D, r]` and variances `[r]`."""
        rows = self.folds[fold]
        wide = len(rows) < rows.width
        sample = torch.from_numpy(rows.sample(len(rows) if wide else AXES_ROWS))
        sample = (sample.to(self.device) - self.mean[fold]) / self.scale[fold]
        if given is not None and given.shape[1] == given.shape[2]:
            # Square axes lose nothing, whichever rows they come from.
            return given[fold], (sample @ given[fold]).square().mean(dim=0)
        return principal_axes(sample)


def _turn(axes: Tensor, weights: Tensor) -> Tensor:
    """Multiply by a matrix a fold, `[F, A, B]` and `[F, B, S, K] -> [F, A, S, K]`."""
    return torch.bmm(axes, weights.flatten(2)).unflatten(2, weights.shape[2:])
