"""The search for a task's clips in a pretraining store: fingerprints first, then the waveforms."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmark.data.archive_layout import read_json
from benchmark.data.clip import BenchmarkError, Clip
from benchmark.leaks.fingerprint import (
    HOP,
    LAG,
    MIN_SUBFINGERPRINTS,
    SAMPLE_RATE,
    Fingerprint,
    FingerprintIndex,
    Match,
    fingerprint,
)
from wavebyol_hear.audio import AudioError, read_audio
from wavebyol_hear.files.tables import read_table

MIN_SCORE = 3.0
"""Minimum score of a leak, see `Match`.

Measured on 24,561 clips (20.5 h) of sounds, speech and music from many sources. Played backwards,
of 500 clips of ESC-50 and 1,500 of Speech Commands none reaches 3, one siren 2.9 and no other 2.6;
of 1,200 of the clips themselves none reaches 2.7 with a clip of another source. Of cuts of ESC-50,
of 1.1, 2 and 4 s, those scaled, low-passed at 3 kHz or in mu-law are recognized to 97 to 100 %,
those in white noise of 20 dB to 70, 87 and 93 %; of the words of Speech Commands 100 %, in that
noise 39 %.
"""
EXACT = 0.999  # minimum correlation of an exact copy: all else is 27 dB below it
PHASES = (0, HOP // 2)
"""A task's clip is looked for at half the store's step, so offsets differ by 8 ms at most."""
SLAB_SECONDS = 36 * 3600
"""Audio of the store that is searched at once: 16 MB of subfingerprints, 65 MB of tables."""
MAX_COMPARED = 5 * SAMPLE_RATE

FORMAT = "wavebyol-store/1"


class StoreError(BenchmarkError):
    """A store that is missing, unfinished or damaged, with what to do about it."""


class StoreReader:
    """A finished store, as `python -m pretrain.store` writes it, read one clip at a time.

    A folder with samples.i16, and samples-001.i16 and so on for a large one (little-endian int16 at
    16 kHz, all clips end to end), index.csv (clip_id, start, length, kind, source, licence, labels;
    start and length in samples) and store.json, which names the files and seals a finished store.
    The benchmark does not import what it judges, so it has this reader.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        columns = ("clip_id", "source", "start", "length")
        try:
            about = read_json(folder / "store.json")
            rows = [row for _, row in read_table(folder / "index.csv", columns)]
            self.clip_ids, self.sources = ([row[name] for row in rows] for name in columns[:2])
            self.starts, self.lengths = ([int(row[name]) for row in rows] for name in columns[2:])
            self.files = [folder / name for name, _ in about.get("files", [("samples.i16", 0)])]
            sizes = [file.stat().st_size // 2 for file in self.files]
        except (OSError, TypeError, ValueError) as error:
            raise StoreError(
                f"{folder}: no finished store ({error}); make one with "
                f"python -m pretrain.store SOURCE... --out {folder}"
            ) from error
        expected = {"format": FORMAT, "clips": len(rows), "samples": sum(sizes)}
        stated = {name: about.get(name) for name in expected}
        if stated != expected or not rows:
            raise StoreError(f"{folder}: store.json says {stated}, not {expected}; rebuild it")
        self.first = np.cumsum([0, *sizes])

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.clip_ids)

    def read(self, number: int) -> np.ndarray:
        """Return a clip's samples at 16 kHz, full scale 1: float32 `[n]`."""
        start, length = self.starts[number], self.lengths[number]
        file = int(np.searchsorted(self.first, start, side="right")) - 1
        # Not memory-mapped: a search through all of it would count as memory in use.
        offset = 2 * (start - int(self.first[file]))
        raw = np.fromfile(self.files[file], "<i2", length, offset=offset)
        return raw.astype(np.float32) / 32768


@dataclass(frozen=True)
class Leak:
    """A clip of a task that the store holds, in part or whole."""

    clip: Clip
    store_clip: str  #: id of the store's clip
    source: str
    offset: float  #: seconds from the beginning of the store's clip to that of the task's
    seconds: float  #: that agree best, in length
    score: float  #: how far their agreement is from chance, see `Match`
    similarity: float  #: share of the fingerprint's bits that agree there; 0.5 is chance
    correlation: float  #: of the two waveforms there, 0 to 1

    @property
    def kind(self) -> str:
        """Whether the copy is "exact" or "near"."""
        return "exact" if self.correlation >= EXACT else "near"


def align(
    query: np.ndarray, entry: np.ndarray, offset: int, first: int, last: int
) -> tuple[int, float, int]:
    """Return the offset at which two waves agree best, their correlation there, and their overlap.

    The given offset, from the entry's beginning to the query's, is right to HOP samples. Compared
    is the middle half of the overlap: of the stretch of the query from `first` to `last` what both
    clips have.
    """
    first = max(first, 0, -offset)
    last = max(first, min(last, len(query), len(entry) - offset))
    quarter = (last - first) // 4
    begin, end = first + quarter, min(last - quarter, first + quarter + MAX_COMPARED)
    inner = query[begin:end]
    if len(inner) == 0:
        return offset, 0.0, 0
    # What is asked for beyond the entry's ends is silence: an excerpt may end in the middle.
    outer = np.pad(entry, HOP)[begin + offset : end + offset + 2 * HOP]
    products = np.correlate(outer, inner, "valid")
    shift = int(np.abs(products).argmax())
    there = outer[shift : shift + len(inner)]
    norms = float(np.linalg.norm(inner)) * float(np.linalg.norm(there))
    correlation = abs(float(inner @ there)) / norms if norms else 0.0
    return offset + shift - HOP, correlation, last - first


def find(
    store: StoreReader,
    clips: Sequence[Clip],
    root: Path,
    backwards: bool = False,
    min_score: float = MIN_SCORE,
) -> tuple[list[Leak], list[str]]:
    """Look for the clips of a task, or for the clips played backwards, in a store.

    Returns the leaks, the best of every pair of clips, and a line on each clip that cannot be
    looked for.
    """

    def wave_of(clip: Clip) -> np.ndarray:
        wave = read_audio(root / clip.path, SAMPLE_RATE)
        return np.ascontiguousarray(wave[::-1]) if backwards else wave

    usable: list[Clip] = []
    fingerprints: list[Fingerprint] = []  # of each phase of each usable clip in turn
    skipped: list[str] = []
    for clip in tqdm(clips, desc="task", unit="clip", delay=1):
        try:
            wave = wave_of(clip)
        except AudioError as error:
            skipped.append(str(error))
            continue
        phases = [fingerprint(wave, phase) for phase in PHASES]
        if phases[0].active.sum() < MIN_SUBFINGERPRINTS:
            skipped.append(f"{clip.path}: too short or too quiet to tell from chance")
            continue
        usable.append(clip)
        fingerprints += phases
    best: dict[tuple[int, int], Match] = {}  # by the task's and the store's number
    slab: list[Fingerprint] = []  # of the store's clips, some at a time
    samples = 0
    for number in tqdm(range(len(store)), desc="store", unit="clip", delay=1):
        slab.append(fingerprint(store.read(number)))
        samples += store.lengths[number]
        if samples < SLAB_SECONDS * SAMPLE_RATE and number < len(store) - 1:
            continue
        for match in FingerprintIndex(slab).search(fingerprints, min_score):
            pair = match.query // len(PHASES), number + 1 - len(slab) + match.entry
            if pair not in best or match.score > best[pair].score:
                best[pair] = match
        slab, samples = [], 0
    leaks = [
        describe(match, usable[query], wave_of(usable[query]), store, entry)
        for (query, entry), match in sorted(best.items())
    ]
    return leaks, skipped


def describe(match: Match, clip: Clip, wave: np.ndarray, store: StoreReader, entry: int) -> Leak:
    """Return the leak behind a match of a clip, with its wave, and a clip of the store."""
    phase = PHASES[match.query % len(PHASES)]
    begin = match.first * HOP + phase
    end = begin + (match.length - 1 + LAG) * HOP
    at = match.offset * HOP - phase
    offset, correlation, length = align(wave, store.read(entry), at, begin, end)
    seconds = offset / SAMPLE_RATE, length / SAMPLE_RATE
    names = store.clip_ids[entry], store.sources[entry]
    return Leak(clip, *names, *seconds, match.score, match.similarity, correlation)
