"""Parts of the list to Parquet files: one worker over any parts, in one process, on one device.

Whoever distributes the work (`--part i/n`, an array of jobs, an engine) gives each worker parts of
its own; nothing is shared but the output folder.
"""

from collections import defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from wavebyol_hear.audio import AudioError
from wavebyol_hear.files.command import readable
from wavebyol_hear.files.containers import Contents
from wavebyol_hear.files.decode import Decoded, DiskWave, decode, read_header
from wavebyol_hear.files.failures import Failure, failure_of, noted
from wavebyol_hear.files.hear_module import EncodeError, HearModel
from wavebyol_hear.files.parquet import embedding_schema, part_writer
from wavebyol_hear.files.read_ahead import Unavailable, ahead, padded, plan_batches, why_unread
from wavebyol_hear.files.row_store import RowStore
from wavebyol_hear.files.sources import Part


@dataclass(frozen=True)
class Options:
    """What the rows of an output folder are: all runs with one folder have the same."""

    window: float = 0.0  #: seconds that a row embeds; 0 embeds a whole file in one row
    hop: float = 0.0  #: seconds from one window to the next
    timestamps: bool = False  #: whether each of the model's timestamps is a row
    dtype: str = "float32"  #: of the embeddings, or float16
    format: str = "parquet"  #: or npy, for one array in the end
    part_size: int = 512  #: maximum of files in a part


class Step(NamedTuple):
    """Progress: how many clips were looked at, and, with a part's end, those not embedded."""

    clips: int
    failures: Sequence[Failure] = ()


@dataclass
class Plan:
    """A part on its way; clips are known by their number in it."""

    path: Path
    contents: Contents
    rows: RowStore  #: what was computed
    long: set[int] = field(default_factory=set)  #: clips that are decoded to disk, each alone
    batches: list[list[int]] = field(default_factory=list)  #: clips that are read together
    failures: dict[int, str] = field(default_factory=dict)


class Piece(NamedTuple):
    """What the model is given at once: a clip, or a window of it from start to end in seconds."""

    clip: int
    start: float
    end: float
    wave: np.ndarray | DiskWave


Read = list[tuple[int, Decoded | str]]


class Worker:
    """Embeds parts.

    Args:
        model: a loaded HEAR module.
        options: what is embedded of each file.
        metadata: of the output, see `embedding_schema`.
        folder: of the output, and of what is held on disk meanwhile.
        batch_seconds: maximum of audio in one batch; a longer clip goes alone.
        workers: threads that decode; 0 decodes between the batches.
    """

    def __init__(
        self,
        model: HearModel,
        options: Options,
        metadata: Mapping[str, Any],
        folder: Path,
        batch_seconds: float = 64.0,
        workers: int = 2,
    ) -> None:
        self.model, self.options, self.folder, self.workers = model, options, folder, workers
        self.size = model.timestamp_size if options.timestamps else model.size
        self.schema = embedding_schema(self.size, options.dtype, metadata)
        self.batch_samples = int(batch_seconds * model.sample_rate)
        self.min_samples = 0 if options.timestamps else model.pads_scenes_to

    def run(self, parts: Iterable[tuple[Path, Part]]) -> Generator[Step, None, None]:
        """Embed parts, each to a path, one after the other, reading ahead across their borders.

        Yields:
            A step for each batch and for the end of each part.
        """
        with ExitStack() as stack:
            plans = stack.enter_context(closing(ahead(self._plan, parts, 1)))
            jobs = ((plan, batch) for plan in plans for batch in [*plan.batches, None])
            read = stack.enter_context(closing(ahead(self._read, jobs, self.workers)))
            for plan, clips in read:
                if clips is None:
                    absent = len(plan.contents.clips) - sum(map(len, plan.batches))
                    yield Step(absent, self._finish(plan))
                else:
                    self._embed(plan, clips)
                    yield Step(len(clips))

    def _plan(self, job: tuple[Path, Part]) -> Plan:
        """List what a part holds and decide what is read together; long clips are read alone."""
        path, part = job
        plan = Plan(path, Contents(part, self.folder), RowStore(self.folder, self.size))
        lengths: dict[int, int] = {}
        for index, clip in enumerate(plan.contents.clips):
            if clip.source is None:
                plan.failures[index] = clip.error
                continue
            header = read_header(clip.source)
            if header.is_long:
                plan.long.add(index)
            else:
                lengths[index] = max(header.length_at(self.model.sample_rate), self.min_samples)
        rows, samples = np.array([*lengths], np.int64), np.array([*lengths.values()], np.int64)
        plan.batches = [[index] for index in sorted(plan.long)]
        plan.batches += plan_batches(rows, samples, self.batch_samples)
        return plan

    def _read(self, job: tuple[Plan, list[int] | None]) -> tuple[Plan, Read | None]:
        """Decode the clips of a batch; the batch None marks the end of a part."""
        plan, batch = job
        if batch is None:
            return plan, None
        read: Read = []
        for index in batch:
            source = plan.contents.clips[index].source
            assert source is not None
            rate, to_disk = self.model.sample_rate, index in plan.long
            try:
                read.append((index, decode(source, rate, self.folder, to_disk=to_disk)))
            except AudioError as error:
                read.append((index, why_unread(error)))
        return plan, read

    def _embed(self, plan: Plan, read: Read) -> None:
        """Embed what was read of a batch."""
        clips: dict[int, Decoded] = {}
        for index, decoded in read:
            if isinstance(decoded, str):
                plan.failures[index] = decoded
            else:
                clips[index] = decoded
                plan.rows.describe(index, decoded.duration, decoded.sample_rate)
        try:
            if self.options.timestamps:
                self._timestamps(plan, clips)
            else:
                self._scenes(plan, clips)
        finally:
            for clip in clips.values():
                if isinstance(clip.wave, DiskWave):
                    clip.wave.close()

    def _scenes(self, plan: Plan, clips: dict[int, Decoded]) -> None:
        """Embed clips, or the windows of each, one row each."""
        window = round(self.options.window * self.model.sample_rate)
        longest = max(window, self.min_samples)
        count = max(1, self.batch_samples // longest) if window else len(clips)
        pieces = self._pieces(clips, window)
        while some := list(islice(pieces, count)):
            for piece, value in self._attempt(plan, some, self._encode):
                self._keep(plan, piece.clip, [piece.start], [piece.end], value[None])

    def _pieces(self, clips: dict[int, Decoded], window: int) -> Iterator[Piece]:
        """Yield the windows of each clip, so many samples long; 0 for each clip as it is."""
        rate = self.model.sample_rate
        for index, clip in clips.items():
            size = window or len(clip.wave)
            hop = round(self.options.hop * rate) or size
            for start in window_starts(len(clip.wave), size, hop):
                end = start + size
                last = clip.duration if end >= len(clip.wave) else end / rate
                wave = clip.wave
                if window or not isinstance(wave, DiskWave):  # else the model reads it in slices
                    wave = padded(wave[start:end], self.min_samples)
                yield Piece(index, start / rate, last, wave)

    def _encode(self, waves: Sequence[Any]) -> Sequence[np.ndarray]:
        """Return the scene embedding of each of some waves of one length; one on disk is alone."""
        if isinstance(waves[0], DiskWave):
            return [self.model.long_scene(waves[0])]
        return list(self.model.scenes(np.stack(waves)))

    def _timestamps(self, plan: Plan, clips: dict[int, Decoded]) -> None:
        """Embed the instants of clips, one row each."""
        pieces = []
        for index, clip in clips.items():
            if not isinstance(clip.wave, DiskWave):
                pieces.append(Piece(index, 0.0, clip.duration, clip.wave))
                continue
            try:
                for values, ms in self.model.long_timestamps(clip.wave):
                    self._keep_instants(plan, index, clip.duration, ms, values)
            except EncodeError as error:
                plan.failures[index] = Unavailable(error)
        for piece, (values, ms) in self._attempt(plan, pieces, self._instants):
            self._keep_instants(plan, piece.clip, piece.end, ms, values)

    def _instants(self, waves: Sequence[Any]) -> Sequence[tuple[np.ndarray, np.ndarray]]:
        """Return embeddings and instants in ms of each of some waves of one length."""
        return list(zip(*self.model.timestamps(np.stack(waves)), strict=True))

    def _keep_instants(
        self, plan: Plan, index: int, duration: float, ms: np.ndarray, values: np.ndarray
    ) -> None:
        """Keep rows around instants: half a hop to either side."""
        half = (ms[1] - ms[0]) / 2000 if len(ms) > 1 else duration / 2
        seconds = ms / 1000
        starts, ends = np.clip(seconds - half, 0, duration), np.clip(seconds + half, 0, duration)
        self._keep(plan, index, starts.tolist(), ends.tolist(), values)

    def _attempt(
        self, plan: Plan, pieces: Iterable[Piece], call: Callable[[list[Any]], Sequence[Any]]
    ) -> Iterator[tuple[Piece, Any]]:
        """Yield what a call makes of waves of one length; where it fails, of each by itself.

        Batches are planned by headers, and a header may promise another length than the file has.
        """
        by_length = defaultdict(list)
        for piece in pieces:
            by_length[len(piece.wave)].append(piece)
        for same in by_length.values():
            try:
                yield from zip(same, call([piece.wave for piece in same]), strict=True)
            except EncodeError as error:
                if len(same) == 1:
                    plan.failures[same[0].clip] = Unavailable(error)
                    continue
                for piece in same:
                    yield from self._attempt(plan, [piece], call)

    def _keep(
        self, plan: Plan, index: int, starts: list[float], ends: list[float], values: np.ndarray
    ) -> None:
        """Keep rows of a clip, unless they are not finite."""
        kind = np.dtype(self.options.dtype)
        with np.errstate(over="ignore"):
            finite = bool(np.isfinite(values.astype(kind, copy=False)).all())
        if finite:
            plan.rows.append(index, starts, ends, values)
        else:
            plan.failures[index] = (
                f"{self.model.spec}: an embedding holds NaN or infinity as {kind}; fix the module"
            )

    def _finish(self, plan: Plan) -> list[Failure]:
        """Write a part, let go of what it held open, and return what it lacks."""
        names = [clip.name for clip in plan.contents.clips]
        failures = [failure_of(names[i], why) for i, why in sorted(plan.failures.items())]
        shown = [readable(name) for name in names]
        with part_writer(plan.path, self.schema, noted(failures)) as write:
            for index, values in plan.rows.blocks(shown, without=plan.failures.keys()):
                write(index, values)
        plan.rows.close()
        plan.contents.close()
        return failures


def window_starts(length: int, window: int, hop: int) -> list[int]:
    """Return where windows begin, in samples; the last one ends where the clip does.

    Example:
        >>> window_starts(10, 4, 4), window_starts(3, 4, 4)
        ([0, 4, 6], [0])
    """
    starts = list(range(0, max(0, length - window) + 1, hop))
    if starts[-1] + window < length:
        starts.append(length - window)
    return starts
