"""Training from tar shards without a store: a working set of clips that changes round by round.

A number of steps is a round. In each round a process holds the clips of the shards that came last,
drops the oldest and takes a new one, which is read and decoded in the background of the round
before. Which shard comes when, which of its clips are taken, and which crops a step draws are
functions of seed, round and process: nothing is to be saved, and a run that is started again reads
the shards of its round and goes on as if it had not stopped.

All processes go through the shards in one order, a new permutation each time around, and each takes
every `world`-th: shards are seen equally often, no two processes hold the same ones, and none waits
for another whose shards are longer.
"""

import hashlib
import logging
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import braceexpand
import numpy as np
import torch
from torch import Tensor

from pretrain.data.order import CHOICE, ROUND, SHARDS, ClipOrder, step_seed
from pretrain.data.store import Store
from pretrain.data.store_build import SAMPLE_RATE, decode
from pretrain.data.store_sources import Part, Raw, SourceError, parts_of
from pretrain.distributed import rank, share, world
from wavebyol_hear.audio import AudioError
from wavebyol_hear.files.read_ahead import ahead
from wavebyol_hear.files.settings import check_range

TRIES = 3
LONGEST = 30 * SAMPLE_RATE
"""Samples that are kept of a clip, the middle ones."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class StreamConfig:
    """How `--stream` goes through shards; a store uses none of it.

    Args:
        shard_clips: clips of a shard that are used each time it is read, drawn at random; of a
            smaller shard all.
        held_shards: shards of which a process holds the clips at a time. Memory per process is
            about twice `shard_clips * held_shards` clips, at most 30 s or 1 MB each.
        crops_per_clip: crops of each clip before it is dropped.
        workers: threads that decode.
        retry_seconds: wait before a shard that failed is tried again; four times as long each time.
    """

    shard_clips: int = 512
    held_shards: int = 4
    crops_per_clip: int = 4
    workers: int = 2
    retry_seconds: float = 1.0

    def __post_init__(self) -> None:
        check_range(self, "shard_clips", "held_shards", "crops_per_clip", "workers", minimum=1)
        check_range(self, "retry_seconds", minimum=0)


Clip = tuple[np.ndarray, str, str]
"""A decoded clip, int16 `[n]`, its id and its kind."""


class ShardStream:
    """Clips of WebDataset shards for the steps of a run.

    Args:
        sources: tar shards, folders of them, or URLs (http, `pipe:`, whatever fsspec reads), with
            braces as in `shard-{0000..0099}.tar`.
        config: `stream` of a run.
        batch: clips of a step, over all processes.
        seed: of the run.
        shares: of each kind of clip in a batch; see `ClipOrder`.

    Raises:
        SourceError: a source that is not there, or is a folder of loose files.
    """

    def __init__(
        self,
        sources: Sequence[str],
        config: StreamConfig,
        *,
        batch: int,
        seed: int,
        shares: Mapping[str, float],
    ) -> None:
        names = [name for source in sources for name in braceexpand.braceexpand(source)]
        self.shards = [part for name in names for part in parts_of(name)]
        loose = [part.name for part in self.shards if not part.tar]
        if loose:
            raise SourceError(f"{loose[0]}: --stream reads tar shards; make a store of loose files")
        self.config, self.seed, self.shares = config, seed, shares
        part = share(batch)
        self.local_batch = part.stop - part.start
        crops = self.config.shard_clips * self.config.crops_per_clip
        self.round_steps = max(1, crops // self.local_batch)
        self.held = min(self.config.held_shards, max(1, len(self.shards) // world()))
        self._round = -1
        self._store: Store | None = None
        self._order: ClipOrder | None = None
        self._loading: dict[int, Future[list[Clip]]] = {}
        self._loader = ThreadPoolExecutor(1, thread_name_prefix="shards")

    def __len__(self) -> int:
        """Return the number of clips of one time around, at most."""
        return len(self.shards) * self.config.shard_clips

    @property
    def hash(self) -> str:
        """The hash of the shards' names, which a run that goes on must find again."""
        return hashlib.sha256("\n".join(part.tar for part in self.shards).encode()).hexdigest()

    def describe(self) -> dict[str, Any]:
        """Return what a weights file says of the data that it was trained on."""
        return {"data_hash": self.hash, "data_shards": len(self.shards)}

    def at(self, step: int) -> tuple[Store, Tensor]:
        """Return the clips that this process holds at a step, and the numbers of those to draw.

        Raises:
            SourceError: none of the shards that are held could be read.
            ValueError: they have fewer clips, or fewer of a kind, than this process's batch needs.
        """
        number, step_of_round = divmod(step, self.round_steps)
        if number != self._round or self._store is None or self._order is None:
            turns = range(number, number + self.held)
            clips = [clip for turn in turns for clip in self._shard(turn).result()]
            self._round, self._store = number, _as_store(clips, self.hash)
            seed = step_seed(self.seed, number, rank(), ROUND)
            self._order = ClipOrder(self._store.kinds, self.shares, self.local_batch, seed)
            self._loading = {turn: self._loading[turn] for turn in turns}
            self._shard(turns.stop)  # read ahead for the next round
        return self._store, self._order.batch(step_of_round)

    def _shard(self, turn: int) -> Future[list[Clip]]:
        """Return the shard of this process's turn, being loaded where it was not before."""
        if turn not in self._loading:
            self._loading[turn] = self._loader.submit(self._load, turn)
        return self._loading[turn]

    def _load(self, turn: int) -> list[Clip]:
        """Read and decode the shard of a turn; what cannot be read is left out with a warning."""
        lap, place = divmod(turn * world() + rank(), len(self.shards))
        generator = torch.Generator().manual_seed(step_seed(self.seed, lap, 0, SHARDS))
        order = torch.randperm(len(self.shards), generator=generator)
        part = self.shards[int(order[place])]
        seed = step_seed(self.seed, turn, rank(), CHOICE)
        for attempt in range(TRIES):
            try:
                chosen = _chosen(part, self.config.shard_clips, seed)
                return _decoded(chosen, self.config.workers)
            except Exception as error:  # of tarfile, urllib, webdataset: whatever a network raises
                reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
                log.warning("%s: try %d of %d: %s", part.tar, attempt + 1, TRIES, reason)
                time.sleep(4.0**attempt * self.config.retry_seconds)
        return []

    def close(self) -> None:
        """Stop reading ahead."""
        self._loader.shutdown(wait=False, cancel_futures=True)


def _chosen(part: Part, count: int, seed: int) -> list[Raw]:
    """Return some clips of a shard, drawn uniformly as they come by, in the shard's order."""
    random = np.random.default_rng(seed)
    chosen: list[tuple[int, Raw]] = []
    for i, raw in enumerate(part.clips()):
        if i < count:
            chosen.append((i, raw))
        else:
            slot = int(random.integers(i + 1))  # reservoir sampling
            if slot < count:
                chosen[slot] = (i, raw)
    return [raw for _, raw in sorted(chosen, key=lambda pair: pair[0])]


def _decoded(raws: list[Raw], workers: int) -> list[Clip]:
    """Decode clips, the middle of long ones; what is no audio is left out with a warning."""
    clips = []
    for raw, wave in zip(raws, ahead(_try_decode, raws, workers), strict=True):
        if wave is not None:
            start = max(0, len(wave) - LONGEST) // 2
            clips.append((wave[start : start + LONGEST], raw.clip_id, raw.meta.kind))
    return clips


def _try_decode(raw: Raw) -> np.ndarray | None:
    """Return a clip's samples, or None for what is no audio."""
    try:
        return decode(raw.audio)
    except AudioError as error:
        log.warning("%s: %s", raw.clip_id, error)
        return None


def _as_store(clips: Sequence[Clip], shards_hash: str) -> Store:
    """Return the clips of some shards as a store in memory."""
    if not clips:
        raise SourceError("no clip of the shards that are held could be read; see the warnings")
    waves, clip_ids, kinds = zip(*clips, strict=True)
    lengths = np.array([len(wave) for wave in waves], dtype=np.int32)
    ends = np.cumsum(lengths, dtype=np.int64)
    return Store(
        files=(torch.from_numpy(np.concatenate(waves)),),
        file_of=torch.zeros(len(waves), dtype=torch.int64),
        starts=torch.from_numpy(ends - lengths),
        lengths=torch.from_numpy(lengths),
        clip_ids=clip_ids,
        kinds=kinds,
        hash=shards_hash,
    )
