"""The protocol "linear-1": L2-regularized softmax regression, all values of C and folds at once.

For one fold and one C it minimizes what scikit-learn's LogisticRegression minimizes,

    C * sum_i -log p(y_i | x_i) + |W|^2 / 2,    p = softmax(x W + b),    b unpenalized,

divided by C n, on features standardized by the fold's own training rows. A block of rows meets the
weights of all folds and values of C in one batched matrix product. C is selected on validation
rows, the probe is fitted again on training and validation rows together, and then sees the test
rows of every fold once.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from benchmark.probes.lbfgs import minimize
from benchmark.probes.rows import (
    Examples,
    ProbeError,
    ProbeResult,
    Rows,
    Selection,
    check_training,
    check_validation,
    predict_test,
)
from benchmark.probes.softmax import WORK_BYTES, Features, SoftmaxLoss

PROTOCOL = "linear-1"
"""Changes whenever the same embeddings could score otherwise; results then no longer mix."""
C_GRID = tuple(float(c) for c in np.logspace(-5, 0, 9))
"""scikit-learn's C, strongest regularization first: steps of a factor of 4.2."""
RESIDENT_BYTES = {"cpu": 1 << 31, "cuda": 1 << 34}
"""Features up to this size stay on the device while the probe trains, larger ones are streamed."""
SMALL_ITERATION = 2e8
"""Operations of one iteration below which one thread is faster: threads would mostly wait, and on a
busy machine they wait 50 times as long as the work takes."""


@dataclass(frozen=True)
class LinearProbe:
    """Trained weights: every fold at every C."""

    mean: Tensor  #: of each feature over the fold's training rows `[F, D]`
    scale: Tensor  #: standard deviation of each feature over the fold's training rows `[F, D]`
    weight: Tensor  #: of each standardized feature `[F, D, S, K]`
    bias: Tensor  #: of each class `[F, S, K]`; minus infinity for one without training rows
    axes: Tensor | None  #: of the features, for a later fit; None where there were too many
    converged: np.ndarray  #: whether the search ended before its limit of iterations `[F, S]`
    iterations: int  #: evaluations of the loss

    def at(self, columns: Sequence[int]) -> "LinearProbe":
        """Return the probes of one C per fold, by its column."""
        folds = np.arange(len(columns))
        weight = torch.stack([self.weight[i, :, column] for i, column in enumerate(columns)])
        bias = torch.stack([self.bias[i, column] for i, column in enumerate(columns)])
        converged = self.converged[folds, columns]
        return replace(
            self, weight=weight[:, :, None], bias=bias[:, None], converged=converged[:, None]
        )

    def logits(self, fold: int, rows: Rows) -> Iterator[Tensor]:
        """Yield the logits of a fold's probes, `[b, S, K]`, a block of rows at a time."""
        weight, bias = self.weight[fold].flatten(1), self.bias[fold]
        block_bytes = WORK_BYTES * rows.width // max(rows.width, bias.numel())
        for block in rows.blocks(block_bytes):
            features = torch.from_numpy(block).to(weight.device)
            logits = features.sub_(self.mean[fold]).div_(self.scale[fold]) @ weight
            yield logits.unflatten(1, tuple(bias.shape)) + bias
            rows.release()

    def predict(self, fold: int, rows: Rows) -> np.ndarray:
        """Return the class indices that a fold's probes give to rows, int64 `[S, n]`."""
        classes = [logits.argmax(dim=2).T.cpu().numpy() for logits in self.logits(fold, rows)]
        return np.concatenate(classes, axis=1)


def fit(
    folds: Sequence[Rows],
    c: np.ndarray,
    n_classes: int,
    *,
    device: str = "cpu",
    tolerance: float = 1e-6,
    start: LinearProbe | None = None,
    resident_bytes: int | None = None,
) -> LinearProbe:
    """Train one probe for every fold and C.

    Args:
        folds: the training rows of each fold.
        c: scikit-learn's C `[F, S]`, above 0: the smaller, the stronger the regularization.
        n_classes: number of classes K of the task, whether or not all occur in training.
        device: torch device that does the work.
        tolerance: decrease still predicted at which a probe is finished, as a share of the
            decrease so far or of the loss, whichever is less. At 1e-6 predictions differed from the
            exact optimum's by 0.11 points of accuracy at most, at 1e-5 by 0.22 (900 clips, 3 sets),
            which also selected other values of C than a converged scikit-learn on real audio.
        start: probes of the same folds and number of columns on other rows, from which the search
            starts; it changes the time, not the optimum.
        resident_bytes: features larger than this are streamed; None takes the device's default.

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
    if resident_bytes is None:
        resident_bytes = RESIDENT_BYTES.get(torch.device(device).type, RESIDENT_BYTES["cpu"])
    longest = max(len(rows) for rows in folds)
    work = 4.0 * c.size * longest * min(longest, folds[0].width) * n_classes
    with torch.inference_mode(), _threads_for(work):
        axes = start.axes if start else None
        features = Features(folds, torch.device(device), resident_bytes, axes)
        loss = SoftmaxLoss(features, c, n_classes)
        zero = torch.zeros(*loss.scaling.shape, n_classes, device=device).flatten(2)
        first = loss.points(start.weight, start.bias) if start else zero
        with tqdm(desc="probe", unit="iteration", delay=2, leave=False) as bar:
            solution = minimize(
                loss, first, loss.at_zero(), tolerance=tolerance, callback=bar.update
            )
        weight, bias = loss.weights(solution.point)
    converged = solution.converged.cpu().numpy()
    about = (features.axes, converged, solution.iterations)
    return LinearProbe(features.mean, features.scale, weight, bias, *about)


@contextmanager
def _threads_for(work: float) -> Iterator[None]:
    """Run with one thread where an iteration of `work` operations is too small to share."""
    threads = torch.get_num_threads()
    if work < SMALL_ITERATION:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def select_c(
    train: Sequence[Rows],
    valid: Sequence[Rows],
    n_classes: int,
    *,
    c_grid: Sequence[float] = C_GRID,
    device: str = "cpu",
) -> tuple[list[Selection], LinearProbe]:
    """Select for each fold the C whose probe, fitted on train, is most accurate on valid.

    A tie goes to the strongest regularization. No parameter could carry a test row. The probes
    selected are returned, too.
    """
    check_validation(valid)
    probe = fit(train, np.tile(c_grid, (len(train), 1)), n_classes, device=device)
    selections, columns = [], []
    for fold, rows in enumerate(valid):
        accuracy = (probe.predict(fold, rows) == rows.targets()).mean(axis=1)
        columns.append(int(accuracy.argmax()))
        curve = tuple(zip(c_grid, (100.0 * accuracy).tolist(), strict=True))
        converged = bool(probe.converged[fold].all())
        selections.append(Selection(c_grid[columns[-1]], curve, converged))
    return selections, probe.at(columns)


def evaluate(data: Examples, *, device: str = "cpu", seed: int = 0) -> ProbeResult:
    """Return a prediction for every row that a fold tests; see `protocols.Evaluate`."""
    train, valid, development = zip(*data.parts(), strict=True)
    selections, selected = select_c(train, valid, data.n_classes, device=device)
    c = np.array([[selection.value] for selection in selections])
    final = fit(development, c, data.n_classes, device=device, start=selected)
    result = predict_test(data, selections, lambda fold, rows: final.predict(fold, rows)[0])
    return replace(result, converged=result.converged and bool(final.converged.all()))
