"""Where the fine-tuning of one fold stands: one file, written whole or not at all."""

import logging
import os
import pickle
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.finetune.model import Head

logger = logging.getLogger(__name__)

SAVE_SECONDS = 60.0
"""Between two savings: what a kill may cost at most."""


@dataclass
class Attempt:
    """One learning rate on one fold.

    Attributes:
        rate: learning rate of the encoder.
        curve: epoch, training loss, and loss and accuracy (percent) on validation.
        epoch: epochs finished.
        step: steps done of the epoch that goes on.
        loss: of these steps, summed.
        over: whether it has ended.
        diverged: whether it ended because its loss was no number.
    """

    rate: float
    curve: list[dict[str, float]]
    epoch: int = 0
    step: int = 0
    loss: float = 0.0
    over: bool = False
    diverged: bool = False


@dataclass
class Best:
    """The state that did best on validation so far.

    Attributes:
        rate: learning rate it was reached with; 0 for the initial state.
        epoch: after which it was; 0 for the initial state.
        accuracy: on validation, in percent.
        loss: on validation; decides between equal accuracies.
        weights: of the classifier; empty for the initial state.
    """

    rate: float
    epoch: int
    accuracy: float
    loss: float
    weights: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class FoldState:
    """All that a fold needs to go on.

    Attributes:
        head: of the beginning, a linear probe.
        strength: that was chosen for it, see `tuning`.
        start: the point of the validation curve before any training.
        best: over all attempts.
        attempts: those begun, the last perhaps not over.
        weights: of the classifier in the attempt that goes on.
        optimizer: its state.
        predicted: the class number given to each test row; the end of it all.
    """

    head: Head
    strength: float
    start: dict[str, float]
    best: Best
    attempts: list[Attempt] = field(default_factory=list)
    weights: dict[str, Tensor] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)
    predicted: list[int] = field(default_factory=list)


class StateFile:
    """The file of one fold's state.

    Args:
        path: of the file; its folder is made when something is saved.
    """

    def __init__(self, path: Path) -> None:
        """Start the clock."""
        self.path = path
        self.saved = time.monotonic()

    def read(self) -> FoldState | None:
        """Return the state; None where there is none or it is damaged, which is logged."""
        if not self.path.is_file():
            return None
        try:
            kept = torch.load(self.path, map_location="cpu", weights_only=True)
            kept["best"] = Best(**kept["best"])
            kept["attempts"] = [Attempt(**each) for each in kept["attempts"]]
            return FoldState(**kept)
        except (RuntimeError, EOFError, pickle.UnpicklingError, KeyError, TypeError) as error:
            logger.warning("%s is damaged and is made anew (%s)", self.path, type(error).__name__)
            return None

    def save(self, state: FoldState) -> None:
        """Write the state."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.path.with_name(f"{self.path.name}.{os.getpid()}")
        kept = {
            **vars(state),
            "best": vars(state.best),
            "attempts": [vars(each) for each in state.attempts],
        }
        torch.save(kept, beside)
        beside.replace(self.path)
        self.saved = time.monotonic()

    def due(self) -> bool:
        """Return whether the last saving is long enough ago."""
        return time.monotonic() - self.saved >= SAVE_SECONDS
