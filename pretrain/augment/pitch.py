"""Pitch shift without change of tempo: a phase vocoder, then a change of speed."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from pretrain.augment.effect import Effect, EffectConfig, uniform
from pretrain.data.crops import gather_crops


@dataclass(frozen=True)
class PitchShiftConfig(EffectConfig):
    """Settings of `PitchShift`: its range in cents (the authors': -500 to 500)."""

    cents: tuple[float, float] = (-500.0, 500.0)


class PitchShift(Effect):
    """Shifts pitch, every sample by its own ratio, without change of tempo.

    A wave is stretched to `ratio` times its length at constant pitch, then played `ratio` times as
    fast. The stretch puts frames at a constant hop whose magnitudes and phase steps are those of
    the wave at the position 1 / ratio frames further on each time; analysis and synthesis share one
    hop, so a phase step needs no unwrapping (Laroche and Dolson 1999, section II).
    """

    WINDOW = 1024  # 64 ms: two or more periods of any voice
    HOP = 256

    def __init__(self, config: PitchShiftConfig) -> None:
        super().__init__()
        self.range = config.cents
        self.register_buffer("window", torch.hann_window(self.WINDOW), persistent=False)

    def draw(self, wave: Tensor, generator: torch.Generator) -> tuple[Tensor]:
        """Draw ratios of the new frequency over the old, uniform in cents, [B]."""
        return (2.0 ** (uniform(wave, generator, *self.range) / 1200),)

    def change(self, wave: Tensor, ratio: Tensor) -> Tensor:
        """Shift each wave.

        Raises:
            ValueError: if the waves are too short to have a spectrum.
        """
        batch, _, samples = wave.shape
        if samples <= self.WINDOW // 2:
            raise ValueError(f"waves of {samples} samples: give over {self.WINDOW // 2}")
        stretched = self._stretch(wave[:, 0], ratio)
        lengths = torch.full((batch,), stretched.shape[-1], device=wave.device)
        starts = torch.arange(batch, device=wave.device) * stretched.shape[-1]
        at_start = torch.zeros_like(ratio)
        crops = gather_crops(stretched.view(-1), starts, lengths, at_start, ratio, samples)
        return crops[:, None]

    def _stretch(self, wave: Tensor, ratio: Tensor) -> Tensor:
        """Stretch each wave to its ratio of its length; [B, T] to [B, at least T * ratio]."""
        batch, samples = wave.shape
        window = self.get_buffer("window").to(wave.device)
        spectrum = torch.stft(
            wave, self.WINDOW, self.HOP, window=window, return_complex=True
        ).transpose(1, 2)  # [B, M, F]
        frames, bins = spectrum.shape[1:]
        highest = 2.0 ** (max(self.range[1], 0.0) / 1200)
        new_frames = math.ceil(samples * highest / self.HOP) + 1
        position = torch.arange(new_frames, device=wave.device) / ratio[:, None]  # [B, J]
        left = position.floor().long().clamp(max=frames - 2)
        weight = (position - left).clamp(max=1)[..., None]
        # What would pass the Nyquist frequency when played faster is taken out
        kept = torch.arange(bins, device=wave.device) * ratio[:, None] <= bins - 1
        level = spectrum.abs() * kept[:, None]
        step = (spectrum[:, 1:] * spectrum[:, :-1].conj()).angle()
        rows = torch.arange(batch, device=wave.device)[:, None]
        new_level = torch.lerp(level[rows, left], level[rows, left + 1], weight)  # [B, J, F]
        phase = step[rows, left].cumsum(1).roll(1, 1)
        phase[:, 0] = 0
        # From the first frame wholly inside the wave: before it, the wave is mirrored, and phases
        # of neighboring bins that do not fit would cancel a steady tone for all time.
        inside = self.WINDOW // 2 // self.HOP
        phase += spectrum[:, [inside]].angle() - phase[:, [inside]]
        new = torch.polar(new_level, phase).transpose(1, 2)
        return torch.istft(new, self.WINDOW, self.HOP, window=window)
