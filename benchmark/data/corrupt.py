"""Ways to spoil sound: noise, reverberation, clipping, a low bit rate; each does what it states.

Every function takes sound and returns sound of the same length, and draws what is random from the
generator it is given.
"""

import math

import numpy as np

from benchmark.data.codec import recoded

FRAME_SECONDS = 0.02
ACTIVE_DB = 30.0
"""Frames so far below the loudest frame, in dB, count as pauses."""
LOWEST_HZ = 20.0
"""Pink noise is flat below: 1 / f has no end."""


def active(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return which samples are sound rather than pause: bool `[n]`.

    A frame of 20 ms is active within 30 dB of the loudest; of pure silence all is.

    Args:
        wave: one channel, `[n]`.
        sample_rate: in Hz.
    """
    size = max(1, round(FRAME_SECONDS * sample_rate))
    starts = np.arange(0, len(wave), size)
    lengths = np.diff(np.append(starts, len(wave)))
    power = np.add.reduceat(np.square(wave, dtype=np.float64), starts) / lengths
    return np.repeat(power >= power.max() * 10 ** (-ACTIVE_DB / 10), lengths)


def noise(wave: np.ndarray, sample_rate: int, snr: float, draw: np.random.Generator) -> np.ndarray:
    """Add pink noise (power as 1 / f) at an SNR over the active part of the clip.

    Args:
        wave: one channel.
        sample_rate: in Hz.
        snr: mean power of the active part over that of the noise, in dB.
        draw: of the noise.

    Shape:
        wave and result `[n]`. Silence has no SNR and comes back as it is.
    """
    spectrum = np.fft.rfft(draw.standard_normal(len(wave)))
    hertz = np.fft.rfftfreq(len(wave), 1 / sample_rate)
    spectrum /= np.sqrt(np.maximum(hertz, LOWEST_HZ))
    spectrum[0] = 0.0
    added = np.fft.irfft(spectrum, len(wave))
    power = np.mean(np.square(wave[active(wave, sample_rate)]))
    own = np.mean(np.square(added))
    if power == 0.0 or own == 0.0:  # one sample has no spectrum but its mean
        return wave.copy()
    return wave + added * math.sqrt(power / own / 10 ** (snr / 10))


def reverb(
    wave: np.ndarray, sample_rate: int, rt60: float, draw: np.random.Generator
) -> np.ndarray:
    """Convolve with the response of a made-up room: the direct sound, then decaying noise.

    The tail falls by 60 dB in `rt60`, alike at all frequencies, and holds as much energy as the
    direct sound. The response has unit energy, so the level stays about the same.

    Args:
        wave: one channel.
        sample_rate: in Hz.
        rt60: in seconds.
        draw: of the room; every clip has its own.

    Shape:
        wave and result `[n]`: what rings on after the clip is cut off.
    """
    response = room(sample_rate, rt60, draw)
    size = 1 << (len(wave) + len(response) - 2).bit_length()
    product = np.fft.rfft(wave, size) * np.fft.rfft(response, size)
    return np.fft.irfft(product, size)[: len(wave)]


def room(sample_rate: int, rt60: float, draw: np.random.Generator) -> np.ndarray:
    """Return the response of `reverb`, of unit energy, as long as its decay time."""
    time = np.arange(max(2, round(rt60 * sample_rate))) / sample_rate
    response = draw.standard_normal(len(time)) * 10 ** (-3 * time / rt60)
    response[0] = 0.0
    response /= np.sqrt(np.sum(np.square(response)))
    response[0] = 1.0
    return np.asarray(response / math.sqrt(2))


def clip(
    wave: np.ndarray, sample_rate: int, percent: float, draw: np.random.Generator
) -> np.ndarray:
    """Clip the loudest samples of the active part, as an overdriven input does.

    Args:
        wave: one channel.
        sample_rate: in Hz.
        percent: of the active samples that are clipped.
        draw: not used.

    Shape:
        wave and result `[n]`.
    """
    loudness = np.abs(wave[active(wave, sample_rate)])
    limit = np.quantile(loudness, 1 - percent / 100)
    return np.clip(wave, -limit, limit)


def mp3_like(
    wave: np.ndarray, sample_rate: int, kbit: float, draw: np.random.Generator
) -> np.ndarray:
    """Simulate a codec of a bit rate, see `benchmark.data.codec`.

    Args:
        wave: one channel.
        sample_rate: in Hz.
        kbit: bit rate in kbit/s.
        draw: not used.

    Shape:
        wave and result `[n]`.
    """
    return recoded(wave, sample_rate, kbit)
