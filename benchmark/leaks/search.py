"""The search for a task's clips in a pretraining store: fingerprints first, then the waveforms."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from benchmark.data.clip import Clip
from benchmark.leaks.print_index import LEAST_WORDS, Match, PrintIndex
from benchmark.leaks.sound_print import HOP, LAG, SAMPLE_RATE, Print, sound_print
from benchmark.leaks.store_reader import StoreReader
from wavebyol_hear.audio import AudioError, read_audio

SURE = 3.0
"""Least sureness of a leak, see `Match`.
Measured on 24,561 clips (20.5 h) of sound, speech and music from many sources. Played backwards, of
500 clips of ESC-50 and 1,500 of Speech Commands none reaches 3, one siren 2.9 and no other 2.6; of
1,200 of the clips themselves none reaches 2.7 with a clip of another source. Of cuts of ESC-50, of
1.1, 2 and 4 s, those scaled, low-passed at 3 kHz or in mu-law are found to 97 to 100 %, those in
white noise of 20 dB to 70, 87 and 93 %; of words of Speech Commands 100 %, in that noise 39 %.
"""

EXACT = 0.999
"""Least correlation of an exact copy: all else is 27 dB below it."""

PHASES = (0, HOP // 2)
"""A task's clip is looked for at half the store's step, so offsets differ by 8 ms at most."""

SLAB_SECONDS = 36 * 3600
"""Sound of the store that is searched at once: 16 MB of words, 65 MB of tables."""

MOST_COMPARED = 5 * SAMPLE_RATE


@dataclass(frozen=True)
class Leak:
    """A clip of a task that the store holds, in part or whole.

    Attributes:
        clip: of the task.
        store_clip: its name in the store.
        source: of the store's clip, as the store's index has it.
        offset: seconds from the beginning of the store's clip to that of the task's.
        seconds: that agree best, in length.
        sureness: how far their agreement is from chance, see `Match`.
        similarity: share of the fingerprint's bits that agree there; 0.5 is chance.
        correlation: of the two waveforms there, 0 to 1.
    """

    clip: Clip
    store_clip: str
    source: str
    offset: float
    seconds: float
    sureness: float
    similarity: float
    correlation: float

    @property
    def kind(self) -> str:
        """Whether the copy is "exact" or "near"."""
        return "exact" if self.correlation >= EXACT else "near"


def align(
    query: np.ndarray, entry: np.ndarray, offset: int, first: int, last: int
) -> tuple[int, float]:
    """Return the offset at which two waves agree best, and their correlation there.

    Args:
        query: of the task.
        entry: of the store.
        offset: samples from the entry's beginning to the query's, right to HOP samples.
        first: sample of the query with which the stretch that agrees begins.
        last: sample of the query with which it ends; its middle half is compared.

    Shape:
        query, entry: float32 `[samples]`, of different lengths.
    """
    quarter = (last - first) // 4
    begin, end = first + quarter, min(last - quarter, first + quarter + MOST_COMPARED)
    inner = query[begin:end]
    products = np.correlate(entry[begin + offset - HOP : end + offset + HOP], inner, "valid")
    best = offset + int(np.abs(products).argmax()) - HOP
    there = entry[begin + best : end + best]
    norms = float(np.linalg.norm(inner)) * float(np.linalg.norm(there))
    return best, abs(float(inner @ there)) / norms if norms else 0.0


def slabs(store: StoreReader) -> Iterator[tuple[int, list[Print]]]:
    """Yield the fingerprints of the store's clips, some at a time, with the first one's number."""
    first, prints, samples = 0, [], 0
    for number in tqdm(range(len(store)), desc="store", unit="clip", delay=1):
        wave = store.read(number)
        prints.append(sound_print(wave))
        samples += len(wave)
        if samples >= SLAB_SECONDS * SAMPLE_RATE or number == len(store) - 1:
            yield first, prints
            first, prints, samples = number + 1, [], 0


def find(
    store: StoreReader,
    clips: Sequence[Clip],
    root: Path,
    backwards: bool = False,
    sure: float = SURE,
) -> tuple[list[Leak], list[str]]:
    """Look for the clips of a task in a store.

    Args:
        store: to search.
        clips: of the task.
        root: of the task.
        backwards: whether to look for the clips played backwards.
        sure: least sureness of a leak.

    Returns:
        the leaks, the surest of every pair of clips, and a line on each clip that cannot be
        looked for.
    """

    def wave_of(clip: Clip) -> np.ndarray:
        wave = read_audio(root / clip.path, SAMPLE_RATE)
        return np.ascontiguousarray(wave[::-1]) if backwards else wave

    usable, prints, skipped = fingerprints(clips, wave_of)
    leaks = []
    for (query, entry), match in sorted(surest(store, prints, sure).items()):
        clip = usable[query]
        leaks.append(describe(match, clip, wave_of(clip), store, entry))
    return leaks, skipped


def fingerprints(
    clips: Sequence[Clip], wave_of: Callable[[Clip], np.ndarray]
) -> tuple[list[Clip], list[Print], list[str]]:
    """Return the clips that can be looked for, their prints, and a line on each other clip.

    Args:
        clips: of the task.
        wave_of: gives a clip's wave, or raises AudioError.

    Returns:
        clips, prints of each phase of each of them in turn, and lines.
    """
    usable: list[Clip] = []
    prints: list[Print] = []
    skipped: list[str] = []
    for clip in tqdm(clips, desc="task", unit="clip", delay=1):
        try:
            wave = wave_of(clip)
        except AudioError as error:
            skipped.append(str(error))
            continue
        phases = [sound_print(wave, phase) for phase in PHASES]
        if phases[0].heard.sum() < LEAST_WORDS:
            skipped.append(f"{clip.path}: too short or too quiet to tell from chance")
            continue
        usable.append(clip)
        prints += phases
    return usable, prints, skipped


def surest(
    store: StoreReader, prints: Sequence[Print], sure: float
) -> dict[tuple[int, int], Match]:
    """Return the surest match of each pair of clips, by the task's and the store's number.

    Args:
        store: to search.
        prints: see `fingerprints`.
        sure: least sureness.
    """
    found: dict[tuple[int, int], Match] = {}
    for first, slab in slabs(store):
        for match in PrintIndex(slab).search(prints, sure):
            pair = match.query // len(PHASES), first + match.entry
            if pair not in found or match.sureness > found[pair].sureness:
                found[pair] = match
    return found


def describe(match: Match, clip: Clip, wave: np.ndarray, store: StoreReader, entry: int) -> Leak:
    """Return the leak behind a match, with the correlation of the two waves.

    Args:
        match: of their prints.
        clip: of the task.
        wave: of that clip, float32 `[samples]`.
        store: that was searched.
        entry: number of the store's clip.
    """
    phase = PHASES[match.query % len(PHASES)]
    begin = match.first * HOP + phase
    end = begin + (match.length - 1 + LAG) * HOP
    at = match.offset * HOP - phase
    offset, correlation = align(wave, store.read(entry), at, begin, end)
    return Leak(
        clip,
        store.clip_ids[entry],
        store.sources[entry],
        offset / SAMPLE_RATE,
        (end - begin) / SAMPLE_RATE,
        match.sureness,
        match.similarity,
        correlation,
    )
