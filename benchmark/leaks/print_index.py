"""An inverted index over fingerprints, and the search for places where two sounds agree."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmark.leaks.sound_print import Print

HALVES = (0, 16)
"""A word is looked up by either half: one of them is often free of errors."""

VOTES = 2
"""Halves that must agree at one offset before the whole overlap is compared."""

FULL_BUCKET = 32
"""Values this many times as frequent as the mean say little and are not looked up."""

LEAST_WORDS = 16
"""Words that must be compared: shorter sounds cannot be told from chance."""

STRETCHES = tuple(int(LEAST_WORDS * 1.5**power) for power in range(14))
"""Lengths in words of the stretches in which two sounds may agree while the rest differs."""

BATCH_WORDS = 2_000
WORDS_AT_ONCE = 1 << 20
"""Bound the memory of looking up and of comparing."""

_SPAN = 1 << 24
"""More words than any sound has (97 days of 32 ms)."""


@dataclass(frozen=True)
class Match:
    """Two sounds that agree.

    Attributes:
        query: number of the sound that was looked for.
        entry: number of the sound in the index.
        offset: words by which the query's beginning comes after the entry's; may be negative.
        first: word of the query with which the stretch begins that agrees best.
        length: words in the stretch.
        words: of them that were compared, both sounds being heard.
        similarity: share of their bits that agree; 0.5 is chance.
    """

    query: int
    entry: int
    offset: int
    first: int
    length: int
    words: int
    similarity: float

    @property
    def sureness(self) -> float:
        """How far the agreement is from chance: 2 (similarity - 1/2) sqrt(words)."""
        return 2 * (self.similarity - 0.5) * float(np.sqrt(self.words))


class PrintIndex:
    """Fingerprints that can be searched.

    Args:
        prints: of the entries.
    """

    def __init__(self, prints: Sequence[Print]) -> None:
        self.starts = np.cumsum([0, *(len(p.words) for p in prints)])
        self.words = np.concatenate([p.words for p in prints])
        self.heard = np.concatenate([p.heard for p in prints])
        self.entry_of = np.repeat(np.arange(len(prints)), np.diff(self.starts))
        places = np.flatnonzero(self.heard)
        self.tables = []
        for half in HALVES:
            values = (self.words[places] >> half).astype(np.uint16)
            ends = np.cumsum(np.bincount(values, minlength=1 << 16))
            self.tables.append((places[np.argsort(values, kind="stable")], np.r_[0, ends]))
        self.most = FULL_BUCKET * max(1, len(places) // (1 << 16))

    def search(self, queries: Sequence[Print], least: float) -> Iterator[Match]:
        """Yield the best match of every query with every entry, where there is one.

        Args:
            queries: to look for.
            least: sureness, see `Match`.
        """
        batch: list[int] = []
        size = 0
        for number, query in enumerate(queries):
            batch.append(number)
            size += len(query.words)
            if size >= BATCH_WORDS or number == len(queries) - 1:
                yield from self._search_batch(queries, batch, least)
                batch, size = [], 0

    def _search_batch(
        self, queries: Sequence[Print], batch: list[int], least: float
    ) -> Iterator[Match]:
        """Search for some queries at once."""
        words = np.concatenate([queries[i].words for i in batch])
        heard = np.concatenate([queries[i].heard for i in batch])
        owner = np.repeat(np.arange(len(batch)), [len(queries[i].words) for i in batch])
        place = np.concatenate([np.arange(len(queries[i].words)) for i in batch])
        found = []
        for half, (places, ends) in zip(HALVES, self.tables, strict=True):
            values = (words >> half).astype(np.uint16)
            counts = ends[values.astype(np.int64) + 1] - ends[values]
            counts[(counts > self.most) | ~heard] = 0
            # Each query word beside each place that has its value.
            asked = np.repeat(np.arange(len(words)), counts)
            step = np.arange(len(asked)) - np.repeat(np.cumsum(counts) - counts, counts)
            there = places[ends[values[asked]] + step]
            entry = self.entry_of[there]
            offset = there - self.starts[entry] - place[asked]
            pair = owner[asked] * (len(self.starts) - 1) + entry
            found.append(pair * _SPAN + offset + _SPAN // 2)
        keys, votes = np.unique(np.concatenate(found), return_counts=True)
        keys = keys[votes >= VOTES]
        pairs, offsets = keys // _SPAN, keys % _SPAN - _SPAN // 2
        owners, entries = np.divmod(pairs, len(self.starts) - 1)
        best: dict[tuple[int, int], Match] = {}
        for mine in np.split(np.arange(len(keys)), np.flatnonzero(np.diff(owners)) + 1):
            if len(mine) == 0:
                continue
            number = batch[owners[mine[0]]]
            pairs_of_mine = entries[mine], offsets[mine]
            for match in self._compare(queries[number], number, *pairs_of_mine, least):
                known = best.get((number, match.entry))
                if known is None or match.sureness > known.sureness:
                    best[number, match.entry] = match
        yield from best.values()

    def _compare(
        self, query: Print, number: int, entries: np.ndarray, offsets: np.ndarray, least: float
    ) -> Iterator[Match]:
        """Yield at each offset the stretch in which a query agrees best with an entry.

        Shape:
            entries, offsets: `[candidates]`.
        """
        most = max(1, WORDS_AT_ONCE // len(query.words))
        if len(entries) > most:
            for start in range(0, len(entries), most):
                some = slice(start, start + most)
                yield from self._compare(query, number, entries[some], offsets[some], least)
            return
        places = offsets[:, None] + np.arange(len(query.words))  # [candidates, words]
        length = (self.starts[entries + 1] - self.starts[entries])[:, None]
        inside = (places >= 0) & (places < length)
        there = np.where(inside, places + self.starts[entries][:, None], 0)
        both = inside & query.heard & self.heard[there]
        wrong = np.bitwise_count(query.words ^ self.words[there])
        # Sums up to each word: bits that agree less those expected by chance, and words compared.
        zero = np.zeros((len(places), 1), np.int32)
        gain = np.cumsum(np.where(both, 16 - wrong.astype(np.int32), 0), axis=1, dtype=np.int32)
        count = np.cumsum(both, axis=1, dtype=np.int32)
        gain, count = np.hstack([zero, gain]), np.hstack([zero, count])
        best = np.zeros(len(places))
        found: list[tuple[int, int, int, int]] = [(0, 0, 0, 0)] * len(places)
        rows = np.arange(len(places))
        for length in (*(n for n in STRETCHES if n < len(query.words)), len(query.words)):
            gains = gain[:, length:] - gain[:, :-length]
            counts = count[:, length:] - count[:, :-length]
            surest = np.where(counts < LEAST_WORDS, 0, gains / 16 / np.sqrt(np.maximum(counts, 1)))
            first = surest.argmax(1)
            for i in np.flatnonzero(surest[rows, first] > best):
                best[i] = surest[i, first[i]]
                found[i] = int(first[i]), length, int(counts[i, first[i]]), int(gains[i, first[i]])
        for i in np.flatnonzero(best >= least):
            start, length, words, right = found[i]
            similarity = 0.5 + right / 32 / words
            yield Match(number, int(entries[i]), int(offsets[i]), start, length, words, similarity)
