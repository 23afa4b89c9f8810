"""Audio files to mono float32 at one rate: soundfile decodes, soxr resamples."""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr

from wavebyol_hear.audio_length import missing_bytes, with_length

BLOCK_SAMPLES = 1 << 20
MAX_UPSAMPLING = 256
"""A rate this many times below the one asked for is an error: 88 kB would fill gigabytes."""
LOUDEST = 1e9
"""Samples beyond are no sound at any scale, and their squares may overflow."""
NO_LENGTH = 1 << 62
"""From here on libsndfile's number of samples means that the header says none."""
PCM_16 = np.float32(2**-15)
"""Full scale 1 over that of 16-bit samples."""
SYSTEM_ERROR = 2
CONTENT_ERRORS = (errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EISDIR, errno.ENXIO)


class AudioError(ValueError):
    """An audio file that cannot be used; the message is one line with the file and the remedy."""


class AudioUnavailableError(AudioError):
    """A file that cannot be read for a reason that may pass: it says nothing of its content."""


@contextmanager
def open_audio(path: str | Path) -> Iterator[BinaryIO]:
    """Open a regular file; a pipe or a device, which could wait for ever, is refused.

    Raises:
        AudioError: it does not exist or is not a regular file.
        AudioUnavailableError: the system cannot open it now.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except FileNotFoundError as error:
        raise AudioError(f"{path}: no such file; correct the path") from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        if isinstance(error, OSError) and error.errno not in CONTENT_ERRORS:
            raise AudioUnavailableError(f"{path}: cannot be read now ({reason})") from error
        raise AudioError(f"{path}: not readable as audio ({reason}); replace the file") from error
    status = os.fstat(descriptor)
    if stat.S_ISREG(status.st_mode):
        reason = "" if status.st_size else "empty, 0 bytes"
    else:
        reason = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
    if reason:
        os.close(descriptor)
        raise AudioError(f"{path}: not readable as audio ({reason}); give an audio file")
    with open(descriptor, "rb") as file:
        yield file


def audio_header(path: str | Path) -> tuple[int, int]:
    """Return rate in Hz and number of samples as a file's header states them; (0, 0) for no header.

    Reading the file may find fewer.
    """
    try:
        with open_audio(path) as file, _decoder(file) as sound:
            return int(sound.samplerate), int(sound.frames)
    except (AudioError, soundfile.SoundFileError, OSError, ValueError):
        return 0, 0  # reading it will say what is wrong


def _decoder(file: BinaryIO) -> soundfile.SoundFile:
    """Open a file with libsndfile, by its descriptor where it has one: faster than by callbacks."""
    file.seek(0)
    try:
        descriptor = file.fileno()
    except (AttributeError, OSError):
        return soundfile.SoundFile(file)
    os.lseek(descriptor, 0, os.SEEK_SET)  # what is buffered moves `file` only
    return soundfile.SoundFile(descriptor, closefd=False)


@contextmanager
def open_decoder(source: str | Path | BinaryIO) -> Iterator[soundfile.SoundFile]:
    """Open a file for `decoded_blocks`; whatever fails inside is an AudioError with its name.

    Raises:
        AudioError: where the file is absent, unreadable or cut off.
        AudioUnavailableError: where it cannot be read for a reason that may pass.
    """
    if isinstance(source, str | Path):
        with open_audio(source) as file, _errors_named(str(source)), _whole(file) as sound:
            yield sound
    else:
        with _errors_named("the audio"), _whole(source) as sound:
            yield sound


@contextmanager
def _whole(file: BinaryIO) -> Iterator[soundfile.SoundFile]:
    """Open a file with libsndfile, with a length that it is known to have."""
    cut = missing_bytes(file)
    if cut:
        raise EOFError(f"({cut} bytes are missing)")
    with _decoder(with_length(file)) as sound:
        yield sound


@contextmanager
def _errors_named(name: str) -> Iterator[None]:
    """Turn whatever decoding raises into an AudioError that begins with the file's name."""
    try:
        yield
    except EOFError as error:
        raise AudioError(f"{name}: cut off {error}; fetch the file again") from error
    except (soundfile.SoundFileError, OSError, ValueError) as error:
        if isinstance(error, AudioError):
            raise
        reason = " ".join(getattr(error, "error_string", str(error)).split())
        system = getattr(error, "code", 0) == SYSTEM_ERROR or isinstance(error, OSError)
        if system:
            raise AudioUnavailableError(f"{name}: cannot be read now ({reason})") from error
        raise AudioError(f"{name}: not readable as audio ({reason}); replace the file") from error


def decoded_blocks(sound: soundfile.SoundFile) -> Iterator[np.ndarray]:
    """Yield all of an open file as float32 [n, channels] blocks of at most `BLOCK_SAMPLES` numbers.

    soundfile's own `read` allocates what the header promises, and seeks after it, which fails where
    the header says no length or a wrong one.

    Raises:
        EOFError: the file holds fewer samples than its header says.
    """
    size = max(1, BLOCK_SAMPLES // sound.channels)
    if sound.frames < size:
        size = sound.frames + 1
    # 16-bit samples become floats several times faster here than in libsndfile, to the same bits.
    narrow = sound.subtype == "PCM_16"
    kind, read = (
        ("short*", soundfile._snd.sf_readf_short)
        if narrow
        else ("float*", soundfile._snd.sf_readf_float)
    )
    total = 0
    while True:
        block = np.empty((size, sound.channels), np.int16 if narrow else np.float32)
        count = read(
            sound._file, soundfile._ffi.cast(kind, soundfile._ffi.from_buffer(block)), size
        )
        soundfile._error_check(soundfile._snd.sf_error(sound._file))
        if count > 0:
            total += count
            values = block[:count]
            yield np.multiply(values, PCM_16, dtype=np.float32) if narrow else values
        if count < size:
            break
    if total < sound.frames < NO_LENGTH:
        raise EOFError(f"after {total} of {sound.frames} samples")


def decode_audio(source: str | Path | BinaryIO) -> tuple[np.ndarray, int]:
    """Decode all of a file; see `read_audio` for what it may be.

    Returns:
        All channels, and the file's own rate in Hz.

    Raises:
        AudioError: where the file is absent, unreadable or cut off.
        AudioUnavailableError: where it cannot be read for a reason that may pass.

    Shape:
        float32 [n, channels], n may be 0.
    """
    with open_decoder(source) as sound:
        blocks = list(decoded_blocks(sound))
        if not blocks:
            return np.empty((0, sound.channels), np.float32), sound.samplerate
        return np.concatenate(blocks) if len(blocks) > 1 else blocks[0], sound.samplerate


def mix(channels: np.ndarray) -> np.ndarray:
    """Return the mean of the channels, [n, channels] -> [n].

    Column after column: numpy's mean over rows of two takes longer than decoding and resampling.
    """
    if channels.shape[1] == 1:
        return channels[:, 0]
    wave: np.ndarray = channels[:, 0] + channels[:, 1]
    for other in channels.T[2:]:
        wave += other
    wave /= channels.shape[1]
    return wave


def read_audio(source: str | Path | BinaryIO, sample_rate: int) -> np.ndarray:
    """Read an audio file as one channel at the rate asked for.

    Channels are averaged before resampling. Full scale is 1.0; float files may exceed it and are
    left as they are. Silence is audio like any other and is returned.

    Args:
        source: path of a file, or an open one, in any format libsndfile reads (WAV, FLAC, Ogg,
            MP3, ...), of any rate, width and number of channels.
        sample_rate: of the result, in Hz, > 0.

    Returns:
        float32 [n] with n = the file's length times `sample_rate` over its own rate, rounded, >= 1.

    Raises:
        AudioError: where the file is absent, unreadable, cut off, empty, too short to leave one
            sample at `sample_rate`, holds NaN or infinity, or has no plausible rate.
        AudioUnavailableError: where it cannot be read for a reason that may pass.
        ValueError: where `sample_rate` is not positive.

    Example:
        >>> import io
        >>> file = io.BytesIO()
        >>> soundfile.write(file, np.zeros((441, 2)), 44_100, format="WAV")
        >>> read_audio(file, 16_000).shape
        (160,)
    """
    if sample_rate <= 0:
        raise ValueError(f"sample_rate is {sample_rate}: give a positive rate in Hz")
    channels, rate = decode_audio(source)
    name = str(source) if isinstance(source, str | Path) else "the audio"
    return convert_audio(channels, rate, sample_rate, name)


def check_rate(rate: int, sample_rate: int, name: str) -> None:
    """Raise an AudioError where a file of this rate would fill gigabytes at another."""
    if rate * MAX_UPSAMPLING < sample_rate:
        raise AudioError(f"{name}: the header says {rate} Hz; repair or replace the file")


def check_lengths(own: int, rate: int, samples: int, sample_rate: int, name: str) -> None:
    """Raise an AudioError where a file has no samples, or none are left at another rate."""
    if own == 0:
        raise AudioError(f"{name}: holds no samples; replace the file or drop it from the list")
    if samples == 0:
        raise AudioError(
            f"{name}: {own} samples at {rate} Hz leave none at {sample_rate} Hz; "
            "drop it from the list"
        )


def check_samples(channels: np.ndarray, name: str) -> None:
    """Raise an AudioError where a sample is NaN, infinite or far beyond full scale, which is 1."""
    peak = max(float(channels.max(initial=0)), -float(channels.min(initial=0)))  # or NaN
    if not np.isfinite(peak):
        raise AudioError(f"{name}: holds NaN or infinite samples; repair or replace the file")
    if peak > LOUDEST:
        raise AudioError(f"{name}: holds a sample of {peak:.0e}, full scale is 1; repair the file")


def convert_audio(channels: np.ndarray, rate: int, sample_rate: int, name: str) -> np.ndarray:
    """Average decoded channels and resample them; checks and errors are those of `read_audio`.

    Args:
        channels: of a file.
        rate: of the file, in Hz.
        sample_rate: of the result, in Hz, > 0.
        name: of the file, for messages.

    Shape:
        channels float32 [n, channels] -> float32 [m], m >= 1.
    """
    check_rate(rate, sample_rate, name)
    check_samples(channels, name)
    wave = mix(channels)
    if rate != sample_rate:
        wave = soxr.resample(wave, rate, sample_rate, quality="HQ")
    check_lengths(len(channels), rate, len(wave), sample_rate, name)
    return np.ascontiguousarray(wave, dtype=np.float32)
