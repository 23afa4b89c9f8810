"""The state of fine-tuning one fold: one file, written whole or not at all."""

import logging
import pickle
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmark.finetune.model import Head
from wavebyol_hear.files.atomic import atomic_write

logger = logging.getLogger(__name__)


@dataclass
class Attempt:
    """One learning rate on one fold."""

    rate: float  #: learning rate of the encoder
    #: epoch, training loss, and loss and accuracy (percent) on validation
    curve: list[dict[str, float]]
    epoch: int = 0  #: epochs finished
    step: int = 0  #: steps done of the current epoch
    loss: float = 0.0  #: of these steps, summed
    over: bool = False  #: whether it has ended
    diverged: bool = False  #: whether it ended because its loss was NaN or infinite


@dataclass
class Best:
    """The state that did best on validation so far."""

    rate: float  #: learning rate it was reached with; 0 for the initial state
    epoch: int  #: after which it was; 0 for the initial state
    accuracy: float  #: on validation, in percent
    loss: float  #: on validation; decides between equal accuracies
    #: of the classifier; empty for the initial state
    weights: dict[str, Tensor] = field(default_factory=dict)


@dataclass
class FoldState:
    """All that a fold needs to go on."""

    head: Head  #: of the beginning, a linear probe
    c: float  #: that was selected for it, see `benchmark.probes.protocols.select_c`
    start: dict[str, float]  #: the point of the validation curve before any training
    best: Best  #: over all attempts
    attempts: list[Attempt] = field(default_factory=list)  #: those begun, the last perhaps not over
    #: of the classifier in the current attempt
    weights: dict[str, Tensor] = field(default_factory=dict)
    optimizer: dict[str, Any] = field(default_factory=dict)  #: its state
    #: the class index of each test row; the end of it all
    predicted: list[int] = field(default_factory=list)

    def save(self, path: Path) -> None:
        """Write the state, whole or not at all, in a folder that is made where it is absent."""
        path.parent.mkdir(parents=True, exist_ok=True)
        attempts = [vars(attempt) for attempt in self.attempts]
        with atomic_write(path) as file:
            torch.save({**vars(self), "best": vars(self.best), "attempts": attempts}, file)

    @classmethod
    def load(cls, path: Path) -> "FoldState | None":
        """Return the state; None where there is none or it is damaged, which is logged."""
        if not path.is_file():
            return None
        try:
            kept = torch.load(path, map_location="cpu", weights_only=True)
            kept["best"] = Best(**kept["best"])
            kept["attempts"] = [Attempt(**attempt) for attempt in kept["attempts"]]
            return cls(**kept)
        except (RuntimeError, EOFError, pickle.UnpicklingError, KeyError, TypeError) as error:
            logger.warning("%s is damaged and is made anew (%s)", path, type(error).__name__)
            return None
