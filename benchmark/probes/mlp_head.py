"""The head with one hidden layer of WaveBYOL's authors: its training, and what it predicts.

It is Linear to 4096, BatchNorm, ReLU, Linear to the classes, in batches of 128 (github
waverDeep/WaveBYOL, model_downstream.py and its downstream configurations). Features are
standardised first, by the rows trained on, and the optimiser is Adam.
"""

import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmark.probes.rows import Rows

HIDDEN = 4096
BATCH = 128
ROUND_BATCHES = 500
"""A round is an epoch, or so many batches of a longer one."""
WORK_BYTES = 1 << 26
"""Size of the largest array of a block of rows that is classified."""


class Standardise(nn.Module):
    """Takes a feature's mean away and divides by its deviation.

    Args:
        mean: of each feature.
        scale: standard deviation of each feature.

    Shape:
        mean and scale `[D]`; `[n, D] -> [n, D]`.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, mean: np.ndarray, scale: np.ndarray) -> None:
        """Keep the statistics as buffers."""
        super().__init__()
        self.register_buffer("mean", torch.from_numpy(mean))
        self.register_buffer("scale", torch.from_numpy(scale))

    def forward(self, features: Tensor) -> Tensor:
        """Return the features standardised."""
        return (features - self.mean) / self.scale


def train(
    rows: Rows, n_classes: int, rate: float, *, device: str = "cpu", seed: int = 0
) -> Iterator[nn.Module]:
    """Yield the head after every round of training, without an end.

    Args:
        rows: to train on.
        n_classes: number of classes of the task.
        rate: Adam's learning rate.
        device: torch device that does the work.
        seed: of the first weights and of the order of rows.
    """
    mean, scale = rows.moments()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layers = [nn.Linear(rows.width, HIDDEN), nn.BatchNorm1d(HIDDEN), nn.ReLU()]
        head = nn.Sequential(Standardise(mean, scale), *layers, nn.Linear(HIDDEN, n_classes))
    head = head.to(device)
    optimiser = torch.optim.Adam(head.parameters(), lr=rate, fused=True)
    targets = torch.from_numpy(rows.targets())
    draw = np.random.default_rng(seed)
    while True:
        # Batches of nearly one size: a last batch of one row has no variance to normalise by.
        batches = np.array_split(draw.permutation(len(rows)), math.ceil(len(rows) / BATCH))
        for start in range(0, len(batches), ROUND_BATCHES):
            head.train()
            for places in batches[start : start + ROUND_BATCHES]:
                features = torch.from_numpy(rows.take(places)).to(device)
                loss = F.cross_entropy(head(features), targets[places].to(device))
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
            yield head.eval()


def classify(head: nn.Module, rows: Rows) -> np.ndarray:
    """Return the class numbers that a head gives to rows, int64 `[n]`."""
    found = [np.zeros(0, dtype=np.int64)]
    found += [logits.argmax(dim=1).cpu().numpy() for logits in _logits(head, rows)]
    return np.concatenate(found)


def judge(head: nn.Module, rows: Rows) -> tuple[float, float]:
    """Return a head's accuracy on rows, in percent, and its mean cross-entropy."""
    logits = torch.cat([block.cpu() for block in _logits(head, rows)])
    targets = torch.from_numpy(rows.targets())
    right = (logits.argmax(dim=1) == targets).double().mean()
    return 100.0 * float(right), float(F.cross_entropy(logits, targets))


def _logits(head: nn.Module, rows: Rows) -> Iterator[Tensor]:
    """Yield the logits of rows, a block at a time."""
    place = next(head.parameters()).device
    for block in rows.blocks(WORK_BYTES * rows.width // max(rows.width, HIDDEN)):
        with torch.inference_mode():
            yield head(torch.from_numpy(block).to(place))
