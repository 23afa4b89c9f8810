"""The Augmentation Layer: random effects, every sample with its own."""

from dataclasses import dataclass, field, replace
from typing import Any, cast

import torch
from torch import Tensor, nn

from pretrain.augment.effect import Effect
from pretrain.augment.effects import (
    Clip,
    ClipConfig,
    Speed,
    SpeedConfig,
    TimeDropout,
    TimeDropoutConfig,
)
from pretrain.augment.filters import Equaliser, EqualiserConfig, Filter, fft_size
from pretrain.augment.noise import Noise, NoiseConfig
from pretrain.augment.pitch import PitchShift, PitchShiftConfig
from pretrain.augment.reverb import Reverb, ReverbConfig

KINDS: dict[str, Any] = {
    "time_dropout": TimeDropout,
    "reverb": Reverb,
    "pitch_shift": PitchShift,
    "clip": Clip,
    "speed": Speed,
    "equaliser": Equaliser,
    "noise": Noise,
}
LAST = "noise"  # comes after all others
_CPU_ROWS = 64  # samples changed at a time on a CPU: fewer passes through main memory


@dataclass(frozen=True)
class AugmentConfig:
    """Which effects, how often and in what range; the defaults are the authors' recipe.

    Args:
        count: each sample gets this many of the effects that have a probability above 0, drawn
            without replacement (the authors': 2 to 5); null: each by its own probability. Noise,
            which comes last, goes by its own probability and does not count.
        time_dropout, reverb, pitch_shift, clip, speed, equaliser, noise: the effects; one with
            probability 0 is left out.
    """

    count: tuple[int, int] | None = (2, 5)
    time_dropout: TimeDropoutConfig = field(
        default_factory=lambda: TimeDropoutConfig(probability=0.5)
    )
    reverb: ReverbConfig = field(default_factory=lambda: ReverbConfig(probability=0.5))
    pitch_shift: PitchShiftConfig = field(default_factory=lambda: PitchShiftConfig(probability=0.5))
    clip: ClipConfig = field(default_factory=lambda: ClipConfig(probability=0.5))
    speed: SpeedConfig = field(default_factory=lambda: SpeedConfig(probability=0.5))
    equaliser: EqualiserConfig = field(default_factory=EqualiserConfig)
    noise: NoiseConfig = field(
        default_factory=lambda: NoiseConfig(probability=1.0, mixing="wavaugment")
    )

    def __post_init__(self) -> None:
        if self.count is None:
            return
        if not 0 <= self.count[0] <= self.count[1]:
            raise ValueError(f"count is {self.count}: give null or (least, most)")
        there = sum(getattr(self, name).probability > 0 for name in KINDS if name != LAST)
        if self.count[0] > there:
            raise ValueError(
                f"count is {list(self.count)}, but {there} effects beside the last have a "
                f"probability above 0: give more of them one, or set count to null"
            )


def _recipe(noise: NoiseConfig, **probabilities: float) -> AugmentConfig:
    """Return effects by their own probabilities alone; the ranges are the authors'."""
    effects = {
        name: replace(getattr(AugmentConfig(), name), probability=probabilities.get(name, 0.0))
        for name in KINDS
        if name != LAST
    }
    return AugmentConfig(count=None, noise=noise, **effects)


RECIPES = {
    "none": _recipe(NoiseConfig(mixing="wavaugment")),
    "light": _recipe(
        NoiseConfig(probability=1.0, snr=(0.0, 19.0)),
        time_dropout=0.4, reverb=0.4, clip=0.2, equaliser=1.0,
    ),
}  # fmt: skip
"""What a configuration may name in place of an `AugmentConfig`, or change as its `preset`."""


class AugmentationLayer(nn.Module):
    """Changes every sample of a batch by effects of its own, with parameters of its own.

    Departures from the authors' code, for speed: one random order serves a whole batch (which
    effects a sample gets, and how, is its own); and the linear effects (reverb, equaliser), which
    commute, stand at one position in it and are one FFT product.

    Args:
        config: which effects, see `AugmentConfig`.
    """

    def __init__(self, config: AugmentConfig) -> None:
        super().__init__()
        chosen = {name: getattr(config, name) for name in KINDS}
        chosen = {name: settings for name, settings in chosen.items() if settings.probability > 0}
        self.effects = nn.ModuleDict({n: KINDS[n](settings) for n, settings in chosen.items()})
        self.probability = torch.tensor([settings.probability for settings in chosen.values()])
        self.count = config.count

    def forward(self, wave: Tensor, generator: torch.Generator) -> Tensor:
        """Return the waves changed; a sample that gets no effect stays as it is, bit for bit.

        Args:
            wave: mono sound at 16 kHz.
            generator: on the waves' device.

        Shape:
            wave, result [B, 1, T].
        """
        steps, gets = self.draw(wave, generator)
        drawn = {name: self._effect(name).draw(wave, generator) for name in self.effects}
        result = wave.clone()
        stride = len(wave) if wave.is_cuda else _CPU_ROWS
        for rows in torch.arange(len(wave)).split(max(stride, 1)):
            for step in steps:
                mine = rows[torch.stack([gets[name][rows] for name in step]).any(0)]
                if len(mine):
                    self._change(result, mine, {name: gets[name][mine] for name in step}, drawn)
        return result

    def draw(
        self, wave: Tensor, generator: torch.Generator
    ) -> tuple[list[list[str]], dict[str, Tensor]]:
        """Draw the order of the effects, and which samples get which.

        Shape:
            wave [B, 1, T]; returns the steps in order (the names in one step are one FFT product),
            and by name who gets the effect, bool [B] on the CPU.
        """
        effects, batch = len(self.effects), len(wave)
        # In one piece, so that a GPU is waited for but once
        rolls = torch.rand(effects + 1, batch + 1, generator=generator, device=wave.device).cpu()
        wanted, number, order = rolls[:-1, :-1], rolls[-1, :-1], rolls[:-1, -1]
        gets = wanted < self.probability[:, None]
        if self.count is not None:
            counted = torch.tensor([name != LAST for name in self.effects])
            least, most = self.count[0], min(self.count[1], int(counted.sum()))
            rank = wanted[counted].argsort(0).argsort(0)
            gets[counted] = rank < least + (number * (most - least + 1)).floor()
        shuffled = [name for _, name in sorted(zip(order.tolist(), self.effects, strict=True))]
        return self._steps(shuffled), dict(zip(self.effects, gets, strict=True))

    def _steps(self, order: list[str]) -> list[list[str]]:
        """Join the filters at the position of the first of them; put the last one last."""
        filters = [name for name in order if isinstance(self.effects[name], Filter)]
        steps = []
        for name in order:
            if name not in (*filters, LAST):
                steps.append([name])
            elif filters and name == filters[0]:
                steps.append(filters)
        return [*steps, [LAST]] if LAST in order else steps

    def _effect(self, name: str) -> Effect:
        return cast(Effect, self.effects[name])

    def _change(
        self,
        result: Tensor,
        rows: Tensor,
        gets: dict[str, Tensor],
        drawn: dict[str, tuple[Tensor, ...]],
    ) -> None:
        """Do one step on some samples, in place: one effect, or one product of filters.

        Args:
            result: all samples, [B, 1, T].
            rows: of the samples, each of which gets one of the step's effects at least.
            gets: by name, which of these get the effect, bool.
            drawn: by name, the parameters of all samples.
        """
        rows = rows.to(result.device)
        wave, name = result[rows], next(iter(gets))
        if not isinstance(self.effects[name], Filter):
            result[rows] = self._effect(name).change(wave, *(p[rows] for p in drawn[name]))
            return
        size = fft_size(wave.shape[-1])
        spectrum = torch.fft.rfft(wave, size)
        for name, who in gets.items():
            own = who.nonzero()[:, 0].to(result.device)
            if len(own):
                response = cast(Filter, self.effects[name]).response
                spectrum[own] *= response(size, *(p[rows[own]] for p in drawn[name]))
        result[rows] = torch.fft.irfft(spectrum, size)[..., : wave.shape[-1]]
