"""Audio files, alone or inside others, to waves at a model's rate: in memory, or on disk."""

import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from wavebyol_hear.audio import (
    NO_LENGTH,
    AudioError,
    check_lengths,
    check_rate,
    check_samples,
    convert_audio,
    decoded_blocks,
    mix,
    open_audio,
    open_decoder,
)
from wavebyol_hear.files import foreign_codecs
from wavebyol_hear.files.foreign_codecs import NAME

LONG_BYTES = 1 << 26
"""Decoded to more than this, all channels together, a file is resampled block by block to disk."""
READ_BYTES = 1 << 20


class _Slice(io.RawIOBase):
    """Bytes of a file inside another file, read without moving that file's place."""

    def __init__(self, descriptor: int, offset: int, size: int) -> None:
        self._descriptor, self._offset, self._size, self._at = descriptor, offset, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        wanted = max(0, min(len(buffer), self._size - self._at))
        data = os.pread(self._descriptor, wanted, self._offset + self._at)
        buffer[: len(data)] = data
        self._at += len(data)
        return len(data)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at


@dataclass(frozen=True, slots=True)
class Blob:
    """An audio file inside another file, such as a tar: the open outer file and where it lies."""

    descriptor: int
    offset: int
    size: int

    def open(self) -> BinaryIO:
        """Return its bytes as an open file."""
        if self.size <= LONG_BYTES:
            return io.BytesIO(os.pread(self.descriptor, self.size, self.offset))
        return io.BufferedReader(_Slice(self.descriptor, self.offset, self.size), READ_BYTES)


Source = str | Blob


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself: rate in Hz, samples and channels; zeros where it cannot."""

    sample_rate: int = 0
    frames: int = 0
    channels: int = 0

    @property
    def is_long(self) -> bool:
        """Whether the file would take much memory decoded."""
        return LONG_BYTES < 4 * self.frames * self.channels < NO_LENGTH

    def length_at(self, sample_rate: int) -> int:
        """Return the samples it will have at a rate; 0 where it does not say."""
        return round(self.frames * sample_rate / self.sample_rate) if self.sample_rate else 0


class DiskWave:
    """A wave in a file without a name, float32, of which slices are read."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._length = os.fstat(file.fileno()).st_size // 4

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, span: slice) -> np.ndarray:
        """Return the samples of a slice without steps, float32 [n]."""
        start, stop, _ = span.indices(self._length)
        data = os.pread(self._file.fileno(), 4 * max(0, stop - start), 4 * start)
        return np.frombuffer(data, np.float32).copy()

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()


@dataclass(slots=True)
class Decoded:
    """A wave at the model's rate, and what the file was: its length in seconds, its rate in Hz."""

    wave: np.ndarray | DiskWave
    duration: float
    sample_rate: int


def read_header(source: Source) -> Header:
    """Return what a file says of its length; reading it may find fewer samples."""
    try:
        with _opened(source) as file:
            if foreign_codecs.is_foreign(file):
                return Header(*foreign_codecs.header(file))
            file.seek(0)
            with soundfile.SoundFile(file) as sound:
                return Header(sound.samplerate, sound.frames, sound.channels)
    except (AudioError, soundfile.SoundFileError, OSError, ValueError):
        return Header()  # decoding it will say what is wrong


@contextmanager
def _opened(source: Source) -> Iterator[BinaryIO]:
    if isinstance(source, Blob):
        yield source.open()
    else:
        with open_audio(source) as file:
            yield file


@contextmanager
def blocks_of(source: Source) -> Iterator[tuple[int, Iterator[np.ndarray]]]:
    """Open a file for decoding: its rate in Hz and blocks float32 [n, channels].

    Raises:
        AudioError: where the file is absent, unreadable, cut off, or needs PyAV.
        AudioUnavailableError: where it cannot be read for a reason that may pass.
    """
    with _opened(source) as file:
        if foreign_codecs.is_foreign(file):
            with foreign_codecs.opened(file) as decoded:
                yield decoded
        else:
            with open_decoder(file) as sound:
                yield sound.samplerate, decoded_blocks(sound)


def decode(source: Source, sample_rate: int, folder: Path, *, to_disk: bool = False) -> Decoded:
    """Decode a file to one channel at a rate, block by block.

    The samples are those of `wavebyol_hear.audio.read_audio`, bit by bit.

    Args:
        source: path of a file, or a blob.
        sample_rate: in Hz, > 0.
        folder: where a wave goes that does not stay in memory.
        to_disk: whether this one does not.

    Raises:
        AudioError: as of `read_audio`, or the file needs PyAV, which is not installed.
        AudioUnavailableError: as of `read_audio`.
    """
    if not to_disk:
        with blocks_of(source) as (rate, blocks):
            parts = list(blocks) or [np.empty((0, 1), np.float32)]
        channels = np.concatenate(parts) if len(parts) > 1 else parts[0]
        mono = convert_audio(channels, rate, sample_rate, NAME)
        return Decoded(mono, len(channels) / rate, rate)
    with blocks_of(source) as (rate, blocks), ExitStack() as failed:
        check_rate(rate, sample_rate, NAME)
        file = failed.enter_context(tempfile.TemporaryFile(dir=folder))
        stream = soxr.ResampleStream(rate, sample_rate, 1, dtype="float32", quality="HQ")
        total = 0
        for block in blocks:
            check_samples(block, NAME)
            total += len(block)
            mono = np.ascontiguousarray(mix(block))
            file.write((mono if rate == sample_rate else stream.resample_chunk(mono)).data)
        if rate != sample_rate:
            file.write(stream.resample_chunk(np.empty(0, np.float32), last=True).data)
        file.flush()
        wave = DiskWave(file)
        check_lengths(total, rate, len(wave), sample_rate, NAME)
        failed.pop_all()
    return Decoded(wave, total / rate, rate)
