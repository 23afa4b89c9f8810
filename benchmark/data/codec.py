"""What a low-bit-rate codec does to sound: a simulation, no codec.

As in MP3 a clip is cut in overlapping blocks of 26 ms, each is turned to a spectrum by the modified
discrete cosine transform (MDCT), lines above a low-pass are dropped, and the rest is rounded so
coarsely that it fits the bit rate; the noise of rounding is laid where the block's own sound hides
it, band by band. Left out: entropy coding (bits are estimated from the rounded numbers), block
switching, the bit reservoir and the polyphase filter bank.
"""

import numpy as np

LINES_PER_SECOND = 44_100 / 576
"""Blocks a second: MP3's at 44.1 kHz, kept at every rate so that the rate changes nothing."""
LOW_PASS_HZ = ((8.0, 3_000.0), (16.0, 5_550.0), (32.0, 8_250.0), (64.0, 16_500.0), (96.0, 20_000.0))
"""Low-pass by kbit/s, as LAME 3.98 sets it for one channel (optimum_bandwidth times 1.5)."""
SPREAD_DB = (27.0, 12.0)
"""How fast masking falls towards lower and towards higher bands, in dB a Bark."""
SEARCH_DB = 60.0
ROUNDS = 16


def low_pass_hz(kbit: float) -> float:
    """Return the frequency in Hz above which nothing is coded at a rate in kbit/s."""
    rates, edges = zip(*LOW_PASS_HZ, strict=True)
    return float(np.interp(kbit, rates, edges))


def recoded(wave: np.ndarray, sample_rate: int, kbit: float) -> np.ndarray:
    """Return sound as it comes back from a codec of a bit rate.

    Args:
        wave: one channel.
        sample_rate: in Hz.
        kbit: bit rate in kbit/s.

    Shape:
        wave and result float64 `[n]`.
    """
    size = max(8, round(sample_rate / LINES_PER_SECOND))
    spectrum = mdct(wave, size)
    hertz = (np.arange(size) + 0.5) * sample_rate / (2 * size)
    kept = hertz < low_pass_hz(kbit)
    coded = np.zeros_like(spectrum)
    coded[:, kept] = rounded(spectrum[:, kept], hertz[kept], kbit * 1000 * size / sample_rate)
    return inverse_mdct(coded, size)[: len(wave)]


def rounded(spectrum: np.ndarray, hertz: np.ndarray, budget: float) -> np.ndarray:
    """Round each block's lines as finely as a number of bits allows.

    The step in a band is in proportion to what masks it; the factor, one a block, is searched by
    halving. A number q takes log2(1 + 2 |q|) bits: there are as many of its size or less.

    Args:
        spectrum: of all blocks.
        hertz: of each line, ascending.
        budget: bits of a block.

    Shape:
        spectrum and result `[blocks, lines]`, hertz `[lines]`.
    """
    step = np.sqrt(12 * masking(spectrum, hertz)) + np.finfo(np.float64).tiny
    fine = np.full((len(spectrum), 1), -SEARCH_DB)
    coarse = -fine
    for _ in range(ROUNDS):
        middle = (fine + coarse) / 2
        numbers = np.rint(spectrum / (step * 10 ** (middle / 20)))
        bits = np.log2(1 + 2 * np.abs(numbers)).sum(axis=1, keepdims=True)
        fits = bits <= budget
        coarse, fine = np.where(fits, middle, coarse), np.where(fits, fine, middle)
    step = step * 10 ** (coarse / 20)
    return step * np.rint(spectrum / step)


def masking(spectrum: np.ndarray, hertz: np.ndarray) -> np.ndarray:
    """Return the power of a line that masks noise there: its band's mean, and its neighbours'.

    Bands are a Bark wide (Traunmueller 1990: z = 26.81 f / (1960 + f) - 0.53).

    Shape:
        spectrum and result `[blocks, lines]`, hertz `[lines]`.
    """
    bark = np.floor(26.81 * hertz / (1960 + hertz) - 0.53).astype(int)
    bands, place = np.unique(bark, return_inverse=True)
    member = (place[:, None] == np.arange(len(bands))) / np.bincount(place)
    power = np.square(spectrum) @ member
    away = bands[None, :] - bands[:, None]  # [from, to]
    fall = np.where(away < 0, -SPREAD_DB[0] * away, SPREAD_DB[1] * away)
    return (power @ 10.0 ** (-fall / 10))[:, place]


def mdct(wave: np.ndarray, size: int) -> np.ndarray:
    """Return the MDCT of blocks of 2 `size` samples that overlap by half, under a sine window.

    X[k] = sqrt(2 / N) sum_n w[n] x[n] cos(pi / N (n + 1/2 + N/2) (k + 1/2)), by an FFT.

    Shape:
        wave `[n]`, result `[blocks, size]`; `inverse_mdct` gives the wave back.
    """
    blocks = -(-len(wave) // size) + 1
    padded = np.zeros((blocks + 1) * size)
    padded[size : size + len(wave)] = wave
    halves = padded.reshape(-1, size)
    window, before, after = _twiddles(size)
    framed = np.concatenate([halves[:-1], halves[1:]], axis=1) * window
    turned = np.fft.fft(framed * before, axis=1)[:, :size]
    return np.sqrt(2 / size) * (turned * after).real


def inverse_mdct(spectrum: np.ndarray, size: int) -> np.ndarray:
    """Return the wave of an MDCT; samples past its end are what the last block holds.

    Shape:
        spectrum `[blocks, size]`, result `[(blocks - 1) * size]`.
    """
    window, before, after = _twiddles(size)
    summed = np.fft.fft(spectrum * after, 2 * size, axis=1)  # a cosine is even in its angle
    framed = np.sqrt(2 / size) * window * (summed * before).real
    return (framed[:-1, size:] + framed[1:, :size]).ravel()


def _twiddles(size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the sine window and the factors before and after the FFT of an MDCT."""
    n, k = np.arange(2 * size), np.arange(size)
    window = np.sin(np.pi * (n + 0.5) / (2 * size))
    before = np.exp(-0.5j * np.pi * n / size)
    after = np.exp(-1j * np.pi / size * (0.5 + size / 2) * (k + 0.5))
    return window, before, after
