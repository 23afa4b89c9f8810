"""A fingerprint of a sound's spectrum: 32 bits for every 32 ms, the same after gain and codec.

After J. Haitsma and T. Kalker, A Highly Robust Audio Fingerprinting System, ISMIR 2002: a bit is
the sign of a difference over frequency of a difference over time of band energies. Here the
energies are logarithmic, so that any fixed filter cancels as a gain does, and the difference over
time spans 128 ms, so that it stands out of noise.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

SAMPLE_RATE = 16000
WINDOW = 4096
HOP = 512
LAG = 4
"""Hops between the two frames that a word compares."""

LOWEST_HZ, HIGHEST_HZ = 250.0, 3600.0
"""What a telephone, a low-pass filter and every codec leave."""

BANDS = 33
SILENCE_DB = 60.0
"""Frames this far below the sound's loudest have no word: there is nothing to recognise."""


FRAMES_AT_ONCE = 64


@dataclass(frozen=True)
class Print:
    """The fingerprint of a sound.

    Attributes:
        words: uint32 `[n]`, one for every HOP samples; word i compares the frames centred on the
            samples i HOP and (i + LAG) HOP.
        heard: bool `[n]`, whether both frames hold sound.
    """

    words: np.ndarray
    heard: np.ndarray


@lru_cache(maxsize=1)
def _weights() -> tuple[Tensor, Tensor]:
    """Return the window `[WINDOW]` and each FFT bin's share in each band `[bins, BANDS]`."""
    edges = torch.from_numpy(np.geomspace(LOWEST_HZ, HIGHEST_HZ, BANDS + 1)) * WINDOW / SAMPLE_RATE
    bins = torch.arange(int(edges[-1]) + 2, dtype=edges.dtype)[:, None]
    # A bin is as wide as 1 and centred on its number: edges may fall within it.
    share = torch.minimum(bins + 0.5, edges[1:]) - torch.maximum(bins - 0.5, edges[:-1])
    return torch.hann_window(WINDOW), share.clamp(0, 1).float()


def sound_print(wave: np.ndarray, phase: int = 0) -> Print:
    """Return the fingerprint of a sound.

    Args:
        wave: at 16 kHz, of any scale.
        phase: samples by which the frames come later, 0 <= phase < HOP.

    Shape:
        wave: float32 `[samples]`; words and heard: `[ceil((samples - phase) / HOP) - LAG]`, at
        least 0.
    """
    window, bands = _weights()
    shifted = torch.from_numpy(np.ascontiguousarray(wave[phase:], dtype=np.float32))
    count = -(-len(shifted) // HOP)
    if count <= LAG:
        return Print(np.zeros(0, np.uint32), np.zeros(0, bool))
    padded = torch.nn.functional.pad(shifted, (WINDOW // 2, WINDOW // 2))
    power = torch.cat(
        [
            torch.fft.rfft(frames * window)[:, : len(bands)].abs().square() @ bands
            for frames in padded.unfold(0, WINDOW, HOP)[:count].split(FRAMES_AT_ONCE)
        ]
    )
    loud = power.sum(1)
    loudest = float(loud.max())
    heard = loud > loudest * 10 ** (-SILENCE_DB / 10)
    # The floor only keeps the logarithm of digital silence finite.
    level = (power + max(loudest, 1e-30) * 1e-12).log()
    slope = level[:, 1:] - level[:, :-1]
    rises = slope[LAG:] > slope[:-LAG]
    packed = np.packbits(rises.numpy(), axis=1, bitorder="little").view("<u4")[:, 0]
    return Print(packed.astype(np.uint32), (heard[LAG:] & heard[:-LAG]).numpy())
