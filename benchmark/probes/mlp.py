"""The protocol "mlp-1": one hidden layer of 4096, the head WaveBYOL's authors put on embeddings.

It is Linear to 4096, BatchNorm, ReLU, Linear to the classes, in batches of 128 (github
waverDeep/WaveBYOL, model_downstream.py and its downstream configurations). Features are
standardized first, by the rows trained on, and the optimizer is Adam. The learning rate and the
epoch to stop at are selected on validation rows, where the authors stopped by the test rows; then
the head is trained so on training and validation rows together.
"""

import math
from collections.abc import Iterable, Iterator
from itertools import islice

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

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

PROTOCOL = "mlp-1"
"""Changes whenever the same embeddings could score otherwise; results then no longer mix."""
HIDDEN = 4096
BATCH = 128
EPOCH_BATCHES = 500
"""Of a longer epoch, so many batches count as one."""
LEARNING_RATES = (1e-4, 3e-4, 1e-3)
"""Learning rates that are compared; the authors' own, 8e-4, is among them but for a quarter."""
MAX_EPOCHS = 200
PATIENCE = 10
"""Epochs in which neither accuracy nor loss on validation rows got better that end training: of few
rows an early head's accuracy stands still at chance while its loss already falls."""
WORK_BYTES = 1 << 26
"""Size of the largest array of a block of rows that is classified."""


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


def train(
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


def classify(head: nn.Module, rows: Rows) -> np.ndarray:
    """Return the class indices that a head gives to rows, int64 `[n]`."""
    return torch.cat([logits.argmax(dim=1).cpu() for logits in _logits(head, rows)]).numpy()


def validate(head: nn.Module, rows: Rows) -> tuple[float, float]:
    """Return a head's accuracy on rows, in percent, and its mean cross-entropy."""
    logits = torch.cat([block.cpu() for block in _logits(head, rows)])
    targets = torch.from_numpy(rows.targets())
    accuracy = (logits.argmax(dim=1) == targets).double().mean()
    return 100.0 * float(accuracy), float(F.cross_entropy(logits, targets))


def _logits(head: nn.Module, rows: Rows) -> Iterator[Tensor]:
    """Yield the logits of rows, a block at a time."""
    device = next(head.parameters()).device
    for block in rows.blocks(WORK_BYTES * rows.width // max(rows.width, HIDDEN)):
        with torch.inference_mode():
            yield head(torch.from_numpy(block).to(device))


def select(
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
        heads = islice(train(rows, n_classes, rate, device=device, seed=seed), MAX_EPOCHS)
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


def evaluate(data: Examples, *, device: str = "cpu", seed: int = 0) -> ProbeResult:
    """Return a prediction for every row that a fold tests; see `protocols.Evaluate`."""
    selections, heads = [], []
    for rows, valid, development in data.parts():
        selection, epochs = select(rows, valid, data.n_classes, device=device, seed=seed)
        trained = train(development, data.n_classes, selection.value, device=device, seed=seed)
        heads.append(next(islice(trained, epochs - 1, None)))
        selections.append(selection)
    return predict_test(data, selections, lambda fold, rows: classify(heads[fold], rows))
