"""Fingerprints of audio, 32 bits for every 32 ms, the same after gain and codec; and their index.

After J. Haitsma and T. Kalker, A Highly Robust Audio Fingerprinting System, ISMIR 2002: a bit is
the sign of a difference over frequency of a difference over time of band energies. Here the
energies are logarithmic, so that any fixed filter cancels as a gain does, and the difference over
time spans 128 ms, so that it stands out of noise.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

SAMPLE_RATE = 16000
WINDOW = 4096
HOP = 512
LAG = 4  # hops between the two frames that a subfingerprint compares

LOWEST_HZ, HIGHEST_HZ = 250.0, 3600.0
"""What a telephone, a low-pass filter and every codec leave."""
BANDS = 33
SILENCE_DB = 60.0
"""Frames this far below the loudest have no subfingerprint: there is nothing to recognize."""
FRAMES_AT_ONCE = 64
HALVES = (0, 16)
"""A subfingerprint is looked up by either half: one of them is often free of errors."""
VOTES = 2  # halves that must agree at one offset before the whole overlap is compared
FULL_BUCKET = 32  # values this many times as frequent as the mean say little and are not looked up
MIN_SUBFINGERPRINTS = 16  # subfingerprints that must be compared: shorter clips look like chance
STRETCHES = tuple(int(MIN_SUBFINGERPRINTS * 1.5**power) for power in range(14))
"""Lengths in subfingerprints of the stretches in which two clips may agree, the rest not."""
SUBFINGERPRINTS_AT_ONCE = 1 << 20  # bound the memory of comparing
_SPAN = 1 << 24  # more subfingerprints than any clip has (97 days of 32 ms)

_EDGES = torch.from_numpy(np.geomspace(LOWEST_HZ, HIGHEST_HZ, BANDS + 1)) * WINDOW / SAMPLE_RATE
_BINS = torch.arange(int(_EDGES[-1]) + 2, dtype=_EDGES.dtype)[:, None]
# A bin is as wide as 1 and centred on its number: edges may fall within it. `[bins, BANDS]`
_INSIDE = torch.minimum(_BINS + 0.5, _EDGES[1:]) - torch.maximum(_BINS - 0.5, _EDGES[:-1])
SHARES = _INSIDE.clamp(0, 1).float()
HANN = torch.hann_window(WINDOW)


@dataclass(frozen=True)
class Fingerprint:
    """The fingerprint of a waveform."""

    #: uint32 `[n]`, one for every HOP samples; number i compares the frames centered on the samples
    #: i HOP and (i + LAG) HOP
    subfingerprints: np.ndarray
    active: np.ndarray  #: bool `[n]`, whether neither frame is silent


def fingerprint(wave: np.ndarray, phase: int = 0) -> Fingerprint:
    """Return the fingerprint of a waveform at 16 kHz, whose frames come `phase` samples later.

    Shape:
        wave: `[samples]`; fingerprint: `[max(0, ceil((samples - phase) / HOP) - LAG)]`.
    """
    shifted = torch.from_numpy(np.ascontiguousarray(wave[phase:], dtype=np.float32))
    count = -(-len(shifted) // HOP)
    if count <= LAG:
        return Fingerprint(np.zeros(0, np.uint32), np.zeros(0, bool))
    padded = torch.nn.functional.pad(shifted, (WINDOW // 2, WINDOW // 2))
    power = torch.cat(
        [
            torch.fft.rfft(frames * HANN)[:, : len(SHARES)].abs().square() @ SHARES
            for frames in padded.unfold(0, WINDOW, HOP)[:count].split(FRAMES_AT_ONCE)
        ]
    )
    loud = power.sum(1)
    loudest = float(loud.max())
    active = loud > loudest * 10 ** (-SILENCE_DB / 10)
    # The floor only keeps the logarithm of digital silence finite.
    level = (power + max(loudest, 1e-30) * 1e-12).log()
    slope = level[:, 1:] - level[:, :-1]
    rises = slope[LAG:] > slope[:-LAG]
    packed = np.packbits(rises.numpy(), axis=1, bitorder="little").view("<u4")[:, 0]
    return Fingerprint(packed.astype(np.uint32), (active[LAG:] & active[:-LAG]).numpy())


@dataclass(frozen=True)
class Match:
    """Two clips that agree, by their indices: the one looked for and the one that matches."""

    query: int
    entry: int
    offset: int  #: from the entry's beginning to the query's, in subfingerprints; may be negative
    first: int  #: subfingerprint of the query at which the stretch begins that agrees best
    length: int  #: subfingerprints in the stretch
    similarity: float  #: share of the bits that agree where both clips are active; 0.5 is chance
    score: float  #: how far that is from chance: 2 (similarity - 1/2) sqrt(subfingerprints)


class FingerprintIndex:
    """Fingerprints of clips that can be searched."""

    def __init__(self, entries: Sequence[Fingerprint]) -> None:
        self.starts = np.cumsum([0, *(len(p.subfingerprints) for p in entries)])
        self.subfingerprints = np.concatenate([p.subfingerprints for p in entries])
        self.active = np.concatenate([p.active for p in entries])
        self.entry_of = np.repeat(np.arange(len(entries)), np.diff(self.starts))
        indices = np.flatnonzero(self.active)
        self.tables = []
        for half in HALVES:
            values = (self.subfingerprints[indices] >> half).astype(np.uint16)
            ends = np.cumsum(np.bincount(values, minlength=1 << 16))
            self.tables.append((indices[np.argsort(values, kind="stable")], np.r_[0, ends]))
        self.most = FULL_BUCKET * max(1, len(indices) // (1 << 16))

    def search(self, queries: Sequence[Fingerprint], min_score: float) -> Iterator[Match]:
        """Yield the best stretch of every query with every entry, at each offset with votes."""
        for number, query in enumerate(queries):
            entries, offsets = self._candidates(query)
            step = max(1, SUBFINGERPRINTS_AT_ONCE // max(1, len(query.subfingerprints)))
            for start in range(0, len(entries), step):
                some = entries[start : start + step], offsets[start : start + step]
                stretches = self._best_stretches(query, *some)
                for i in np.flatnonzero(stretches[:, 0] >= min_score):
                    score, first, length, similarity = stretches[i].tolist()
                    where = int(some[0][i]), int(some[1][i]), int(first), int(length)
                    yield Match(number, *where, similarity, score)

    def _candidates(self, query: Fingerprint) -> tuple[np.ndarray, np.ndarray]:
        """Return the entries, and the offsets in them, at which enough halves agree."""
        keys = []
        for half, (indices, ends) in zip(HALVES, self.tables, strict=True):
            values = (query.subfingerprints >> half).astype(np.uint16).astype(np.int64)
            counts = ends[values + 1] - ends[values]
            counts[(counts > self.most) | ~query.active] = 0
            # Each subfingerprint of the query with each in the index that has its value.
            asked = np.repeat(np.arange(len(values)), counts)
            step = np.arange(len(asked)) - np.repeat(np.cumsum(counts) - counts, counts)
            there = indices[ends[values[asked]] + step]
            entry = self.entry_of[there]
            keys.append(entry * _SPAN + there - self.starts[entry] - asked + _SPAN // 2)
        pairs, votes = np.unique(np.concatenate(keys), return_counts=True)
        entries, offsets = np.divmod(pairs[votes >= VOTES], _SPAN)
        return entries, offsets - _SPAN // 2

    def _best_stretches(
        self, query: Fingerprint, entries: np.ndarray, offsets: np.ndarray
    ) -> np.ndarray:
        """Return the stretch at each offset in which a query agrees best with an entry.

        Shape:
            entries, offsets: `[candidates]`; score, first, length and similarity of the stretches:
            `[candidates, 4]`.
        """
        size = len(query.subfingerprints)
        indices = offsets[:, None] + np.arange(size)  # [candidates, size]
        length = (self.starts[entries + 1] - self.starts[entries])[:, None]
        inside = (indices >= 0) & (indices < length)
        there = np.where(inside, indices + self.starts[entries][:, None], 0)
        both = inside & query.active & self.active[there]
        wrong = np.bitwise_count(query.subfingerprints ^ self.subfingerprints[there])
        # Sums up to each: bits that agree less those expected by chance, and how many are compared.
        gain = np.where(both, 16 - wrong.astype(np.int32), 0)
        gain, count = (
            np.pad(np.cumsum(each, axis=1, dtype=np.int32), ((0, 0), (1, 0)))
            for each in (gain, both)
        )
        rows, options = np.arange(len(indices)), []
        for length in (*(n for n in STRETCHES if n < size), size):
            gains = gain[:, length:] - gain[:, :-length]
            counts = count[:, length:] - count[:, :-length]
            scores = gains / 16 / np.sqrt(np.maximum(counts, 1))
            scores[counts < MIN_SUBFINGERPRINTS] = 0
            first = scores.argmax(1)
            similarity = 0.5 + gains[rows, first] / 32 / np.maximum(counts[rows, first], 1)
            columns = scores[rows, first], first, np.full_like(first, length), similarity
            options.append(np.stack(columns, axis=1))
        every = np.stack(options)  # [lengths, candidates, 4]
        return every[every[:, :, 0].argmax(0), rows]
