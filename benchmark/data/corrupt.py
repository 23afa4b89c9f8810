"""Ways to corrupt audio by name, such as "noise:20" or "mp3:64": a kind and a level.

A corruption is a transform of the waveform, `[n]` -> `[n]`, at its own sample rate, before any
resampling for a model. What is random is seeded by the clip and the kind, so a clip is corrupted
alike on every machine, for every model and in whatever process reads it; the same noise is used at
every SNR. MP3, Opus and Vorbis are the real codecs, by libsndfile in memory.
"""

import hashlib
import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.random import Generator

from benchmark.data.clip import BenchmarkError
from benchmark.data.registry import near

FRAME_SECONDS = 0.02
ACTIVE_DB = 30.0  # frames so far below the loudest frame, in dB, count as pauses
LOWEST_HZ = 20.0  # pink noise is flat below: 1 / f has no end
MP3_KBIT = (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
"""Constant bitrates of MP3, in kbit/s."""
MP3_RATES = (
    ((8_000, 11_025, 12_000), 8, 64),  # MPEG-2.5
    ((16_000, 22_050, 24_000), 8, 160),  # MPEG-2
    ((32_000, 44_100, 48_000), 32, 320),  # MPEG-1
)
"""Sample rates of each version of MP3 in Hz, with their lowest and highest bitrate in kbit/s."""
OPUS_RATES = (8_000, 12_000, 16_000, 24_000, 48_000)
OPUS_KBIT = (6, 256)
VORBIS_RATES = (8_000, 192_000)


class CorruptionError(BenchmarkError):
    """A corruption that is not known or not possible; one line with what there is."""


def active(wave: np.ndarray, sample_rate: int) -> np.ndarray:
    """Return which samples are audio rather than pause: bool `[n]`.

    A frame of 20 ms is active within 30 dB of the loudest; of pure silence all is.
    """
    size = max(1, round(FRAME_SECONDS * sample_rate))
    starts = np.arange(0, len(wave), size)
    lengths = np.diff(np.append(starts, len(wave)))
    power = np.add.reduceat(np.square(wave, dtype=np.float64), starts) / lengths
    return np.repeat(power >= power.max() * 10 ** (-ACTIVE_DB / 10), lengths)


def noise(wave: np.ndarray, sample_rate: int, snr: float, generator: Generator) -> np.ndarray:
    """Add pink noise (power as 1 / f) at an SNR in dB over the active part; not to silence."""
    spectrum = np.fft.rfft(generator.standard_normal(len(wave)))
    hertz = np.fft.rfftfreq(len(wave), 1 / sample_rate)
    spectrum /= np.sqrt(np.maximum(hertz, LOWEST_HZ))
    spectrum[0] = 0.0
    added = np.fft.irfft(spectrum, len(wave))
    power = np.mean(np.square(wave[active(wave, sample_rate)]))
    own = np.mean(np.square(added))
    if power == 0.0 or own == 0.0:  # one sample has no spectrum but its mean
        return wave.copy()
    return wave + added * math.sqrt(power / own / 10 ** (snr / 10))


def reverb(wave: np.ndarray, sample_rate: int, rt60: float, generator: Generator) -> np.ndarray:
    """Convolve with the response of a `room` of the clip's own; what rings on after it is cut."""
    response = room(sample_rate, rt60, generator)
    size = 1 << (len(wave) + len(response) - 2).bit_length()
    product = np.fft.rfft(wave, size) * np.fft.rfft(response, size)
    return np.fft.irfft(product, size)[: len(wave)]


def room(sample_rate: int, rt60: float, generator: Generator) -> np.ndarray:
    """Return the response of a synthetic room: the direct sound, then decaying noise.

    The tail falls by 60 dB in `rt60` seconds, alike at all frequencies, and holds as much energy as
    the direct sound. The response has unit energy, so the level stays about the same.
    """
    time = np.arange(max(2, round(rt60 * sample_rate))) / sample_rate
    response = generator.standard_normal(len(time)) * 10 ** (-3 * time / rt60)
    response[0] = 0.0
    response /= np.sqrt(np.sum(np.square(response)))
    response[0] = 1.0
    return np.asarray(response / math.sqrt(2))


def clip(wave: np.ndarray, sample_rate: int, percent: float, _: Generator) -> np.ndarray:
    """Clip the loudest samples, a percentage of the active part, as an overdriven input does."""
    loudness = np.abs(wave[active(wave, sample_rate)])
    limit = np.quantile(loudness, 1 - percent / 100)
    return np.clip(wave, -limit, limit)


def coding_rate(codec: str, sample_rate: int, level: float) -> int:
    """Return the sample rate in Hz at which a codec takes audio at a level.

    It is the audio's own where the codec has it, else the next higher one, else the highest.

    Example:
        >>> coding_rate("mp3", 44_100, 64), coding_rate("mp3", 44_100, 16)
        (44100, 24000)
    """
    if codec == "vorbis":
        return min(max(sample_rate, VORBIS_RATES[0]), VORBIS_RATES[1])
    rates: tuple[int, ...] = OPUS_RATES
    if codec == "mp3":
        rates = tuple(r for own, low, high in MP3_RATES if low <= level <= high for r in own)
    return min((rate for rate in rates if rate >= sample_rate), default=max(rates))


def encode(codec: str, wave: np.ndarray, sample_rate: int, level: float) -> bytes:
    """Return audio at a rate that `coding_rate` returned as an encoded file.

    The level of "mp3" is a constant bitrate in kbit/s (by LAME), of "opus" the target of a variable
    one (noise and tones of 10 s came out within 25 % of it), of "vorbis" a quality from 0 to 10.
    """
    how: dict[str, Any] = {"format": "OGG", "subtype": codec.upper()}
    if codec == "mp3":
        low, high = next((low, high) for own, low, high in MP3_RATES if sample_rate in own)
        how = {"format": "MP3", "subtype": "MPEG_LAYER_III", "bitrate_mode": "CONSTANT"}
    else:
        low, high = OPUS_KBIT if codec == "opus" else (0, 10)
    # libsndfile refuses exactly 1, and LAME takes the bitrate that is nearest.
    how["compression_level"] = min((high - level) / (high - low), 0.9999)
    file = io.BytesIO()
    soundfile.write(file, wave, sample_rate, **how)
    return file.getvalue()


def coded(codec: str, wave: np.ndarray, sample_rate: int, level: float, _: Generator) -> np.ndarray:
    """Encode audio as `encode` does and decode it, aligned with what it was; not silence.

    Low bitrates of MP3 have no room for LAME's tag, so the decoder cannot trim the codec's delay
    (1,105 samples): where the length differs, the delay is measured by cross-correlation. A wave
    above full scale is scaled down for the codec and up again.
    """
    if not wave.any():
        return wave.copy()
    own = coding_rate(codec, sample_rate, level)
    scale = max(1.0, float(np.abs(wave).max()))
    sent = _resample(wave / scale, sample_rate, own)
    sent = np.pad(sent, (0, max(0, own // 10 - len(sent))))  # encoders want some frames
    decoded, _rate = soundfile.read(io.BytesIO(encode(codec, sent, own, level)))
    surplus = len(decoded) - len(sent)
    if surplus > 0:
        size = 1 << (len(decoded) + len(sent) - 2).bit_length()
        product = np.fft.rfft(decoded, size) * np.conj(np.fft.rfft(sent, size))
        lag = int(np.fft.irfft(product, size)[: surplus + 1].argmax())
        decoded = decoded[lag : lag + len(sent)]
    decoded = _resample(decoded, own, sample_rate)[: len(wave)]
    return np.pad(decoded, (0, len(wave) - len(decoded))) * scale


def _resample(wave: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    return wave if rate == wanted else soxr.resample(wave, rate, wanted, quality="HQ")


@dataclass(frozen=True)
class Kind:
    """A kind of corruption and its levels."""

    #: (wave, sample rate, level, generator) -> wave
    apply: Callable[[np.ndarray, int, float, Generator], np.ndarray]
    lowest: float
    highest: float
    usual: float | None  #: level taken where none is named, None where one must be
    title: str  #: for readers, with a place for the level
    levels: tuple[float, ...] = ()  #: that alone are possible; () for all from lowest to highest


KINDS = {
    "noise": Kind(noise, -40, 100, None, "pink noise, SNR {:g} dB"),
    "reverb": Kind(reverb, 0.01, 10, 0.8, "reverberation, RT60 {:g} s"),
    "clip": Kind(clip, 0.01, 99, 10, "clipping of {:g} % of the samples"),
    "mp3": Kind(partial(coded, "mp3"), 8, 320, None, "MP3, {:g} kbit/s", MP3_KBIT),
    "opus": Kind(partial(coded, "opus"), *OPUS_KBIT, None, "Opus, about {:g} kbit/s (variable)"),
    "vorbis": Kind(partial(coded, "vorbis"), 0, 10, None, "Vorbis, quality {:g} (variable)"),
}


@dataclass(frozen=True)
class Corruption:
    """A kind of corruption, one of `KINDS`, at a level in the kind's unit."""

    kind: str
    level: float

    @property
    def name(self) -> str:
        """Kind and level, such as "noise:20"."""
        return f"{self.kind}:{self.level:g}"

    @property
    def title(self) -> str:
        """The name for readers, with the unit."""
        return KINDS[self.kind].title.format(self.level)

    def __call__(self, wave: np.ndarray, sample_rate: int, clip_id: str) -> np.ndarray:
        """Return a clip corrupted; where it would pass full scale, or its own peak, scaled."""
        digest = hashlib.blake2b(f"{self.kind}\n{clip_id}".encode(), digest_size=8).digest()
        generator = np.random.default_rng(int.from_bytes(digest, "big"))
        apply = KINDS[self.kind].apply
        corrupted = apply(wave.astype(np.float64), sample_rate, self.level, generator)
        limit, peak = max(1.0, float(np.abs(wave).max())), float(np.abs(corrupted).max())
        return (corrupted * min(1.0, limit / max(peak, limit))).astype(np.float32)


def parse(text: str) -> Corruption:
    """Return the corruption of a name: a kind, or a kind and a level.

    Example:
        >>> parse("mp3:64").title, parse("reverb").name
        ('MP3, 64 kbit/s', 'reverb:0.8')
    """
    kind, colon, level = text.partition(":")
    if kind == "mp3-like":
        raise CorruptionError(
            f"corruption {text!r} was an imitation and is gone: name a real codec and its level, "
            "such as mp3:16, opus:16 or vorbis:3"
        )
    if kind not in KINDS:
        known = ", ".join(f"{k} ({usage(k)})" for k in KINDS)
        raise CorruptionError(f"unknown corruption {kind!r}{near(kind, KINDS)}: there are {known}")
    chosen = KINDS[kind]
    if not colon and chosen.usual is not None:
        return Corruption(kind, chosen.usual)
    try:
        number = float(level)
    except ValueError:
        number = math.nan
    possible = chosen.lowest <= number <= chosen.highest
    if not possible or (chosen.levels and number not in chosen.levels):
        raise CorruptionError(f"corruption {text!r} needs a level: {usage(kind)}")
    return Corruption(kind, number)


def parse_all(texts: Sequence[str]) -> tuple[Corruption, ...]:
    """Return the corruptions of several names."""
    corruptions = tuple(parse(text) for text in texts)
    for one in corruptions:
        if corruptions.count(one) > 1:
            raise CorruptionError(f"corruption {one.name!r} is named twice: leave one out")
    return corruptions


def title_of(name: str) -> str:
    """Return the title of a corruption in a result; the name where an older version made it."""
    try:
        return parse(name).title
    except CorruptionError:
        return name


def usage(kind: str) -> str:
    """Return how a kind is written, with its levels."""
    chosen = KINDS[kind]
    if chosen.levels:
        return f"{kind}:N with N one of {', '.join(f'{level:g}' for level in chosen.levels)}"
    usual = "" if chosen.usual is None else f", {chosen.usual:g} where left out"
    return f"{kind}:{chosen.lowest:g} to {kind}:{chosen.highest:g}{usual}"


@dataclass(frozen=True)
class CorruptedClips:
    """A corruption of certain clips, by row, as the reader of their files takes it."""

    corruption: Corruption
    clip_ids: Sequence[str]

    def __call__(self, wave: np.ndarray, sample_rate: int, row: int) -> np.ndarray:
        """Return the clip of a row corrupted, see `Corruption`."""
        return self.corruption(wave, sample_rate, self.clip_ids[row])

    @property
    def key(self) -> dict[str, str]:
        """What embeddings of these clips depend on: the name, the code, the codecs, the seeds."""
        code = hashlib.blake2b(Path(__file__).read_bytes(), digest_size=16)
        code.update(f"{soundfile.__libsndfile_version__} {soxr.__version__}".encode())
        seeds = hashlib.blake2b("\n".join(self.clip_ids).encode(), digest_size=16)
        hashes = {"code": code.hexdigest(), "clips": seeds.hexdigest()}
        return {"corruption": self.corruption.name, **hashes}
