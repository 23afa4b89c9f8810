"""The protocol "multilabel-2": one label against the rest, for clips with any number of labels.

For one label and one C it minimizes what scikit-learn's LogisticRegression minimizes,

    C * sum_i log(1 + exp(-t_i (x_i w + b))) + |w|^2 / 2,    t_i = +1 or -1,    b unpenalized,

divided by C n, on standardized features. As in "linear-1", C is selected on validation rows, the
probe is fitted again on training and validation rows together, and then sees the test rows of
every fold once.
"""

from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus
from tqdm import tqdm

from benchmark.data.split import Fold
from benchmark.probes.lbfgs import minimize
from benchmark.probes.linear import C_GRID, LinearProbe
from benchmark.probes.rows import Examples, ProbeError, Rows, Selection, check_validation
from benchmark.probes.softmax import WORK_BYTES, Features

PROTOCOL = "multilabel-2"
"""Changes whenever the same embeddings could score otherwise; results then no longer mix.

In "multilabel-1" all values of C were tried.
"""
TOLERANCE = 1e-6
"""Of each label's search: at 1e-5 the mAP of weak regularization was 0.007 off scikit-learn's (400
synthetic clips), at 1e-6 it is within 0.001."""
Measure = Callable[[np.ndarray, np.ndarray], float]
"""(probabilities `[n, K]`, targets bool `[n, K]`) -> a score, the higher the better."""


class LogisticLoss:
    """The mean loss plus penalty of every label at one C, and its gradient.

    Each label is a problem of its own: labels share no variable. As in `SoftmaxLoss`, the Hessian
    is nearly diagonal along the principal axes: variance times q (1 - q) of a label with share q,
    plus 1 / (C n). Variables are scaled by the inverse root of that; points are `[1, K, R]`.
    """

    def __init__(self, features: Tensor, targets: Tensor, c: float) -> None:
        self.features, self.targets = features, targets
        shares, smallest = targets.mean(dim=0), 0.5 / len(targets)
        # A label that all rows have, or none, has no best bias: it stays where it starts.
        self.fixed = (shares == 0) | (shares == 1)
        self.shares = shares.clamp(smallest, 1 - smallest)
        self.l2 = 1 / (c * len(targets))
        # Its norm needs no second array of the features' size.
        variance = torch.linalg.vector_norm(features, dim=0).square() / len(features)
        curvature = (self.shares * (1 - self.shares))[:, None] * variance
        curvature[:, :-1] += self.l2
        self.scaling = curvature.rsqrt()[None]

    def start(self) -> tuple[Tensor, Tensor]:
        """Return zero weights with the biases that match the labels' shares, and their values."""
        weights = torch.zeros_like(self.scaling)
        weights[..., -1] = torch.logit(self.shares)
        shares = self.shares.double()
        return weights, -(shares * shares.log() + (1 - shares) * (1 - shares).log())[None]

    def __call__(self, points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return the values `[1, K']`, float64, and the gradients of the active labels."""
        scaling = self.scaling[0, labels]
        weights = points[0] * scaling
        gradient = torch.zeros_like(weights)
        value = torch.zeros(len(labels), dtype=torch.float64, device=weights.device)
        step = max(1, WORK_BYTES // (4 * len(labels)))
        for start in range(0, len(self.features), step):
            rows = self.features[start : start + step]
            targets = self.targets[start : start + step, labels]
            logits = rows @ weights.T
            losses = softplus(logits).addcmul_(targets, logits, value=-1.0)
            value += losses.sum(dim=0, dtype=torch.float64)
            gradient.addmm_(logits.sigmoid_().sub_(targets).T, rows)
        pull = self.l2 * weights
        pull[:, -1] = 0.0
        total = value / len(self.targets) + 0.5 * (pull * weights).sum(1, dtype=torch.float64)
        gradient = gradient.div_(len(self.targets)).add_(pull).mul_(scaling)
        gradient[self.fixed[labels]] = 0.0
        return total[None], gradient[None]


def probabilities(probe: LinearProbe, rows: Rows) -> np.ndarray:
    """Return the probability of each label at each C, float32 `[n, S, K]`."""
    return np.concatenate([logits.sigmoid().cpu().numpy() for logits in probe.logits(0, rows)])


def fit_logistic(
    rows: Rows, targets: np.ndarray, c_grid: Sequence[float], *, device: str = "cpu"
) -> LinearProbe:
    """Train all labels at all values of C; see `logistic_path`."""
    probes = list(logistic_path(rows, targets, c_grid, device=device))
    return replace(
        probes[0],
        weight=torch.cat([probe.weight for probe in probes], 2),
        bias=torch.cat([probe.bias for probe in probes], 1),
        converged=np.concatenate([probe.converged for probe in probes], 1),
    )


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
        rows: of which one copy of the features is held in memory while training.
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
    with torch.inference_mode():
        axes = start.axes if start else None
        features = Features([rows], torch.device(device), float("inf"), axes)
        truth = torch.from_numpy(targets.astype(np.float32)).to(device)
    assert features.resident is not None  # nothing is larger than infinity
    for c in c_grid:
        bar = tqdm(desc=f"labels, C {c:.1e}", unit="iteration", delay=2, leave=False)
        with torch.inference_mode(), bar:
            loss = LogisticLoss(features.resident[0], truth, c)
            first, baseline = loss.start()
            if start:
                weights = torch.cat([start.weight, start.bias[:, None]], dim=1)
                first = features.to_axes(weights)[:, :, 0].transpose(1, 2)
            solution = minimize(
                loss, first / loss.scaling, baseline, tolerance=TOLERANCE, callback=bar.update
            )
            rotated = (solution.point * loss.scaling).transpose(1, 2)[:, :, None].contiguous()
            weights = features.from_axes(rotated)
            converged = solution.converged.all(dim=1, keepdim=True).cpu().numpy()
            start = LinearProbe(
                *(features.mean, features.scale, weights[:, :-1], weights[:, -1]),
                *(features.axes, converged, solution.iterations),
            )
        yield start


@dataclass(frozen=True)
class MultilabelResult:
    """The result of one fold."""

    selection: Selection  #: of C; its curve holds the measure on the validation rows
    probabilities: np.ndarray  #: of each label for each test row, float32 `[n, K]`
    converged: bool  #: whether both fits reached their tolerance


def evaluate_fold(
    embeddings: np.ndarray,
    targets: np.ndarray,
    fold: Fold,
    measure: Measure,
    *,
    c_grid: Sequence[float] = C_GRID,
    device: str = "cpu",
) -> MultilabelResult:
    """Select C on validation rows, fit again, and predict the labels of the test rows.

    Values of C are tried from the strongest regularization on until the measure has fallen twice in
    a row: the weakest take most iterations by far, and few sets ever select them. A tie goes to the
    strongest regularization.

    Args:
        embeddings: possibly memory-mapped `[n, D]`.
        targets: whether a row has a label, bool `[n, K]`.
        fold: whose test rows are read once, after the selection.
        measure: decides among values of C.
        c_grid: values to compare, scikit-learn's C, ascending.
        device: torch device that does the work.

    Raises:
        ProbeError: a part has no row, the measure is NaN or infinite on the validation rows, or an
            embedding is.
    """
    unlabeled = np.full(len(embeddings), -1)
    train, valid, development = next(Examples(embeddings, unlabeled, [fold], 0).parts())
    check_validation([valid])
    probes: list[LinearProbe] = []
    values: list[float] = []
    # Closing lets go of the training rows before the last fit reads its own.
    with closing(logistic_path(train, targets[fold.train], c_grid, device=device)) as path:
        for probe in path:
            probes.append(probe)
            values.append(measure(probabilities(probe, valid)[:, 0], targets[fold.valid]))
            if not np.isfinite(values[-1]):
                raise ProbeError(
                    f"fold {fold.name}: the measure to select by is {values[-1]} on the validation "
                    "rows; every label needs rows with it and rows without"
                )
            if len(values) > 2 and values[-3] > values[-2] > values[-1]:
                break
    best = int(np.argmax(values))
    curve = tuple(zip(c_grid, values, strict=False))
    selection = Selection(c_grid[best], curve, all(probe.converged.all() for probe in probes))
    (final,) = logistic_path(
        development, targets[fold.development], c_grid[best:][:1], device=device, start=probes[best]
    )
    predicted = probabilities(final, Rows(embeddings, unlabeled, fold.test))[:, 0]
    converged = selection.converged and bool(final.converged.all())
    return MultilabelResult(selection, predicted, converged)
