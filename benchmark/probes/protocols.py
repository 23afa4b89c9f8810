"""Protocols for one class per clip: what is selected on validation rows, and then trained.

"linear-1" is the softmax regression of `benchmark.probes.linear`; C is selected.

"knn-1" classifies by the nearest training rows in cosine similarity; their number is selected.
Features are standardized by the training rows. A neighbor's vote has the weight 1 + cosine, so that
of two classes with equally many neighbors the nearer one wins.

"mlp-1" is the classifier of WaveBYOL's authors: Linear to 4096, BatchNorm, ReLU, Linear to the
classes, batches of 128 (github waverDeep/WaveBYOL, model_downstream.py and its downstream
configurations), on features standardized by the training rows, trained by Adam. The learning rate
and the number of epochs are selected on validation rows; the authors selected on the test rows.

The selected setting is then trained on training and validation rows together, and tested once.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, NoReturn
from typing import Protocol as Interface

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from benchmark.probes.linear import C_GRID, LinearProbe, fit
from benchmark.probes.rows import (
    BLOCK_BYTES,
    Examples,
    ProbeError,
    ProbeResult,
    Rows,
    Selection,
    check_training,
    check_validation,
    predict_test,
)

COUNTS = (1, 3, 5, 10, 20, 50, 100)
"""Candidate numbers of neighbors; with fewer training rows, all of them vote."""
NEIGHBOR_BYTES = 1 << 24
"""Size of a block of rows and of a block of cosines; a few of each exist at a time."""
HIDDEN = 4096
BATCH = 128
EPOCH_BATCHES = 500
"""Maximum number of batches per epoch."""
LEARNING_RATES = (1e-4, 3e-4, 1e-3)
"""Candidate learning rates; the authors used 8e-4."""
MAX_EPOCHS = 200
PATIENCE = 10
"""Epochs without better accuracy or loss on validation rows after which training stops. With few
rows, accuracy may stay at chance at first while the loss already falls."""


class Evaluate(Interface):
    """Selects on validation rows, then predicts the test rows of every fold."""

    def __call__(self, data: Examples, *, device: str = "cpu", seed: int = 0) -> ProbeResult:
        """Return the result, which is a function of the data and the seed.

        Raises:
            ProbeError: a fold lacks rows, or a label or an embedding is out of range.
        """


@dataclass(frozen=True)
class Protocol:
    """A way to score embeddings."""

    name: str  #: on the command line
    version: str  #: in results; changes whenever the same embeddings could get another score
    setting: str  #: name of the selected hyperparameter in results
    random: bool  #: whether the result depends on the seed
    #: the protocol itself. "finetune" needs audio: `benchmark.evaluate` replaces it by a
    #: `benchmark.finetune.protocol.Finetune`
    evaluate: Evaluate


def select_c(
    train: Sequence[Rows], valid: Sequence[Rows], n_classes: int, *, device: str = "cpu"
) -> tuple[list[Selection], LinearProbe]:
    """Select for each fold the C whose probe, fitted on train, is most accurate on valid.

    Of equals, the strongest regularization is selected. No parameter can pass a test row. The
    selected probes are returned too.
    """
    check_validation(valid)
    probe = fit(train, np.tile(C_GRID, (len(train), 1)), n_classes, device=device)
    selections, columns = [], []
    for fold, rows in enumerate(valid):
        accuracy = (probe.predict(fold, rows) == rows.targets()).mean(axis=1)
        columns.append(int(accuracy.argmax()))
        curve = tuple(zip(C_GRID, (100.0 * accuracy).tolist(), strict=True))
        converged = bool(probe.converged[fold].all())
        selections.append(Selection(C_GRID[columns[-1]], curve, converged))
    return selections, probe.at(columns)


def evaluate_linear(data: Examples, *, device: str = "cpu", seed: int = 0) -> ProbeResult:
    """Evaluate by "linear-1", all folds at once; see `Evaluate`."""
    train, valid, development = zip(*data.parts(), strict=True)
    selections, selected = select_c(train, valid, data.n_classes, device=device)
    c = np.array([[selection.value] for selection in selections])
    final = fit(development, c, data.n_classes, device=device, start=selected)
    result = predict_test(data, selections, lambda fold, rows: final.predict(fold, rows)[0])
    return replace(result, converged=result.converged and bool(final.converged.all()))


class Neighbors:
    """Rows to search, and their mean and deviation for the standardization."""

    def __init__(self, rows: Rows, n_classes: int, *, device: str = "cpu") -> None:
        check_training([rows], n_classes)
        self.rows, self.n_classes = rows, n_classes
        self.mean, self.scale = (torch.from_numpy(x).to(device) for x in rows.moments())

    @torch.inference_mode()
    def predict(self, queries: Rows, counts: Sequence[int]) -> np.ndarray:
        """Return the predicted classes of n rows for each number of neighbors, int64 `[C, n]`."""
        classes = []
        for block in queries.blocks(NEIGHBOR_BYTES):
            cosine, label = self._nearest(self._directions(block), max(counts))
            none = torch.zeros(len(cosine), self.n_classes, device=cosine.device)
            votes = (none.scatter_add(1, label[:, :k], 1.0 + cosine[:, :k]) for k in counts)
            classes.append(torch.stack([each.argmax(dim=1) for each in votes]).cpu().numpy())
        return np.concatenate(classes, axis=1)

    def _nearest(self, queries: Tensor, count: int) -> tuple[Tensor, Tensor]:
        """Return cosines and labels of the nearest rows, nearest first, `[n, count or fewer]`."""
        best = queries.new_zeros(len(queries), 0)
        labels = torch.zeros(len(queries), 0, dtype=torch.int64, device=queries.device)
        targets = torch.from_numpy(self.rows.targets()).to(queries.device)
        step = max(1, NEIGHBOR_BYTES // (4 * max(len(queries), self.rows.width)))
        for start in range(0, len(self.rows), step):
            block = self._directions(self.rows.read(start, min(start + step, len(self.rows))))
            cosine, index = (queries @ block.T).topk(min(count, len(block)), dim=1)
            best = torch.cat([best, cosine], dim=1)
            labels = torch.cat([labels, targets[start + index]], dim=1)
            best, index = best.topk(min(count, best.shape[1]), dim=1)
            labels = labels.gather(1, index)
        return best, labels

    def _directions(self, block: np.ndarray) -> Tensor:
        """Return rows standardized and of length 1."""
        rows = torch.from_numpy(block).to(self.mean.device)
        return F.normalize((rows - self.mean) / self.scale, dim=1)


def select_count(train: Rows, valid: Rows, n_classes: int, *, device: str = "cpu") -> Selection:
    """Select the number of neighbors that is most accurate on valid; a tie goes to the largest."""
    check_validation([valid])
    predicted = Neighbors(train, n_classes, device=device).predict(valid, COUNTS)
    accuracy = 100.0 * (predicted == valid.targets()).mean(axis=1)
    curve = tuple(zip(COUNTS, accuracy.tolist(), strict=True))
    return Selection(max(count for count, value in curve if value == accuracy.max()), curve)


def evaluate_knn(data: Examples, *, device: str = "cpu", seed: int = 0) -> ProbeResult:
    """Evaluate by "knn-1"; see `Evaluate`."""
    selections, neighbors = [], []
    for train, valid, development in data.parts():
        selections.append(select_count(train, valid, data.n_classes, device=device))
        neighbors.append(Neighbors(development, data.n_classes, device=device))

    def classify(fold: int, rows: Rows) -> np.ndarray:
        return neighbors[fold].predict(rows, [int(selections[fold].value)])[0]

    return predict_test(data, selections, classify)


class Standardize(nn.Module):
    """Subtracts each feature's mean and divides by its standard deviation, `[n, D] -> [n, D]`."""

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: np.ndarray, scale: np.ndarray) -> None:
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(mean))
        self.register_buffer("scale", torch.from_numpy(scale))

    def forward(self, features: Tensor) -> Tensor:
        """Return the features standardized."""
        return (features - self.mean) / self.scale


def train_mlp(
    rows: Rows, n_classes: int, learning_rate: float, *, device: str = "cpu", seed: int = 0
) -> Iterator[nn.Module]:
    """Yield the head after every epoch of training, without an end."""
    mean, scale = rows.moments()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [nn.Linear(rows.width, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU()]
        head = nn.Sequential(Standardize(mean, scale), *layers, nn.Linear(HIDDEN, n_classes))
    head = head.to(device)
    optimizer = torch.optim.Adam(head.parameters(), lr=learning_rate, fused=True)
    targets = torch.from_numpy(rows.targets())
    generator = np.random.default_rng(seed)
    while True:
        # Batches of nearly one size: a last batch of one row has no variance to normalize by.
        batches = np.array_split(generator.permutation(len(rows)), math.ceil(len(rows) / BATCH))
        for start in range(0, len(batches), EPOCH_BATCHES):
            head.train()
            for positions in batches[start : start + EPOCH_BATCHES]:
                features = torch.from_numpy(rows.take(positions)).to(device)
                loss = F.cross_entropy(head(features), targets[positions].to(device))
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            yield head.eval()


@torch.inference_mode()
def mlp_logits(head: nn.Module, rows: Rows) -> Tensor:
    """Return the logits that a head gives to rows, float32 `[n, K]`, on the CPU."""
    device = next(head.parameters()).device
    blocks = rows.blocks(BLOCK_BYTES * rows.width // max(rows.width, HIDDEN))
    return torch.cat([head(torch.from_numpy(block).to(device)).cpu() for block in blocks])


def validate(head: nn.Module, rows: Rows) -> tuple[float, float]:
    """Return a head's accuracy on rows, in percent, and its mean cross-entropy."""
    logits, targets = mlp_logits(head, rows), torch.from_numpy(rows.targets())
    accuracy = (logits.argmax(dim=1) == targets).double().mean()
    return 100.0 * float(accuracy), float(F.cross_entropy(logits, targets))


def select_epochs(
    rows: Rows, valid: Rows, n_classes: int, *, device: str = "cpu", seed: int = 0
) -> tuple[Selection, int]:
    """Select the learning rate and the number of epochs that are most accurate on valid.

    A tie goes to the lower rate and the earlier epoch.
    """
    check_training([rows], n_classes)
    check_validation([valid])
    if len(rows) < 2:
        raise ProbeError("one training row: batch normalization needs two")
    tried = []
    for rate in LEARNING_RATES:
        heads = islice(train_mlp(rows, n_classes, rate, device=device, seed=seed), MAX_EPOCHS)
        bar = tqdm(heads, desc=f"mlp at {rate:g}", unit="epoch", delay=2, leave=False)
        tried.append(_early_stop(validate(head, valid) for head in bar))
    accuracies = [accuracy for accuracy, _, _ in tried]
    best = int(np.argmax(accuracies))
    curve = tuple(zip(LEARNING_RATES, accuracies, strict=True))
    converged = all(stopped for *_, stopped in tried)
    return Selection(LEARNING_RATES[best], curve, converged), tried[best][1]


def _early_stop(validated: Iterable[tuple[float, float]]) -> tuple[float, int, bool]:
    """Return the best accuracy, its epoch, and whether patience ran out before the epochs did."""
    best, best_epoch, lowest, waited = -1.0, 0, np.inf, 0
    for epoch, (accuracy, loss) in enumerate(validated, start=1):
        waited = 0 if accuracy > best or loss < lowest else waited + 1
        if accuracy > best:
            best, best_epoch = accuracy, epoch
        lowest = min(lowest, loss)
        if waited == PATIENCE:
            return best, best_epoch, True
    return best, best_epoch, False


def evaluate_mlp(data: Examples, *, device: str = "cpu", seed: int = 0) -> ProbeResult:
    """Evaluate by "mlp-1"; see `Evaluate`."""
    selections, heads = [], []
    for rows, valid, development in data.parts():
        selection, epochs = select_epochs(rows, valid, data.n_classes, device=device, seed=seed)
        trained = train_mlp(development, data.n_classes, selection.value, device=device, seed=seed)
        heads.append(next(islice(trained, epochs - 1, None)))
        selections.append(selection)

    def classify(fold: int, rows: Rows) -> np.ndarray:
        return mlp_logits(heads[fold], rows).argmax(dim=1).numpy()

    return predict_test(data, selections, classify)


def needs_audio(*args: Any, **options: Any) -> NoReturn:  # noqa: ANN401
    """Raise ProbeError: embeddings alone cannot be fine-tuned."""
    raise ProbeError("the protocol finetune needs audio, not embeddings: use benchmark.run")


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("linear", "linear-1", "strength", random=False, evaluate=evaluate_linear),
        Protocol("knn", "knn-1", "neighbours", random=False, evaluate=evaluate_knn),
        Protocol("mlp", "mlp-1", "learning_rate", random=True, evaluate=evaluate_mlp),
        Protocol("finetune", "finetune-1", "learning_rate", random=True, evaluate=needs_audio),
    )
}
