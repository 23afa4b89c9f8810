"""Additive noise at a drawn signal-to-noise ratio: from the batch, or from a store."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from pretrain.augment.effect import Effect, EffectConfig, uniform
from pretrain.data.crops import FULL_SCALE, gather_clips
from pretrain.data.store import Store


@dataclass(frozen=True)
class NoiseConfig(EffectConfig):
    """Settings of `Noise`.

    Args:
        snr: range in dB (the authors': 5 to 19) of what `mixing` makes of it.
        mixing: `snr`: of the signal's power over the noise's, which is brought to it. `wavaugment`,
            as the authors' code has it: c wave + (1 - c) noise with c = r / (1 + r) and
            r = 10^(snr / 10), the noise at its own level; at equal levels that is twice the
            number in dB, 10 to 38 for theirs.
        origin: `batch` (another sample of the batch) or `store`.
        store: folder of a store of noise, for instance MUSAN (the authors'), made by
            `python -m pretrain.store musan --out DIR`.
    """

    snr: tuple[float, float] = (5.0, 19.0)
    mixing: Literal["snr", "wavaugment"] = "snr"
    origin: Literal["batch", "store"] = "batch"
    store: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.origin == "store" and not self.store:
            raise ValueError("store is empty: give a folder made by pretrain.store")


class Noise(Effect):
    """Adds a noise; one shorter than the wave is padded by silence."""

    def __init__(self, config: NoiseConfig) -> None:
        super().__init__()
        self.range, self.mixing = config.snr, config.mixing
        self.store = Store.open(config.store) if config.origin == "store" else None

    def draw(self, wave: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw each sample's noise, at its level in its source, and its ratio in dB.

        Shape:
            wave, noise [B, 1, T]; ratio [B].
        """
        batch, _, samples = wave.shape
        # Drawn of a batch, too, where it decides nothing: what follows stays a seed's own.
        fraction = uniform(wave, generator)
        share = uniform(wave, generator)
        snr = uniform(wave, generator, *self.range)
        if self.store is None:
            # one of the batch - 1 others; with itself where the batch has no other
            others = max(batch - 1, 1)
            shift = 1 + (share * others).long().clamp(max=others - 1)
            return wave[(torch.arange(batch, device=wave.device) + shift) % batch], snr
        clips = (share.cpu().double() * len(self.store)).long().clamp(max=len(self.store) - 1)
        noise = gather_clips(self.store, clips, fraction.cpu(), None, samples)
        if self.mixing == "wavaugment":
            noise /= FULL_SCALE
        return noise.to(wave.device)[:, None], snr

    def change(self, wave: Tensor, noise: Tensor, snr: Tensor) -> Tensor:
        """Add each sample's noise; by its ratio none to silence, which has none."""
        if self.mixing == "wavaugment":
            ratio = 10.0 ** (snr[:, None, None] / 10)
            return torch.lerp(noise, wave, ratio / (1 + ratio))
        signal_level = torch.linalg.vector_norm(wave, dim=-1, keepdim=True)
        noise_level = torch.linalg.vector_norm(noise, dim=-1, keepdim=True)
        factor = signal_level / noise_level * 10.0 ** (-snr[:, None, None] / 20)
        return torch.addcmul(wave, noise, torch.where(noise_level > 0, factor, 0.0))
