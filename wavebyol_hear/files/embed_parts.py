"""Parts of the list to Parquet files: one worker over any parts, in one process, on one device.

Whoever distributes the work (`--part i/n`, an array of jobs, an engine) gives each worker parts of
its own; nothing is shared but the output folder.
"""

import json
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from wavebyol_hear.audio import AudioError, AudioUnavailableError
from wavebyol_hear.files.command import readable
from wavebyol_hear.files.containers import Contents
from wavebyol_hear.files.decode import Decoded, DiskWave, Header, decode, read_header
from wavebyol_hear.files.failures import ERRORS, Failure, reason_of
from wavebyol_hear.files.hear_module import EncodeError, HearModel
from wavebyol_hear.files.parquet import part_writer
from wavebyol_hear.files.read_ahead import Unavailable, ahead, of_one_length, plan_batches
from wavebyol_hear.files.row_store import RowStore
from wavebyol_hear.files.sources import Part


@dataclass(frozen=True)
class Options:
    """What is embedded of each file, and how.

    Attributes:
        window: seconds that a row embeds; 0 embeds a whole file in one row.
        hop: seconds from one window to the next.
        timestamps: whether each of the model's timestamps is a row.
        dtype: of the embeddings, `float32` or `float16`.
        batch_seconds: maximum of audio in one batch; a longer clip goes alone.
        workers: threads that decode; 0 decodes between the batches.
    """

    window: float = 0.0
    hop: float = 0.0
    timestamps: bool = False
    dtype: str = "float32"
    batch_seconds: float = 64.0
    workers: int = 2


class PartDone(NamedTuple):
    """A finished part: its path, the clips that were embedded, and those that were not."""

    path: Path
    embedded: int
    failures: list[Failure]


@dataclass
class Plan:
    """A part on its way: what it holds, which clips are read together, what was computed."""

    path: Path
    contents: Contents
    headers: list[Header]
    batches: list[list[int]]
    rows: RowStore
    failures: dict[int, str] = field(default_factory=dict)


Read = list[tuple[int, Decoded | str]]
Waves = list[tuple[int, np.ndarray]]


class Worker:
    """Embeds parts.

    Args:
        model: a loaded HEAR module.
        options: what is embedded of each file.
        schema: of the output.
        folder: of the output, and of what is held on disk meanwhile.
    """

    def __init__(self, model: HearModel, options: Options, schema: pa.Schema, folder: Path) -> None:
        self.model, self.options, self.schema, self.folder = model, options, schema, folder
        whole = not options.timestamps
        self.min_samples = model.pads_scenes_to if whole else 0

    def run(self, parts: Iterable[tuple[Path, Part]]) -> Generator[int | PartDone, None, None]:
        """Embed parts, one after the other, reading ahead across their borders.

        Args:
            parts: path of the output and the part, in the order in which they are written.

        Yields:
            How many clips were looked at, batch by batch, and a `PartDone` after each part.
        """
        with ExitStack() as stack:
            plans = stack.enter_context(closing(ahead(self._plan, parts, 1)))
            jobs = ((plan, batch) for plan in plans for batch in [*plan.batches, None])
            read = stack.enter_context(closing(ahead(self._read, jobs, self.options.workers)))
            for plan, clips in read:
                if clips is None:
                    yield len(plan.contents.clips) - sum(map(len, plan.batches))
                    yield self._finish(plan)
                    continue
                self._embed(plan, clips)
                yield len(clips)

    def _plan(self, job: tuple[Path, Part]) -> Plan:
        """List what a part holds and decide what is read together."""
        path, part = job
        contents = Contents(part, self.folder)
        rate = self.model.sample_rate
        headers = [
            read_header(c.source) if c.source is not None else Header() for c in contents.clips
        ]
        plan = Plan(path, contents, headers, [], RowStore(self.folder, self._size))
        plan.failures = {i: c.error for i, c in enumerate(contents.clips) if c.source is None}
        short = [i for i, h in enumerate(headers) if i not in plan.failures and not h.is_long]
        plan.batches = [[i] for i, h in enumerate(headers) if h.is_long]
        rows = np.array(short, np.int64)
        lengths = np.array([max(headers[i].length_at(rate), self.min_samples) for i in short])
        most = int(self.options.batch_seconds * rate)
        plan.batches += plan_batches(rows, lengths.astype(np.int64), most)
        return plan

    @property
    def _size(self) -> int:
        """Numbers of an embedding."""
        return self.model.timestamp_size if self.options.timestamps else self.model.size

    def _read(self, job: tuple[Plan, list[int] | None]) -> tuple[Plan, Read | None]:
        """Decode the clips of a batch."""
        plan, batch = job
        if batch is None:
            return plan, None
        read: Read = []
        for index in batch:
            source = plan.contents.clips[index].source
            assert source is not None
            try:
                decoded = decode(
                    *(source, self.model.sample_rate, self.folder),
                    to_disk=plan.headers[index].is_long,
                )
                read.append((index, decoded))
            except AudioUnavailableError as error:
                read.append((index, Unavailable(error)))
            except AudioError as error:
                read.append((index, str(error)))
        return plan, read

    def _embed(self, plan: Plan, read: Read) -> None:
        """Embed what was read of a batch."""
        clips: dict[int, Decoded] = {}
        for index, decoded in read:
            if isinstance(decoded, str):
                plan.failures[index] = decoded
            else:
                clips[index] = decoded
        for index, clip in clips.items():
            plan.rows.describe(index, clip.duration, clip.sample_rate)
        try:
            if self.options.timestamps:
                self._timestamps(plan, clips)
            elif self.options.window:
                self._windows(plan, clips)
            else:
                self._scenes(plan, clips)
        finally:
            for clip in clips.values():
                if isinstance(clip.wave, DiskWave):
                    clip.wave.close()

    def _scenes(self, plan: Plan, clips: dict[int, Decoded]) -> None:
        """Embed whole clips, one row each."""
        waves = []
        for index, clip in clips.items():
            if isinstance(clip.wave, DiskWave):
                long = [(index, clip.wave)]
                for _, value in self._attempt(
                    plan, long, lambda ws: [self.model.long_scene(ws[0])]
                ):
                    self._keep(plan, index, [0.0], [clip.duration], value[None])
            else:
                waves.append((index, self._padded(clip.wave)))
        for index, value in self._encoded(plan, waves):
            self._keep(plan, index, [0.0], [clips[index].duration], value[None])

    def _windows(self, plan: Plan, clips: dict[int, Decoded]) -> None:
        """Embed windows of clips, one row each."""
        rate = self.model.sample_rate
        window, hop = round(self.options.window * rate), round(self.options.hop * rate)
        count = max(1, int(self.options.batch_seconds * rate) // max(window, self.min_samples))
        spans = (
            (index, start)
            for index, clip in clips.items()
            for start in window_starts(len(clip.wave), window, hop)
        )
        while some := list(islice(spans, count)):
            waves = [
                (k, self._padded(clips[i].wave[s : s + window])) for k, (i, s) in enumerate(some)
            ]
            indices = [index for index, _ in some]
            for k, value in self._encoded(plan, waves, indices):
                index, start = some[k]
                end, duration = start + window, clips[index].duration
                last = duration if end >= len(clips[index].wave) else end / rate
                self._keep(plan, index, [start / rate], [last], value[None])

    def _timestamps(self, plan: Plan, clips: dict[int, Decoded]) -> None:
        """Embed the instants of clips, one row each."""
        waves = []
        for index, clip in clips.items():
            if not isinstance(clip.wave, DiskWave):
                waves.append((index, clip.wave))
                continue
            try:
                for values, ms in self.model.long_timestamps(clip.wave):
                    self._keep_instants(plan, index, clip.duration, ms, values)
            except EncodeError as error:
                plan.failures[index] = Unavailable(error)
        for indices, batch in of_one_length(waves):
            same = list(zip(indices, batch, strict=True))
            for index, (values, ms) in self._attempt(plan, same, self._instants):
                self._keep_instants(plan, index, clips[index].duration, ms, values)

    def _instants(self, waves: Sequence[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Return embeddings and instants in ms of each of some clips of one length."""
        return list(zip(*self.model.timestamps(np.stack(waves)), strict=True))

    def _keep_instants(
        self, plan: Plan, index: int, duration: float, ms: np.ndarray, values: np.ndarray
    ) -> None:
        """Keep rows around instants: half a hop to either side."""
        half = (ms[1] - ms[0]) / 2000 if len(ms) > 1 else duration / 2
        seconds = ms / 1000
        starts, ends = np.clip(seconds - half, 0, duration), np.clip(seconds + half, 0, duration)
        self._keep(plan, index, starts.tolist(), ends.tolist(), values)

    def _padded(self, wave: np.ndarray) -> np.ndarray:
        """Zero-pad a short wave as the model would, so that short clips share batches."""
        missing = self.min_samples - len(wave)
        if missing <= 0:
            return wave
        return np.pad(wave, (missing // 2, missing - missing // 2))

    def _encoded(
        self, plan: Plan, waves: Waves, indices: Sequence[int] | None = None
    ) -> Iterator[tuple[int, np.ndarray]]:
        """Yield scene embeddings of waves, those of one length in one batch.

        Args:
            plan: where failures are noted.
            waves: with a number each.
            indices: clips of the numbers; None where they are the clips.
        """
        for numbers, batch in of_one_length(waves):
            same = list(zip(numbers, batch, strict=True))
            yield from self._attempt(
                plan, same, lambda some: list(self.model.scenes(np.stack(some))), indices
            )

    def _attempt(
        self,
        plan: Plan,
        waves: Sequence[tuple[int, Any]],
        call: Callable[[list[Any]], Sequence[Any]],
        indices: Sequence[int] | None = None,
    ) -> Iterator[tuple[int, Any]]:
        """Yield what a call makes of each wave; where a batch fails, of each by itself."""
        try:
            results = call([wave for _, wave in waves])
        except EncodeError as error:
            if len(waves) == 1:
                number = waves[0][0]
                plan.failures[indices[number] if indices else number] = Unavailable(error)
                return
            for one in waves:
                yield from self._attempt(plan, [one], call, indices)
            return
        yield from zip((number for number, _ in waves), results, strict=True)

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

    def _finish(self, plan: Plan) -> PartDone:
        """Write a part and let go of what it held open."""
        clips = plan.contents.clips
        failures = [
            Failure(
                readable(clips[i].name),
                reason_of(str(why), clips[i].name),
                isinstance(why, Unavailable),
            )
            for i, why in sorted(plan.failures.items())
        ]
        metadata = {ERRORS.decode(): json.dumps(failures)}
        names = [readable(clip.name) for clip in clips]
        with part_writer(plan.path, self.schema, metadata) as write:
            for index, values in plan.rows.blocks(names, without=plan.failures.keys()):
                write(index, values)
        plan.rows.close()
        plan.contents.close()
        return PartDone(plan.path, len(clips) - len(failures), failures)


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
