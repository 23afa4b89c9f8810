"""Softmax and logistic regression with an L2 penalty: many folds, labels and values of C at once.

For one fold and one C they minimize what scikit-learn's LogisticRegression minimizes,

    C * sum_i loss_i + |W|^2 / 2,    logits x W + b,    b unpenalized,

divided by C n, on features standardized by the fold's own training rows. The loss is -log p(y_i)
of a softmax over classes, or for each label log(1 + exp(-t_i (x_i w + b))), t_i = +1 or -1. A block
of rows meets the weights of all problems in one batched matrix product.

In shapes, F folds have M problems each, of J logits: of classes, a problem is one C and J the
number of classes; of labels, it is one label and J = 1.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus
from tqdm import tqdm

from benchmark.probes.lbfgs import minimize
from benchmark.probes.rows import BLOCK_BYTES, Features, ProbeError, Rows, check_training

C_GRID = tuple(float(c) for c in np.logspace(-5, 0, 9))
"""scikit-learn's C, strongest regularization first: steps of a factor of 4.2."""
TOLERANCE = 1e-6
"""Decrease still predicted at which a search ends, as a share of the decrease so far or of the
loss, whichever is less. At 1e-6 classes differed from the exact optimum's by 0.11 points of
accuracy at most, at 1e-5 by 0.22 (900 clips, 3 sets), which also selected other values of C than a
converged scikit-learn on real audio; and the mAP of weakly regularized labels was within 0.001 of
scikit-learn's, at 1e-5 0.007 off (400 synthetic clips)."""
SMALL_ITERATION = 2e8
"""Operations of one iteration below which one thread is faster: threads would mostly wait, and on a
busy machine they wait 50 times as long as the work takes."""


@dataclass(frozen=True)
class LinearProbe:
    """Trained weights of all problems of every fold."""

    mean: Tensor  #: of each feature over the fold's training rows `[F, D]`
    scale: Tensor  #: standard deviation of each feature over the fold's training rows `[F, D]`
    weight: Tensor  #: of each standardized feature `[F, D, M, J]`
    bias: Tensor  #: `[F, M, J]`; minus infinity for a class without training rows
    axes: Tensor | None  #: of the features, for a later fit; None where there were too many
    converged: np.ndarray  #: whether the search ended before its limit of iterations `[F, M]`

    def at(self, columns: Sequence[int]) -> "LinearProbe":
        """Return the probes of one problem per fold, by its column."""
        folds = torch.arange(len(columns))
        return replace(
            self,
            weight=self.weight[folds, :, columns][:, :, None],
            bias=self.bias[folds, columns][:, None],
            converged=self.converged[folds, columns][:, None],
        )

    def logits(self, fold: int, rows: Rows) -> Iterator[Tensor]:
        """Yield the logits of a fold's probes, `[b, M, J]`, a block of rows at a time."""
        weight, bias = self.weight[fold].flatten(1), self.bias[fold]
        block_bytes = BLOCK_BYTES * rows.width // max(rows.width, bias.numel())
        for block in rows.blocks(block_bytes):
            features = torch.from_numpy(block).to(weight.device)
            logits = features.sub_(self.mean[fold]).div_(self.scale[fold]) @ weight
            yield logits.unflatten(1, tuple(bias.shape)) + bias
            rows.release()

    def predict(self, fold: int, rows: Rows) -> np.ndarray:
        """Return the class indices that a fold's probes give to rows, int64 `[M, n]`."""
        classes = [logits.argmax(dim=2).T.cpu().numpy() for logits in self.logits(fold, rows)]
        return np.concatenate(classes, axis=1)

    def probabilities(self, rows: Rows) -> np.ndarray:
        """Return the probability of each label, float32 `[n, M]`."""
        blocks = [logits[..., 0].sigmoid().cpu().numpy() for logits in self.logits(0, rows)]
        return np.concatenate(blocks)


def fit(
    folds: Sequence[Rows],
    c: np.ndarray,
    n_classes: int,
    *,
    device: str = "cpu",
    start: LinearProbe | None = None,
) -> LinearProbe:
    """Train one softmax regression for every fold and C.

    Args:
        folds: the training rows of each fold.
        c: scikit-learn's C `[F, S]`, above 0: the smaller, the stronger the regularization.
        n_classes: number of classes of the task, whether or not all occur in training.
        device: torch device that does the work.
        start: probes of the same folds and number of columns on other rows, from which the search
            starts; it changes the time, not the optimum.

    Raises:
        ProbeError: a fold has no rows, a C is not positive, a label is out of range, or a feature
            is NaN or infinite.

    Example:
        >>> features = np.array([[0.0], [1.0], [4.0], [5.0]], dtype=np.float32)
        >>> rows = Rows(features, np.array([0, 0, 1, 1]), np.arange(4))
        >>> fit([rows], np.array([[0.1, 1.0]]), 2).predict(0, rows).tolist()
        [[0, 0, 1, 1], [0, 0, 1, 1]]
    """
    c = np.asarray(c, dtype=np.float64)
    if c.ndim != 2 or len(c) != len(folds) or not c.size:
        raise ProbeError(f"C has shape {c.shape}, not [{len(folds)} folds, S]")
    if not (c > 0).all():
        raise ProbeError(f"C is {c.min()}: it must be above 0")
    check_training(folds, n_classes)
    features = Features(folds, device, start.axes if start else None)
    return _solve(features, SoftmaxLoss(features, n_classes), c, start, "probe")


def logistic_path(
    rows: Rows,
    targets: np.ndarray,
    c_grid: Iterable[float],
    *,
    device: str = "cpu",
    start: LinearProbe | None = None,
) -> Generator[LinearProbe, None, None]:
    """Train all labels at one C after another, each from the weights of the one before.

    What is not consumed is not computed, and one C at a time needs a few arrays of its weights: all
    nine at once needed another gigabyte for FSD50K's 200 labels.

    Args:
        rows: to train on; see `RESIDENT_BYTES`.
        targets: whether a row has a label, bool `[n, K]`.
        c_grid: scikit-learn's C, above 0, ascending: neighboring values have similar weights.
        device: torch device that does the work.
        start: an earlier fit of the same labels at one C, from whose weights and axes the search
            starts. It changes the speed, not the result.

    Raises:
        ProbeError: there is no row, or a feature is NaN or infinite.
    """
    if targets.ndim != 2 or len(targets) != len(rows):
        raise ProbeError(f"targets have shape {targets.shape}, not [{len(rows)}, labels]")
    features = Features([rows], device, start.axes if start else None)
    loss = LogisticLoss(features, targets)
    for c in c_grid:
        each = np.full((1, targets.shape[1]), c)
        start = _solve(features, loss, each, start, f"labels, C {c:.1e}")
        yield start


class SoftmaxLoss:
    """Mean cross-entropy of classes, of which a row has one.

    Attributes:
        curvature: second derivative of the loss by a logit at zero weights `[F, 1]`.
        bias: where the search starts, minus infinity for a class without training rows: it is left
            out of the sum, as its bias would run there `[F, 1, K]`.
        baseline: the loss at zero weights, the logarithm of the classes present `[F, 1]`.
    """

    def __init__(self, features: Features, n_classes: int) -> None:
        self.share = features.share
        labels = torch.zeros(self.share.shape, dtype=torch.int64)
        absent = torch.full((len(labels), n_classes), -torch.inf)
        for fold, rows in enumerate(features.folds):
            targets = torch.from_numpy(rows.targets())
            # Filling rows get a label that is there: no share of an absent one's infinity is NaN.
            labels[fold] = targets[0]
            labels[fold, : len(rows)] = targets
            absent[fold, targets] = 0.0
        self.incomplete = bool(torch.isinf(absent).any())
        self.labels, self.bias = (x.to(self.share.device) for x in (labels, absent[:, None]))
        self.baseline = torch.isfinite(self.bias).sum(dim=2, dtype=torch.float64).log()
        self.curvature = torch.full_like(self.bias[..., 0], 1.0 / n_classes)

    def __call__(self, logits: Tensor, rows: slice, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Return the rows' part of the loss, float64 `[F, M']`, and its slope by the logits.

        Shape:
            logits and slope `[F, b, M', K]`; the logits are used up.
        """
        if self.incomplete:
            logits += self.bias[:, None]
        labels = self.labels[:, rows, None, None].expand(-1, -1, len(columns), 1)
        share = self.share[:, rows, None, None]
        logits = torch.log_softmax(logits, dim=3)
        value = -(logits.gather(3, labels) * share).sum(dim=(1, 3), dtype=torch.float64)
        slope = logits.exp_().mul_(share)
        return value, slope.scatter_add_(3, labels, -share.expand_as(labels))


class LogisticLoss:
    """Mean logistic loss of labels, of which a row has any number; there is one fold.

    Each label is a problem of its own: labels share no variable. Attributes are those of
    `SoftmaxLoss`, `[1, K]` and `[1, K, 1]`; the search starts where biases match the labels' shares
    q, and the curvature there is q (1 - q).
    """

    def __init__(self, features: Features, targets: np.ndarray) -> None:
        self.share = features.share
        self.targets = torch.from_numpy(targets.astype(np.float32)).to(self.share.device)
        shares, smallest = self.targets.mean(dim=0), 0.5 / len(targets)
        # A label that all rows have, or none, has no best bias: it stays where it starts.
        self.free = ((shares > 0) & (shares < 1)).float()
        shares = shares.clamp(smallest, 1 - smallest)
        self.curvature = (shares * (1 - shares))[None]
        self.bias = torch.logit(shares)[None, :, None]
        shares = shares.double()
        self.baseline = -(shares * shares.log() + (1 - shares) * (1 - shares).log())[None]

    def __call__(self, logits: Tensor, rows: slice, columns: Tensor) -> tuple[Tensor, Tensor]:
        """See `SoftmaxLoss.__call__`."""
        targets = self.targets[rows, columns][None, ..., None]
        share = self.share[:, rows, None, None]
        losses = softplus(logits).addcmul_(targets, logits, value=-1.0).mul_(share)
        slope = logits.sigmoid_().sub_(targets).mul_(share * self.free[columns, None])
        return losses.sum(dim=(1, 3), dtype=torch.float64), slope


class _Objective:
    """A loss plus the L2 penalty, and its gradient, in each fold's principal axes.

    There the Hessian is about curvature x variance + 1 / (C n) on the diagonal. Variables are
    scaled by the inverse root of that, and the search sees round valleys.

    Shape:
        c `[F, M]`; points and gradients `[F, M, R J]`, where R counts the axes and the bias.
    """

    def __init__(self, features: Features, loss: SoftmaxLoss | LogisticLoss, c: np.ndarray) -> None:
        self.features, self.loss, self.outputs = features, loss, loss.bias.shape[2]
        self.l2 = (1.0 / (features.sizes[:, None] * torch.from_numpy(c))).to(features.device)
        curvature = loss.curvature[..., None] * features.variance[:, None]
        curvature = curvature.repeat(1, c.shape[1] // curvature.shape[1], 1)
        curvature[..., :-1] += self.l2[..., None].float()  # the bias has no penalty
        self.scaling = curvature.rsqrt()

    def points(self, start: LinearProbe | None) -> Tensor:
        """Return the points of a probe's weights, or of zero weights."""
        if start is None:
            folds, width = self.features.mean.shape
            bias = self.loss.bias.expand(-1, self.l2.shape[1], -1)
            weight = bias.new_zeros(folds, width, *bias.shape[1:])
        else:
            weight, bias = start.weight, start.bias
        finite = torch.where(torch.isfinite(bias), bias, 0.0)[:, None]
        rotated = self.features.to_axes(torch.cat([weight, finite], dim=1))
        return (rotated.permute(0, 2, 1, 3) / self.scaling[..., None]).flatten(2)

    def weights(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Return the weights of standardized features `[F, D, M, J]` and the biases `[F, M, J]`."""
        every = torch.arange(points.shape[1], device=points.device)
        weights = self.features.from_axes(self._unscaled(points, every))
        absent = torch.isinf(self.loss.bias)
        return weights[:, :-1], weights[:, -1].masked_fill(absent, -torch.inf)

    def __call__(self, points: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
        """Return the values `[F, M']`, float64, and the gradients of the active columns."""
        features, weights = self.features, self._unscaled(points, columns)
        if features.resident is None:
            weights = features.from_axes(weights)
        packed = weights.flatten(2)
        # Kept transposed: of few columns, features' x slope takes ten times as long as slope' x
        # features.
        transposed = torch.zeros_like(packed.transpose(1, 2), memory_format=torch.contiguous_format)
        value = torch.zeros(len(packed), len(columns), dtype=torch.float64, device=packed.device)
        for rows, block in features.blocks(packed.shape[0] * packed.shape[2]):
            logits = torch.bmm(block, packed).unflatten(2, weights.shape[2:])
            part, slope = self.loss(logits, rows, columns)
            value += part
            transposed.baddbmm_(slope.flatten(2).transpose(1, 2), block)
        gradient = transposed.transpose(1, 2).unflatten(2, weights.shape[2:])
        if features.resident is None:
            gradient = features.to_axes(gradient)
        scale = self.scaling[:, columns]
        gradient = gradient.permute(0, 2, 1, 3) * scale[..., None]
        # The penalty of a scaled variable: the bias's is zero.
        l2 = self.l2[:, columns, None].float() * scale.square()
        l2[..., -1] = 0.0
        pull = l2[..., None] * points.unflatten(2, (-1, self.outputs))
        gradient += pull
        value += 0.5 * (pull.flatten(2) * points).sum(2, dtype=torch.float64)
        return value, gradient.flatten(2)

    def _unscaled(self, points: Tensor, columns: Tensor) -> Tensor:
        """Return points in the axes' own units, `[F, M', R J] -> [F, R, M', J]`."""
        points = points.unflatten(2, (-1, self.outputs))
        return (points * self.scaling[:, columns, :, None]).permute(0, 2, 1, 3).contiguous()


@torch.inference_mode()
def _solve(
    features: Features,
    loss: SoftmaxLoss | LogisticLoss,
    c: np.ndarray,
    start: LinearProbe | None,
    title: str,
) -> LinearProbe:
    """Return the probe that minimizes a loss at each C `[F, M]`."""
    objective, threads = _Objective(features, loss, c), torch.get_num_threads()
    if 4.0 * objective.scaling.numel() * objective.outputs * features.length < SMALL_ITERATION:
        torch.set_num_threads(1)
    try:
        with tqdm(desc=title, unit="iteration", delay=2, leave=False) as bar:
            solution = minimize(
                objective,
                objective.points(start),
                loss.baseline.expand(c.shape),
                tolerance=TOLERANCE,
                callback=bar.update,
            )
        weight, bias = objective.weights(solution.point)
    finally:
        torch.set_num_threads(threads)
    converged = solution.converged.cpu().numpy()
    return LinearProbe(features.mean, features.scale, weight, bias, features.axes, converged)
