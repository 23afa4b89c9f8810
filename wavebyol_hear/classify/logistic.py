"""Logistic regression with an L2 penalty, chosen by cross-validation, by L-BFGS.

One label per clip: softmax. Several: one sigmoid per class.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from wavebyol_hear.files.read_ahead import with_progress

L2 = tuple(10.0**power for power in range(2, -5, -1))
"""Penalties that are tried, the strongest first: of the weights of standardized features, beside a
mean loss per clip."""
ITERATIONS = 20
"""Of L-BFGS for each penalty. On 1,200 clips of 35 words, 100 moved the loss by less than 1 %."""
LEAST_DEVIATION = 1e-6


@dataclass(frozen=True)
class Solution:
    """Logits are `features @ weight.T + bias`.

    Shape:
        weight float32 [K, D], bias float32 [K].
    """

    weight: Tensor
    bias: Tensor

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Return the logits of features: [n, D] -> [n, K]."""
        result: np.ndarray = (torch.from_numpy(features) @ self.weight.T + self.bias).numpy()
        return result


@dataclass(frozen=True)
class Selection:
    """The classifier of the chosen penalty, and how well it did on clips it had not seen.

    Attributes:
        solution: fitted to all clips but those of a part `test`.
        l2: the penalty.
        score: accuracy, or mean average precision where clips have several labels, 0 to 1.
        of_folds: the score on each fold; one number for a fixed split.
        rows: clips that were tested, ascending.
        logits: of each class for these clips, from a classifier that has not seen them.

    Shape:
        rows int64 [m], logits float32 [m, K].
    """

    solution: Solution
    l2: float
    score: float
    of_folds: tuple[float, ...]
    rows: np.ndarray
    logits: np.ndarray


def fit(
    features: np.ndarray, targets: np.ndarray, penalties: Sequence[float], *, multilabel: bool
) -> Iterator[Solution]:
    """Yield the solution of each penalty; each search starts from the one before.

    Where clips are fewer than numbers, the best weights lie in the span of the clips, and are
    searched for along its principal axes; there the Hessian is nearly diagonal.

    Args:
        features: of the clips.
        targets: which clip has which class.
        penalties: > 0.
        multilabel: whether classes are judged each by itself.

    Shape:
        features float32 [n, D], targets bool [n, K].

    Example:
        >>> values = np.float32([[0.0], [1.0], [2.0], [3.0]])
        >>> targets = np.eye(2, dtype=bool)[[0, 0, 1, 1]]
        >>> solution, = fit(values, targets, [0.01], multilabel=False)
        >>> solution.logits(values).argmax(1).tolist()
        [0, 0, 1, 1]
    """
    rows, wanted = torch.from_numpy(features), torch.from_numpy(targets).float()
    deviation, mean = torch.std_mean(rows, 0, correction=0)
    scale = torch.where(deviation > LEAST_DEVIATION, 1 / deviation, 0.0)
    rows = (rows - mean) * scale
    points, axes = rows, None
    if rows.shape[0] < rows.shape[1]:
        values, vectors = torch.linalg.eigh((rows @ rows.T).double())
        kept = values > values[-1] * 1e-6
        lengths = values[kept].sqrt()
        points = (vectors[:, kept] * lengths).float()
        axes = (vectors[:, kept] / lengths).float()  # rows.T @ axes are the principal axes
    variance = points.square().mean(0)
    weights, bias = points.new_zeros(points.shape[1], wanted.shape[1]), _prior(wanted, multilabel)
    for l2 in penalties:
        curvature = variance / (4 if multilabel else wanted.shape[1]) + l2
        weights, bias = _search(points, wanted, weights, bias, curvature.rsqrt()[:, None], l2)
        whole = (weights if axes is None else rows.T @ (axes @ weights)) * scale[:, None]
        yield Solution(whole.T.contiguous(), bias - mean @ whole)


def _prior(targets: Tensor, multilabel: bool) -> Tensor:
    """Return the bias of no features; a class without clips stays where it begins."""
    share = (targets.sum(0) + 0.5) / (len(targets) + 1)
    return share.log() - (-share).log1p() if multilabel else share.log()


def _search(
    rows: Tensor, targets: Tensor, weights: Tensor, bias: Tensor, scaling: Tensor, l2: float
) -> tuple[Tensor, Tensor]:
    """Return the weights and the bias of the smallest loss, from given ones on."""
    point = (weights / scaling).requires_grad_()
    offset = bias.clone().requires_grad_()
    # Rows of several or no labels are one question per class.
    one_each = bool((targets.sum(1) == 1).all()) and targets.shape[1] > 1
    optimizer = torch.optim.LBFGS(
        [point, offset],
        max_iter=ITERATIONS,
        tolerance_grad=1e-5,
        tolerance_change=1e-7,
        line_search_fn="strong_wolfe",
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        scaled = point * scaling
        logits = rows @ scaled + offset
        if one_each:
            value = -(functional.log_softmax(logits, 1) * targets).sum(1).mean()
        else:
            value = functional.binary_cross_entropy_with_logits(logits, targets)
            value = value * targets.shape[1]
        penalized = value + l2 / 2 * scaled.square().sum()
        penalized.backward()
        return penalized

    with torch.enable_grad():
        optimizer.step(closure)
    return (point * scaling).detach(), offset.detach()


def select(
    features: np.ndarray, targets: np.ndarray, splits: Sequence[str], *, fixed: bool
) -> Selection:
    """Choose the penalty and say how well it does on clips that are not trained on.

    That with the smallest mean loss on held-out clips is taken, so that probabilities are honest,
    too. With folds, each is predicted by a classifier of the others, under the penalty that does
    best on the others' held-out clips: no clip has a say in its own score. With a fixed split the
    penalty is chosen on `valid` and the score is of `test`, from a classifier of train and valid.

    Args:
        features: of the clips.
        targets: which clip has which class.
        splits: fold, or part, of each clip.
        fixed: whether they are the parts train, valid and test.

    Shape:
        features float32 [n, D], targets bool [n, K].
    """
    split = np.asarray(splits)
    multilabel = bool((targets.sum(1) > 1).any())
    folds = ["valid"] if fixed else sorted(set(splits))
    logits = np.zeros((len(L2), *targets.shape), np.float32)
    for i in with_progress(range(len(folds)), "training", unit="fold"):
        held = split == folds[i]
        train = split == "train" if fixed else ~held
        solutions = fit(features[train], targets[train], L2, multilabel=multilabel)
        for index, solution in enumerate(solutions):
            logits[index, held] = solution.logits(features[held])

    def best(rows: np.ndarray) -> int:
        return int(np.argmin([loss(each[rows], targets[rows], multilabel) for each in logits]))

    if fixed:
        chosen = best(split == "valid")
        train, test = split != "test", split == "test"
    else:
        chosen = best(np.ones(len(split), bool))
        train = np.ones(len(split), bool)
    *_, solution = fit(features[train], targets[train], L2[: chosen + 1], multilabel=multilabel)
    if fixed:
        unseen = solution.logits(features[test])
        reached = score(unseen, targets[test], multilabel)
        return Selection(solution, L2[chosen], reached, (reached,), np.flatnonzero(test), unseen)
    unseen = np.zeros(targets.shape, np.float32)
    for fold in folds:
        held = split == fold
        unseen[held] = logits[best(~held), held]
    of_folds = tuple(score(unseen[split == f], targets[split == f], multilabel) for f in folds)
    reached = score(unseen, targets, multilabel)
    return Selection(solution, L2[chosen], reached, of_folds, np.arange(len(split)), unseen)


def loss(logits: np.ndarray, targets: np.ndarray, multilabel: bool) -> float:
    """Return the mean negative log likelihood of the labels."""
    values, wanted = torch.from_numpy(logits), torch.from_numpy(targets).float()
    if multilabel:
        return float(functional.binary_cross_entropy_with_logits(values, wanted))
    return float(functional.cross_entropy(values, wanted))


def score(logits: np.ndarray, targets: np.ndarray, multilabel: bool) -> float:
    """Return the accuracy, or with several labels the mean average precision of the classes.

    Classes without a clip among the rows are left out of the mean.
    """
    if not multilabel:
        return float(targets[np.arange(len(targets)), logits.argmax(1)].mean())
    order = np.argsort(-logits, axis=0, kind="stable")
    hits = np.take_along_axis(targets, order, 0)
    precision = hits.cumsum(0) / np.arange(1, len(hits) + 1)[:, None]
    counts = hits.sum(0)
    average = (precision * hits).sum(0)[counts > 0] / counts[counts > 0]
    return float(average.mean())
