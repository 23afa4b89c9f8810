"""The simple effects: time dropout, clipping, speed."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pretrain.augment.effect import SAMPLE_RATE, Effect, EffectConfig, uniform
from pretrain.data.crops import gather_crops
from wavebyol_hear.files.settings import check_range


@dataclass(frozen=True)
class TimeDropoutConfig(EffectConfig):
    """Settings of `TimeDropout`: the longest span in seconds (the authors': 0.5)."""

    seconds: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "seconds", minimum=0)


class TimeDropout(Effect):
    """Silences one span, its length uniform up to the longest, its position uniform."""

    def __init__(self, config: TimeDropoutConfig) -> None:
        super().__init__()
        self.longest = round(config.seconds * SAMPLE_RATE)

    def draw(self, wave: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw each span's first sample and the one after its last, [B] int64."""
        samples = wave.shape[-1]
        length = uniform(wave, generator, 0, min(self.longest, samples) + 1).long()
        start = (uniform(wave, generator) * (samples - length + 1)).long()
        return start, start + length

    def change(self, wave: Tensor, start: Tensor, end: Tensor) -> Tensor:
        """Silence each wave's span."""
        time = torch.arange(wave.shape[-1], device=wave.device, dtype=torch.int32)
        start, end = start.int()[:, None, None], end.int()[:, None, None]
        return wave.masked_fill((time >= start) & (time < end), 0.0)


@dataclass(frozen=True)
class ClipConfig(EffectConfig):
    """Settings of `Clip`: range of the level it clips at, over the wave's peaks (0 to 1)."""

    factor: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "factor", minimum=0)


class Clip(Effect):
    """Clips at a share of the wave's own lowest and highest values, as WavAugment's `clip` does."""

    def __init__(self, config: ClipConfig) -> None:
        super().__init__()
        self.range = config.factor

    def draw(self, wave: Tensor, generator: torch.Generator) -> tuple[Tensor]:
        """Draw the share of the peaks that is left, [B]."""
        return (uniform(wave, generator, *self.range),)

    def change(self, wave: Tensor, factor: Tensor) -> Tensor:
        """Clip each wave."""
        factor = factor[:, None, None]
        low, high = wave.aminmax(dim=-1, keepdim=True)
        return wave.clamp(low * factor, high * factor)


@dataclass(frozen=True)
class SpeedConfig(EffectConfig):
    """Settings of `Speed`: the speeds drawn from (the authors')."""

    speeds: tuple[float, ...] = (0.95, 0.93, 0.9, 0.85, 0.83, 0.8, 0.75, 0.6, 0.5)

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range(self, "speeds", above=0)
        if not self.speeds:
            raise ValueError("speeds is empty: give one or more above 0")


class Speed(Effect):
    """Plays faster or slower like a tape, pitch with tempo, then crops (or pads) to the old length.

    The crop sampler changes speed too, in the gather of the crop, for nothing and without losing
    audio at the ends: prefer it. This one is the authors' effect at its position in their order.
    Both interpolate linearly, which takes up to 2 dB from 3 kHz and 9 dB from 6 kHz, and leaves
    images above; no shipped encoder was trained with this effect.
    """

    def __init__(self, config: SpeedConfig) -> None:
        super().__init__()
        self.register_buffer("speeds", torch.tensor(config.speeds), persistent=False)

    def draw(self, wave: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw a speed, and where in the room that it leaves the crop starts (0 to 1), [B] each."""
        speeds = self.get_buffer("speeds").to(wave.device)
        chosen = (uniform(wave, generator) * len(speeds)).long().clamp(max=len(speeds) - 1)
        return speeds[chosen], uniform(wave, generator)

    def change(self, wave: Tensor, speed: Tensor, fraction: Tensor) -> Tensor:
        """Play each wave at its speed."""
        batch, _, samples = wave.shape
        starts = torch.arange(batch, device=wave.device) * samples
        lengths = torch.full_like(starts, samples)
        return gather_crops(wave.reshape(-1), starts, lengths, fraction, speed, samples)[:, None]
