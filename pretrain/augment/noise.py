"""Additive noise at a drawn signal-to-noise ratio: from the batch, coloured, or from a store."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from pretrain.augment.effect import Effect, EffectConfig, Parameters, uniform
from pretrain.data.crops import FULL_SCALE, gather_from_files
from pretrain.data.store import Store
from wavebyol_hear.files.settings import check_range

_COLOURED_SAMPLES = 1 << 17  # 8.2 s of each colour


@dataclass(frozen=True)
class NoiseConfig(EffectConfig):
    """Settings of `Noise`.

    Args:
        snr: range in dB (the authors': 5 to 19) of what `mixing` makes of it.
        mixing: `snr`: of the signal's power over the noise's, which is brought to it. `wavaugment`,
            as the authors' code has it: c wave + (1 - c) noise with c = r / (1 + r) and
            r = 10^(snr / 10), the noise at its own level; at equal levels that is twice the
            number in dB, 10 to 38 for theirs.
        origin: `batch` (another sample of the batch), `coloured` (power falls by 0 to 6 dB an
            octave) or `store`.
        store: folder of a store of noise, for instance MUSAN (the authors'), made by
            `python -m pretrain.store musan --out DIR`.
        colours: number of slopes of the coloured noise, white and brown included.
    """

    snr: tuple[float, float] = (5.0, 19.0)
    mixing: Literal["snr", "wavaugment"] = "snr"
    origin: Literal["batch", "coloured", "store"] = "batch"
    store: str = ""
    colours: int = 7

    def __post_init__(self) -> None:
        """Check the ranges."""
        super().__post_init__()
        check_range(self, "colours", minimum=1)
        if self.origin == "store" and not self.store:
            raise ValueError("store is empty: give a folder made by pretrain.store")
        if self.origin == "coloured" and self.mixing == "wavaugment":
            raise ValueError(
                "mixing is 'wavaugment', and coloured noise has no level of its own: give origin "
                "batch or store"
            )


@dataclass(frozen=True)
class Mixture(Parameters):
    """Where each sample's noise is, and how loud.

    Shape:
        files [N] each, the noises end to end; file_of, start, length, fraction, snr (in dB) [B].
    """

    shared: ClassVar[Iterable[str]] = ("files",)

    files: tuple[Tensor, ...]
    file_of: Tensor
    start: Tensor
    length: Tensor
    fraction: Tensor
    snr: Tensor


def coloured_noise(colours: int, samples: int) -> Tensor:
    """Return noises whose power falls by 0 dB an octave (the first) to 6 (the last).

    Always the same; each noise has unit power.

    Shape:
        returns [colours, samples].
    """
    generator = torch.Generator().manual_seed(0)
    spectrum = torch.fft.rfft(torch.randn(colours, samples, generator=generator))
    slope = torch.linspace(0, 1, colours)[:, None]  # the amplitude falls with frequency^slope
    spectrum *= torch.arange(spectrum.shape[-1]).clamp(min=1) ** -slope
    spectrum[:, 0] = 0
    noise: Tensor = torch.fft.irfft(spectrum, samples)
    return noise / noise.square().mean(dim=-1, keepdim=True).sqrt()


class Noise(Effect):
    """Adds a noise; one shorter than the wave is padded by silence."""

    def __init__(self, config: NoiseConfig) -> None:
        super().__init__()
        self.range, self.origin, self.mixing = config.snr, config.origin, config.mixing
        self.store = Store.open(config.store) if config.origin == "store" else None
        if config.origin == "coloured":
            noise = coloured_noise(config.colours, _COLOURED_SAMPLES)
            self.register_buffer("coloured", noise, persistent=False)

    def draw(self, wave: Tensor, generator: torch.Generator) -> Mixture:
        """Draw each sample's noise and its level."""
        batch = len(wave)
        fraction = uniform(wave, generator)
        share = uniform(wave, generator)
        snr = uniform(wave, generator, *self.range)
        if self.store is not None:
            clip = (share.cpu().double() * len(self.store)).long().clamp(max=len(self.store) - 1)
            start, length = self.store.starts[clip], self.store.lengths[clip]
            return Mixture(
                self.store.files,
                self.store.file_of[clip].to(wave.device),
                start.to(wave.device),
                length.to(wave.device),
                fraction,
                snr,
            )
        if self.origin == "coloured":
            signals = self.get_buffer("coloured").to(wave.device)
            number = (share * len(signals)).long().clamp(max=len(signals) - 1)
        else:
            # one of the batch - 1 others; with itself where the batch has no other
            signals = wave[:, 0]
            others = max(batch - 1, 1)
            shift = 1 + (share * others).long().clamp(max=others - 1)
            number = (torch.arange(batch, device=wave.device) + shift) % batch
        length = torch.full_like(number, signals.shape[-1])
        return Mixture(
            (signals.reshape(-1),),
            torch.zeros_like(number),
            number * signals.shape[-1],
            length,
            fraction,
            snr,
        )

    def noise(self, samples: int, parameters: Mixture) -> Tensor:
        """Return each sample's noise at its level in its source, [B, 1, samples]."""
        at = parameters
        noise = gather_from_files(
            at.files, at.file_of, at.start, at.length, at.fraction, None, samples
        )
        return noise.to(at.snr.device)[:, None]

    def change(self, wave: Tensor, parameters: Mixture) -> Tensor:
        """Add each sample's noise; by its ratio none to silence, which has none."""
        noise = self.noise(wave.shape[-1], parameters)
        if self.mixing == "wavaugment":
            if self.origin == "store":
                noise = noise * FULL_SCALE
            ratio = 10.0 ** (parameters.snr[:, None, None] / 10)
            return torch.lerp(noise, wave, ratio / (1 + ratio))
        signal_level = torch.linalg.vector_norm(wave, dim=-1, keepdim=True)
        noise_level = torch.linalg.vector_norm(noise, dim=-1, keepdim=True)
        factor = signal_level / noise_level * 10.0 ** (-parameters.snr[:, None, None] / 20)
        return torch.addcmul(wave, noise, torch.where(noise_level > 0, factor, 0.0))
