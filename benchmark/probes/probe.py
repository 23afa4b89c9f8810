"""The linear probe: L2-regularised softmax regression, all strengths and folds at once.

For one fold and one strength C it minimises what scikit-learn's LogisticRegression minimises,

    C * sum_i -log p(y_i | x_i) + |W|^2 / 2,    p = softmax(x W + b),    b unpenalised,

divided by C n, on features standardised by the fold's own training rows. A block of rows meets the
weights of all folds and strengths in one batched matrix product.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from benchmark.probes.lbfgs import minimise
from benchmark.probes.rows import ProbeError, Rows, check_training
from benchmark.probes.softmax import WORK_BYTES, SoftmaxLoss

RESIDENT_BYTES = {"cpu": 1 << 31, "cuda": 1 << 34}
"""Features up to this size stay on the device while the probe trains, larger ones are streamed."""

SMALL_ROUND = 2e8
"""Operations of one round below which one thread is faster: threads would mostly wait, and on a
busy machine they wait 50 times as long as the work takes."""


@dataclass(frozen=True)
class Fitted:
    """Trained probes: every fold at every strength.

    Attributes:
        mean: of each feature over the fold's training rows.
        scale: standard deviation of each feature over the fold's training rows.
        weight: of each standardised feature.
        bias: of each class; minus infinity for a class without training rows.
        axes: of the features, for a later fit; None where there were too many.
        converged: whether the search ended before its limit of rounds.
        rounds: evaluations of the loss.

    Shape:
        mean and scale `[F, D]`, weight `[F, D, S, K]`, bias `[F, S, K]`, converged `[F, S]`.
    """

    mean: Tensor
    scale: Tensor
    weight: Tensor
    bias: Tensor
    axes: Tensor | None
    converged: np.ndarray
    rounds: int

    def at(self, columns: Sequence[int]) -> "Fitted":
        """Return the probes of one strength a fold, given by its place."""
        folds = torch.arange(len(columns), device=self.weight.device)
        chosen = torch.tensor(columns, device=self.weight.device)
        weight = self.weight[folds, :, chosen][:, :, None]
        bias = self.bias[folds, chosen][:, None]
        converged = self.converged[np.arange(len(columns)), np.array(columns)][:, None]
        return replace(self, weight=weight, bias=bias, converged=converged)

    def predict(self, fold: int, rows: Rows) -> np.ndarray:
        """Return the class numbers that a fold's probes give to rows, int64 `[S, n]`."""
        weight, bias = self.weight[fold].flatten(1), self.bias[fold]
        row_bytes = 4 * max(rows.width, bias.numel())
        found = [np.zeros((len(bias), 0), dtype=np.int64)]
        for block in rows.blocks(WORK_BYTES * rows.width * 4 // row_bytes):
            features = torch.from_numpy(block).to(weight.device)
            logits = features.sub_(self.mean[fold]).div_(self.scale[fold]) @ weight
            logits = logits.unflatten(1, tuple(bias.shape)) + bias
            found.append(logits.argmax(dim=2).T.cpu().numpy())
        return np.concatenate(found, axis=1)


def fit(
    folds: Sequence[Rows],
    strengths: np.ndarray,
    n_classes: int,
    *,
    device: str = "cpu",
    tolerance: float = 1e-6,
    start: Fitted | None = None,
    resident_bytes: int | None = None,
) -> Fitted:
    """Train one probe for every fold and strength.

    Args:
        folds: the training rows of each fold.
        strengths: scikit-learn's C, above 0: the smaller, the stronger the regularisation.
        n_classes: number of classes K of the task, whether or not all occur in training.
        device: torch device that does the work.
        tolerance: decrease still predicted at which a probe is finished, as a share of the
            decrease so far or of the loss, whichever is less. At 1e-6 predictions differed from the
            exact optimum's by 0.11 points of accuracy at most, at 1e-5 by 0.22 (900 clips, 3 sets),
            which also chose other strengths than a converged scikit-learn on real sound.
        start: probes of the same folds and number of strengths on other rows, from which the
            search starts; it changes the time, not the optimum.
        resident_bytes: features larger than this are streamed; None takes the device's default.

    Shape:
        strengths `[F, S]`.

    Raises:
        ProbeError: a fold has no rows, a strength is not positive, a label is out of range, or a
            feature is not finite.
    """
    strengths = np.asarray(strengths, dtype=np.float64)
    _check(folds, strengths, n_classes)
    place = torch.device(device)
    if resident_bytes is None:
        resident_bytes = RESIDENT_BYTES.get(place.type, RESIDENT_BYTES["cpu"])
    longest = max(len(rows) for rows in folds)
    work = 4.0 * strengths.size * longest * min(longest, folds[0].width) * n_classes
    with torch.inference_mode(), _threads_for(work):
        axes = start.axes if start else None
        loss = SoftmaxLoss(folds, strengths, n_classes, place, resident_bytes, axes)
        shape = (len(folds), strengths.shape[1], loss.width * n_classes)
        first = loss.points(start.weight, start.bias) if start else torch.zeros(shape, device=place)
        base = loss.at_zero(strengths.shape[1])
        with tqdm(desc="probe", unit="round", delay=2, leave=False) as bar:
            found = minimise(loss, first, base, tolerance=tolerance, each_round=bar.update)
        weight, bias = loss.weights(found.point)
    converged = found.converged.cpu().numpy()
    return Fitted(loss.mean, loss.scale, weight, bias, loss.axes, converged, found.rounds)


@contextmanager
def _threads_for(work: float) -> Iterator[None]:
    """Run with one thread where a round of `work` operations is too small to share."""
    threads = torch.get_num_threads()
    if work < SMALL_ROUND:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _check(folds: Sequence[Rows], strengths: np.ndarray, n_classes: int) -> None:
    """Raise on input that no probe can be trained on."""
    if strengths.ndim != 2 or len(strengths) != len(folds) or not strengths.size:
        raise ProbeError(f"strengths have shape {strengths.shape}, not [{len(folds)} folds, S]")
    if not (strengths > 0).all():
        raise ProbeError(f"strength {strengths.min()} is not above 0")
    check_training(folds, n_classes)
