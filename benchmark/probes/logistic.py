"""L2-regularised logistic regression of many labels at once, at several strengths.

For one label and one strength C it minimises what scikit-learn's LogisticRegression minimises,

    C * sum_i log(1 + exp(-t_i (x_i w + b))) + |w|^2 / 2,    t_i = +1 or -1,    b unpenalised,

divided by C n, on standardised features. A row may have any number of labels.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

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
TOLERANCE = 1e-6
"""Of each label's search: at 1e-5 the mAP of weak regularisation was 0.007 off scikit-learn's (400
made clips), at 1e-6 it is within 0.001."""


@dataclass(frozen=True)
class Logistic:
    """Trained weights.

    Attributes:
        mean: of each feature over the training rows.
        scale: deviation of each feature over the training rows.
        weight: of each standardised feature.
        bias: of each label.
        axes: of the features, for a later fit.
        converged: whether all labels' searches at a strength ended before their limit of rounds.

    Shape:
        mean and scale `[D]`, weight `[D, S, K]`, bias `[S, K]`, axes `[D, r]`, converged `[S]`.
    """

    mean: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor
    axes: Tensor
    converged: np.ndarray

    def turned(self, axes: Tensor) -> Tensor:
        """Return the weights of one strength along axes `[D, r]`, and biases, `[1, K, r + 1]`."""
        return torch.cat([axes.T @ self.weight[:, 0], self.bias]).T[None]

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
    """The mean loss plus penalty of every label at one strength, and its gradient.

    Each label is a problem of its own: labels share no variable.

    As in `benchmark.probes.softmax`, features are turned to their principal axes, where the Hessian
    is nearly diagonal: variance times q (1 - q) of a label with share q, plus 1 / (C n). Variables
    are scaled by the inverse root of that.

    Args:
        features: standardised and turned, with a last column of ones.
        targets: 0 or 1.
        strength: scikit-learn's C.

    Shape:
        features `[n, R]`, targets `[n, K]`; points and weights with biases `[1, K, R]`.
    """

    def __init__(self, features: Tensor, targets: Tensor, strength: float) -> None:
        """Find the scale of each variable."""
        self.features, self.targets = features, targets
        least = 0.5 / len(targets)
        shares = targets.mean(dim=0)
        # A label that all rows have, or none, has no best bias: it stays where it starts.
        self.fixed = (shares == 0) | (shares == 1)
        self.shares = shares.clamp(least, 1 - least)
        self.penalty = 1 / (strength * len(targets))
        # Its norm needs no second array of the features' size.
        variance = torch.linalg.vector_norm(features, dim=0).square() / len(features)
        curvature = (self.shares * (1 - self.shares))[:, None] * variance
        curvature[:, :-1] += self.penalty
        self.scaling = curvature.rsqrt()[None]

    def start(self) -> tuple[Tensor, Tensor]:
        """Return no weights, with the biases that the labels' shares ask for, and their values."""
        weights = torch.zeros_like(self.scaling)
        weights[..., -1] = torch.logit(self.shares)
        shares = self.shares.double()
        return weights, -(shares * shares.log() + (1 - shares) * (1 - shares).log())[None]

    def __call__(self, points: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
        """Return the values `[1, K']`, float64, and the gradients of the kept labels."""
        scaling = self.scaling[0, kept]
        weights = points[0] * scaling
        gradient = torch.zeros_like(weights)
        value = torch.zeros(len(kept), dtype=torch.float64, device=weights.device)
        for rows, targets in self._blocks(len(kept)):
            logits = rows @ weights.T
            wanted = targets[:, kept]
            losses = softplus(logits).addcmul_(wanted, logits, value=-1.0)
            value += losses.sum(dim=0, dtype=torch.float64)
            gradient.addmm_(logits.sigmoid_().sub_(wanted).T, rows)
        pull = self.penalty * weights
        pull[:, -1] = 0.0
        total = value / len(self.targets) + 0.5 * (pull * weights).sum(1, dtype=torch.float64)
        gradient = gradient.div_(len(self.targets)).add_(pull).mul_(scaling)
        gradient[self.fixed[kept]] = 0.0
        return total[None], gradient[None]

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
) -> Logistic:
    """Train all labels at all strengths; see `logistic_path`."""
    parts = list(logistic_path(rows, targets, strengths, device=device))
    return replace(
        parts[0],
        weight=torch.cat([part.weight for part in parts], 1),
        bias=torch.cat([part.bias for part in parts]),
        converged=np.concatenate([part.converged for part in parts]),
    )


def logistic_path(
    rows: Rows,
    targets: np.ndarray,
    strengths: Iterable[float],
    *,
    device: str = "cpu",
    start: Logistic | None = None,
) -> Generator[Logistic, None, None]:
    """Train all labels at one strength after another, each from the weights of the one before.

    What is not taken is not computed, and one strength at a time needs a few arrays of its weights:
    all nine at once needed another gigabyte for FSD50K's 200 labels.

    Args:
        rows: with finite features, of which one copy is held in memory while training.
        targets: whether a row has a label.
        strengths: scikit-learn's C, above 0, ascending: neighbours lie near each other.
        device: torch device that does the work.
        start: an earlier fit of the same labels at one strength: its weights are begun with, and
            its axes used again where they are square. It changes the speed, not the result.

    Yields:
        what was trained at each strength.

    Shape:
        targets bool `[n, K]`.

    Raises:
        ProbeError: there is no row, or a feature is not finite.
    """
    if targets.ndim != 2 or len(targets) != len(rows):
        raise ProbeError(f"targets have shape {targets.shape}, not [{len(rows)}, labels]")
    mean, scale = (torch.from_numpy(x).to(device) for x in rows.moments())
    rows.release()
    with torch.inference_mode():
        axes = None if start is None else start.axes
        if axes is None or len(axes) != axes.shape[1] or len(rows) < rows.width:
            axes = _axes(rows, mean, scale)
        turned = _turned(rows, mean, scale, axes)
        wanted = torch.from_numpy(targets.astype(np.float32)).to(device)
    for strength in strengths:
        with (
            torch.inference_mode(),
            tqdm(desc=f"labels, C {strength:.1e}", unit="round", delay=2, leave=False) as bar,
        ):
            loss = LogisticLoss(turned, wanted, strength)
            first, base = loss.start()
            first = (first if start is None else start.turned(axes)) / loss.scaling
            found = minimise(loss, first, base, tolerance=TOLERANCE, each_round=bar.update)
            weights = (found.point * loss.scaling)[0].T.contiguous()
            start = Logistic(
                mean,
                scale,
                (axes @ weights[:-1])[:, None],
                weights[-1:],
                axes,
                found.converged.all(dim=1).cpu().numpy(),
            )
        yield start


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
