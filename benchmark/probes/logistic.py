"""L2-regularised logistic regression of many labels at once, at several strengths.

For one label and one strength C it minimises what scikit-learn's LogisticRegression minimises,

    C * sum_i log(1 + exp(-t_i (x_i w + b))) + |w|^2 / 2,    t_i = +1 or -1,    b unpenalised,

divided by C n, on standardised features. A row may have any number of labels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus
from tqdm import tqdm

from benchmark.probes.axes import AXES_ROWS, principal_axes
from benchmark.probes.lbfgs import minimise
from benchmark.probes.rows import ProbeError, Rows

WORK_BYTES = 1 << 26
"""Size of one block of features, or of its logits."""
TOLERANCE = 1e-5
"""Of the search: what is left to gain then is far below a change of the onset F."""


@dataclass(frozen=True)
class Logistic:
    """Trained weights.

    Attributes:
        mean: of each feature over the training rows.
        scale: deviation of each feature over the training rows.
        weight: of each standardised feature.
        bias: of each label.
        axes: of the features, for a later fit.
        converged: whether the search of a strength ended before its limit of rounds.

    Shape:
        mean and scale `[D]`, weight `[D, S, K]`, bias `[S, K]`, axes `[D, r]`, converged `[S]`.
    """

    mean: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor
    axes: Tensor
    converged: np.ndarray

    def probabilities(self, rows: Rows) -> np.ndarray:
        """Return the probability of each label at each strength, float32 `[n, S, K]`."""
        found = [np.zeros((0, *self.bias.shape), dtype=np.float32)]
        for block in rows.blocks(WORK_BYTES):
            features = torch.from_numpy(block).to(self.weight.device)
            logits = features.sub_(self.mean).div_(self.scale) @ self.weight.flatten(1)
            logits = logits.unflatten(1, self.bias.shape) + self.bias
            found.append(torch.sigmoid(logits).cpu().numpy())
            rows.release()
        return np.concatenate(found)


class LogisticLoss:
    """Sum over labels of the mean loss, plus penalty, and its gradient.

    As in `benchmark.probes.softmax`, features are turned to their principal axes, where the Hessian
    is nearly diagonal: variance times q (1 - q) of a label with share q, plus 1 / (C n). Variables
    are scaled by the inverse root of that.

    Args:
        features: standardised and turned, with a last column of ones.
        targets: 0 or 1.
        strengths: scikit-learn's C.

    Shape:
        features `[n, R]`, targets `[n, K]`, strengths `[S]`; points `[1, S, R K]`.
    """

    def __init__(self, features: Tensor, targets: Tensor, strengths: Tensor) -> None:
        """Find the scale of each variable."""
        self.features, self.targets = features, targets
        least = 0.5 / len(targets)
        self.shares = targets.mean(dim=0).clamp(least, 1 - least)
        self.penalty = 1 / (strengths * len(targets))
        # Its norm needs no second array of the features' size.
        variance = torch.linalg.vector_norm(features, dim=0).square() / len(features)
        curvature = (self.shares * (1 - self.shares)) * variance[:, None]
        ridge = self.penalty[:, None, None].expand(-1, features.shape[1], 1).clone()
        ridge[:, -1] = 0.0
        self.scaling = (curvature + ridge).rsqrt()

    def start(self) -> Tensor:
        """Return the point of no weights and the bias that each label's share asks for."""
        points = torch.zeros_like(self.scaling)
        points[:, -1] = torch.logit(self.shares) / self.scaling[:, -1]
        return points.flatten(1)[None]

    def weights(self, points: Tensor) -> Tensor:
        """Return points as weights and biases, `[1, S, R K] -> [S, R, K]`."""
        return points[0].unflatten(1, (self.features.shape[1], -1)) * self.scaling

    def __call__(self, points: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Return the values `[1, S']`, float64, and the gradients of the kept strengths."""
        scaling = self.scaling[kept]
        weights = points[0].unflatten(1, (self.features.shape[1], -1)) * scaling
        packed = weights.permute(1, 0, 2).flatten(1)
        gradient = torch.zeros_like(packed)
        value = torch.zeros(len(kept), dtype=torch.float64, device=packed.device)
        for rows, targets in self._blocks(packed.shape[1]):
            logits = (rows @ packed).unflatten(1, (len(kept), -1))
            losses = softplus(logits) - targets[:, None] * logits
            value += losses.sum(dim=(0, 2), dtype=torch.float64)
            slope = torch.sigmoid(logits) - targets[:, None]
            gradient.addmm_(rows.T, slope.flatten(1))
        shape = (len(kept), weights.shape[2])
        slopes = gradient.unflatten(1, shape).permute(1, 0, 2) / len(self.targets)
        pull = self.penalty[kept, None, None] * weights
        pull[:, -1] = 0.0
        total = value / len(self.targets) + 0.5 * (pull * weights).sum((1, 2), dtype=torch.float64)
        return total[None], ((slopes + pull) * scaling).flatten(1)[None]

    def _blocks(self, columns: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield rows and their targets in blocks."""
        step = max(1, WORK_BYTES // (4 * columns))
        for start in range(0, len(self.features), step):
            yield self.features[start : start + step], self.targets[start : start + step]


def fit_logistic(
    rows: Rows,
    targets: np.ndarray,
    strengths: Sequence[float],
    *,
    device: str = "cpu",
    tolerance: float = TOLERANCE,
    axes: Tensor | None = None,
) -> Logistic:
    """Train all labels at all strengths.

    Args:
        rows: with finite features, of which one copy is held in memory while training.
        targets: whether a row has a label.
        strengths: scikit-learn's C, above 0.
        device: torch device that does the work.
        tolerance: of the search; see `benchmark.probes.lbfgs.minimise`.
        axes: orthonormal axes of an earlier fit to use again, where they are square: of other rows
            they change the speed, not the result.

    Shape:
        targets bool `[n, K]`, axes `[D, D]`.

    Raises:
        ProbeError: there is no row, or a feature is not finite.
    """
    if targets.ndim != 2 or len(targets) != len(rows):
        raise ProbeError(f"targets have shape {targets.shape}, not [{len(rows)}, labels]")
    mean, scale = (torch.from_numpy(x).to(device) for x in rows.moments())
    rows.release()
    with torch.inference_mode():
        if axes is None or len(axes) != axes.shape[1] or len(rows) < rows.width:
            axes = _axes(rows, mean, scale)
        loss = LogisticLoss(
            _turned(rows, mean, scale, axes),
            torch.from_numpy(targets.astype(np.float32)).to(device),
            torch.tensor(strengths, device=device, dtype=torch.float32),
        )
        first = loss.start()
        base, _ = loss(first, torch.arange(len(strengths), device=device))
        with tqdm(desc="label probe", unit="round", delay=2, leave=False) as bar:
            found = minimise(loss, first, base, tolerance=tolerance, each_round=bar.update)
        weights = loss.weights(found.point)
        turned_back = torch.einsum("dr,srk->dsk", axes, weights[:, :-1])
    converged = found.converged[0].cpu().numpy()
    return Logistic(mean, scale, turned_back, weights[:, -1], axes, converged)


def _axes(rows: Rows, mean: Tensor, scale: Tensor) -> Tensor:
    """Return the principal axes of rows, from as many as they need."""
    wide = len(rows) < rows.width
    sample = torch.from_numpy(rows.sample(len(rows) if wide else AXES_ROWS)).to(mean.device)
    rows.release()
    return principal_axes(sample.sub_(mean).div_(scale))[0]


def _turned(rows: Rows, mean: Tensor, scale: Tensor, axes: Tensor) -> Tensor:
    """Return standardised rows along axes, with a last column of ones, `[n, r + 1]`."""
    turned = torch.ones(len(rows), axes.shape[1] + 1, device=mean.device)
    start = 0
    for block in rows.blocks(WORK_BYTES):
        features = torch.from_numpy(block).to(mean.device)
        turned[start : start + len(block), :-1] = features.sub_(mean).div_(scale) @ axes
        start += len(block)
        rows.release()
    return turned
