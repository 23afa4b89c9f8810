"""What an effect of the Augmentation Layer is.

An effect draws its parameters, one set a sample, from an explicit generator (`draw`), and changes
the waves by them (`change`); `forward` does both. The two are apart so that the layer changes those
samples alone that get the effect, and a test can measure what an effect did against what it drew.
"""

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from wavebyol_hear.files.settings import check_range

SAMPLE_RATE = 16_000  # Hz, of the store and of every effect


@dataclass(frozen=True)
class EffectConfig:
    """What every effect's settings have.

    Args:
        probability: share of the samples that get the effect, 0 to 1; 0 leaves it out.
    """

    probability: float = 0.0

    def __post_init__(self) -> None:
        """Check the probability and that every pair is (low, high)."""
        check_range(self, "probability", minimum=0, maximum=1)
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            pair = isinstance(value, tuple) and len(value) == 2
            if pair and not value[0] <= value[1]:
                raise ValueError(f"{field.name} is {value}: give (low, high), low <= high")


class Effect(nn.Module):
    """Base of all effects: every sample is changed by its own parameters.

    `change(wave, *drawn)` returns the waves changed by what `draw` returned, or by some rows of it
    where `wave` has those rows alone.

    Shape:
        wave, result [B, 1, T]; drawn [B, ...] each.
    """

    change: Callable[..., Tensor]

    def draw(self, wave: Tensor, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Draw parameters for every sample of a batch, on its device, where the generator is too.

        Shape:
            wave [B, 1, T]; returns [B, ...] each.
        """
        raise NotImplementedError

    def forward(self, wave: Tensor, generator: torch.Generator) -> Tensor:
        """Draw parameters and change the waves by them: [B, 1, T] to the same."""
        return self.change(wave, *self.draw(wave, generator))


def uniform(
    wave: Tensor, generator: torch.Generator, low: float = 0.0, high: float = 1.0
) -> Tensor:
    """Draw one number a sample, uniform from low to high.

    Shape:
        wave [B, 1, T]; returns [B].
    """
    return torch.empty(len(wave), device=wave.device).uniform_(low, high, generator=generator)
