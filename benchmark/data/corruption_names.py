"""The corruptions by name, such as "noise:20": a kind and a level.

What is drawn at random is seeded by the clip and the kind of corruption, so a clip is spoilt alike
on every machine, for every model and in whatever process it is read; the same noise is used at
every SNR.
"""

import hashlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.data.corrupt import clip, mp3_like, noise, reverb


class CorruptionError(ValueError):
    """A corruption that is not known or not possible; one line with what there is."""


@dataclass(frozen=True)
class Kind:
    """A kind of corruption and what its level means.

    Attributes:
        apply: (wave, sample rate, level, draw) -> wave.
        lowest: least level.
        highest: greatest level.
        usual: level taken where none is named; None where one must be.
        title: for readers, with a place for the level.
    """

    apply: Callable[[np.ndarray, int, float, np.random.Generator], np.ndarray]
    lowest: float
    highest: float
    usual: float | None
    title: str


KINDS = {
    "noise": Kind(noise, -40, 100, None, "pink noise, SNR {:g} dB"),
    "reverb": Kind(reverb, 0.01, 10, 0.8, "reverberation, RT60 {:g} s"),
    "clip": Kind(clip, 0.01, 99, 10, "clipping of {:g} % of the samples"),
    "mp3-like": Kind(mp3_like, 8, 320, 16, "simulated codec, {:g} kbit/s"),
}


@dataclass(frozen=True)
class Corruption:
    """A kind of corruption at a level.

    Attributes:
        kind: one of `KINDS`.
        level: in the kind's unit.
    """

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
        """Return a clip spoilt; where it would pass full scale, or its own peak, it is scaled.

        Args:
            wave: one channel.
            sample_rate: in Hz.
            clip_id: seeds what is drawn.

        Shape:
            wave and result float32 `[n]`.
        """
        digest = hashlib.blake2b(f"{self.kind}\n{clip_id}".encode(), digest_size=8).digest()
        draw = np.random.default_rng(int.from_bytes(digest, "big"))
        spoilt = KINDS[self.kind].apply(wave.astype(np.float64), sample_rate, self.level, draw)
        most, peak = max(1.0, float(np.abs(wave).max())), float(np.abs(spoilt).max())
        return (spoilt * min(1.0, most / max(peak, most))).astype(np.float32)


def parse(text: str) -> Corruption:
    """Return the corruption of a name: a kind, or a kind and a level, such as "noise:20".

    Raises:
        CorruptionError: the kind is unknown, or the level is absent, no number or out of range.
    """
    kind, colon, level = text.partition(":")
    if kind not in KINDS:
        known = ", ".join(f"{k} ({usage(k)})" for k in KINDS)
        raise CorruptionError(f"unknown corruption {kind!r}: there are {known}")
    found = KINDS[kind]
    if not colon and found.usual is not None:
        return Corruption(kind, found.usual)
    try:
        number = float(level)
    except ValueError:
        number = math.nan
    if not found.lowest <= number <= found.highest:
        raise CorruptionError(f"corruption {text!r} needs a level: {usage(kind)}")
    return Corruption(kind, number)


def parse_all(texts: Sequence[str]) -> tuple[Corruption, ...]:
    """Return the corruptions of several names.

    Raises:
        CorruptionError: see `parse`, or two names mean the same.
    """
    found = tuple(parse(text) for text in texts)
    twice = [corruption.name for corruption in found if found.count(corruption) > 1]
    if twice:
        raise CorruptionError(f"corruption {twice[0]!r} is named twice: leave one out")
    return found


def usage(kind: str) -> str:
    """Return how a kind is written, with its range."""
    found = KINDS[kind]
    usual = "" if found.usual is None else f", {found.usual:g} where left out"
    return f"{kind}:{found.lowest:g} to {kind}:{found.highest:g}{usual}"


@dataclass(frozen=True)
class SpoiltClips:
    """A corruption of certain clips, as the reader of their files takes it.

    Attributes:
        corruption: of all.
        clip_ids: by row.
    """

    corruption: Corruption
    clip_ids: Sequence[str]

    def __call__(self, wave: np.ndarray, sample_rate: int, row: int) -> np.ndarray:
        """Return the clip of a row spoilt, see `Corruption`."""
        return self.corruption(wave, sample_rate, self.clip_ids[row])

    @property
    def key(self) -> dict[str, str]:
        """What embeddings of these clips depend on: the name, the code and the seeds."""
        code = hashlib.blake2b(digest_size=16)
        for module in ("codec", "corrupt", "corruption_names"):
            code.update(Path(__file__).with_name(f"{module}.py").read_bytes())
        seeds = hashlib.blake2b("\n".join(self.clip_ids).encode(), digest_size=16)
        return {
            "corruption": self.corruption.name,
            "code": code.hexdigest(),
            "clips": seeds.hexdigest(),
        }
