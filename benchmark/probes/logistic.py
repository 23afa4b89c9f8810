"""L2-regularised logistic regression of many labels at once, at several strengths.

For one label and one strength C it minimises what scikit-learn's LogisticRegression minimises,

    C * sum_i log(1 + exp(-t_i (x_i w + b))) + |w|^2 / 2,    t_i = +1 or -1,    b unpenalised,

divided by C n, on standardised features. A row may have any number of labels.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import softplus
from tqdm import tqdm

from benchmark.probes.lbfgs import minimise
from benchmark.probes.rows import ProbeError, Rows

WORK_BYTES = 1 << 26
"""Size of one block's logits."""
TOLERANCE = 1e-5
"""Of the search: what is left to gain then is far below a change of the score."""

FLAT = 1e-6
"""Share of the largest variance below which an axis of few rows is rounding."""


@dataclass(frozen=True)
class Logistic:
    """Trained weights.

    Attributes:
        mean: of each feature over the training rows.
        scale: deviation of each feature over the training rows.
        weight: of each standardised feature.
        bias: of each label.
        converged: whether the search ended before its limit of rounds.

    Shape:
        mean and scale `[D]`, weight `[D, S, K]`, bias `[S, K]`.
    """

    mean: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor
    converged: bool

    def probabilities(self, features: np.ndarray) -> np.ndarray:
        """Return the probability of each label at each strength.

        Shape:
            features `[n, D]` -> float32 `[n, S, K]`.
        """
        rows = torch.from_numpy(np.array(features, dtype=np.float32)).to(self.weight.device)
        logits = rows.sub_(self.mean).div_(self.scale) @ self.weight.flatten(1)
        return torch.sigmoid(logits.unflatten(1, self.bias.shape) + self.bias).cpu().numpy()


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
        curvature = (self.shares * (1 - self.shares)) * features.square().mean(dim=0)[:, None]
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


def principal_axes(rows: Tensor) -> Tensor:
    """Return orthonormal axes along which rows vary.

    With fewer rows than features they span the rows, and the small problem is solved: the best
    weights lie there, for any part outside would cost penalty and change no logit.

    Shape:
        `[n, D] -> [D, r]`, r at most n and D.
    """
    if len(rows) >= rows.shape[1]:
        return torch.linalg.eigh(rows.T @ rows)[1]
    variance, turn = torch.linalg.eigh(rows @ rows.T)
    kept = variance > FLAT * variance[-1]
    return rows.T @ turn[:, kept] / variance[kept].sqrt()


def fit_logistic(
    features: np.ndarray, targets: np.ndarray, strengths: tuple[float, ...], device: str = "cpu"
) -> Logistic:
    """Train all labels at all strengths.

    Args:
        features: finite, held in memory while training.
        targets: whether a row has a label.
        strengths: scikit-learn's C, above 0.
        device: torch device that does the work.

    Shape:
        features `[n, D]`, targets bool `[n, K]`.

    Raises:
        ProbeError: there is no row, or a feature is not finite.
    """
    if targets.ndim != 2 or len(targets) != len(features):
        raise ProbeError(f"targets have shape {targets.shape}, not [{len(features)}, labels]")
    labels = np.zeros(len(features), dtype=np.int64)
    rows = Rows(features, labels, np.arange(len(features)))
    mean, scale = (torch.from_numpy(x).to(device) for x in rows.moments())
    with torch.inference_mode():
        standard = torch.from_numpy(np.array(features, dtype=np.float32)).to(device)
        standard.sub_(mean).div_(scale)
        axes = principal_axes(standard)
        turned = torch.cat([standard @ axes, torch.ones_like(standard[:, :1])], dim=1)
        del standard
        loss = LogisticLoss(
            turned,
            torch.from_numpy(targets.astype(np.float32)).to(device),
            torch.tensor(strengths, device=device),
        )
        first = loss.start()
        base, _ = loss(first, torch.arange(len(strengths), device=device))
        with tqdm(desc="frame probe", unit="round", delay=2, leave=False) as bar:
            found = minimise(loss, first, base, tolerance=TOLERANCE, each_round=bar.update)
        weights = loss.weights(found.point)
        turned_back = torch.einsum("dr,srk->dsk", axes, weights[:, :-1])
    return Logistic(mean, scale, turned_back, weights[:, -1], bool(found.converged.all()))
