"""The Augmentation Layer: random effects, every sample with its own."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, cast

import torch
from torch import Tensor, nn

from pretrain.augment.effect import Effect, EffectConfig
from pretrain.augment.effects import (
    Clip,
    ClipConfig,
    Gain,
    GainConfig,
    Speed,
    SpeedConfig,
    TimeDropout,
    TimeDropoutConfig,
)
from pretrain.augment.filters import (
    BandReject,
    BandRejectConfig,
    Equaliser,
    EqualiserConfig,
    Filter,
    fft_size,
)
from pretrain.augment.noise import Noise, NoiseConfig
from pretrain.augment.pitch import PitchShift, PitchShiftConfig
from pretrain.augment.reverb import Reverb, ReverbConfig

KINDS: dict[str, Any] = {
    "time_dropout": TimeDropout,
    "reverb": Reverb,
    "pitch_shift": PitchShift,
    "clip": Clip,
    "speed": Speed,
    "band_reject": BandReject,
    "equaliser": Equaliser,
    "gain": Gain,
    "noise": Noise,
}
_CPU_ROWS = 64  # samples changed at a time on a CPU: fewer passes through main memory


@dataclass(frozen=True)
class AugmentConfig:
    """Which effects, how often and in what range; the defaults are the authors' recipe.

    Args:
        count: each sample gets this many of the effects that have a probability above 0, drawn
            without replacement (the authors': 2 to 5); null: each by its own probability.
        noise_last: noise comes after all others, by its own probability, and does not count.
        time_dropout, reverb, pitch_shift, clip, speed, band_reject, equaliser, gain, noise: the
            effects; one with probability 0 is left out.
    """

    count: tuple[int, int] | None = (2, 5)
    noise_last: bool = True
    time_dropout: TimeDropoutConfig = field(
        default_factory=lambda: TimeDropoutConfig(probability=0.5)
    )
    reverb: ReverbConfig = field(default_factory=lambda: ReverbConfig(probability=0.5))
    pitch_shift: PitchShiftConfig = field(default_factory=lambda: PitchShiftConfig(probability=0.5))
    clip: ClipConfig = field(default_factory=lambda: ClipConfig(probability=0.5))
    speed: SpeedConfig = field(default_factory=lambda: SpeedConfig(probability=0.5))
    band_reject: BandRejectConfig = field(default_factory=BandRejectConfig)
    equaliser: EqualiserConfig = field(default_factory=EqualiserConfig)
    gain: GainConfig = field(default_factory=GainConfig)
    noise: NoiseConfig = field(
        default_factory=lambda: NoiseConfig(probability=1.0, mixing="wavaugment")
    )

    def __post_init__(self) -> None:
        """Check the count."""
        if self.count is not None and not 0 <= self.count[0] <= self.count[1]:
            raise ValueError(f"count is {self.count}: give null or (least, most)")
        settings = {name: getattr(self, name) for name in KINDS}
        if self.noise_last:
            del settings["noise"]
        there = sum(config.probability > 0 for config in settings.values())
        if self.count is not None and self.count[0] > there:
            raise ValueError(
                f"count is {list(self.count)}, but {there} effects beside the last have a "
                f"probability above 0: give more of them one, or set count to null"
            )


def _effects(config: AugmentConfig) -> Iterator[tuple[str, EffectConfig, Effect]]:
    """Yield name, settings and module of every effect that is not left out."""
    for name, kind in KINDS.items():
        settings: EffectConfig = getattr(config, name)
        if settings.probability > 0:
            yield name, settings, kind(settings)


class AugmentationLayer(nn.Module):
    """Changes every sample of a batch by effects of its own, with parameters of its own.

    Departures from the authors' code, for speed: one random order serves a whole batch (which
    effects a sample gets, and how, is its own); and the linear effects (reverb, equaliser, band
    reject), which commute, stand at one position in it and are one FFT product.

    Args:
        config: which effects, see `AugmentConfig`.
    """

    def __init__(self, config: AugmentConfig) -> None:
        super().__init__()
        chosen = list(_effects(config))
        self.effects = nn.ModuleDict({name: effect for name, _, effect in chosen})
        self.probability = torch.tensor([settings.probability for _, settings, _ in chosen])
        self.last = ["noise"] if config.noise_last and "noise" in self.effects else []
        self.drawn = [name for name in self.effects if name not in self.last]
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
        parameters = {name: self._effect(name).draw(wave, generator) for name in self.effects}
        result = wave.clone()
        stride = len(wave) if wave.is_cuda else _CPU_ROWS
        for first in range(0, len(wave), max(stride, 1)):
            piece = result[first : first + stride]
            for step in steps:
                mine = {name: gets[name][first : first + stride] for name in step}
                rows = torch.stack(list(mine.values())).any(0).nonzero()[:, 0]
                if not len(rows):
                    continue
                on_device = rows.to(wave.device)
                taken = {
                    name: (
                        who[rows],
                        parameters[name].take(on_device[who[rows].to(on_device.device)] + first),
                    )
                    for name, who in mine.items()
                }
                piece[on_device] = self._change(piece[on_device], taken)
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
            least, most = self.count[0], min(self.count[1], len(self.drawn))
            drawn = torch.tensor([name not in self.last for name in self.effects])
            rank = wanted[drawn].argsort(0).argsort(0)
            gets[drawn] = rank < least + (number * (most - least + 1)).floor()
        shuffled = sorted(zip(order.tolist(), self.effects, strict=True))
        return self._steps([name for _, name in shuffled]), dict(
            zip(self.effects, gets, strict=True)
        )

    def _steps(self, order: list[str]) -> list[list[str]]:
        """Join the filters at the position of the first of them; put the last one last."""
        filters = [name for name in order if isinstance(self.effects[name], Filter)]
        steps = []
        for name in order:
            if name not in filters and name not in self.last:
                steps.append([name])
            elif filters and name == filters[0]:
                steps.append(filters)
        return [*steps, self.last] if self.last else steps

    def _effect(self, name: str) -> Effect:
        return cast(Effect, self.effects[name])

    def _change(self, wave: Tensor, taken: dict[str, tuple[Tensor, Any]]) -> Tensor:
        """Do one step on those samples that get it: one effect, or one product of filters.

        Args:
            wave: the samples, each of which gets one of the effects at least.
            taken: by name, who of them gets the effect (bool), and their parameters.
        """
        first = self._effect(next(iter(taken)))
        if not isinstance(first, Filter):
            ((_, parameters),) = taken.values()
            return first.change(wave, parameters)
        size = fft_size(wave.shape[-1])
        spectrum = torch.fft.rfft(wave, size)
        for name, (who, parameters) in taken.items():
            response = cast(Filter, self.effects[name]).response(parameters, size)
            if who.all():
                spectrum *= response
            elif who.any():
                spectrum[who.to(wave.device)] *= response
        changed: Tensor = torch.fft.irfft(spectrum, size)[..., : wave.shape[-1]]
        return changed
