"""M4A, AAC, WMA and WebM, which libsndfile does not know, through PyAV (the extra `av`)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np

from wavebyol_hear.audio import AudioError
from wavebyol_hear.files.extras import MissingExtraError, require

NAME = "the audio"  #: in messages, as what it is called lies outside: a path, a member, a row
ASF = bytes.fromhex("3026b2758e66cf11")
CUT_SAMPLES = 4096
"""Missing at the end, more than encoders and containers disagree on: the file was cut off."""
MATROSKA = bytes.fromhex("1a45dfa3")


def is_foreign(file: BinaryIO) -> bool:
    """Return whether a file begins as one of these formats, whatever its name says."""
    file.seek(0)
    head = file.read(12)
    file.seek(0)
    adts = len(head) > 1 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0
    return adts or head[4:8] == b"ftyp" or head.startswith((ASF, MATROSKA))


def header(file: BinaryIO) -> tuple[int, int, int]:
    """Return rate in Hz, samples and channels as the container states them.

    Raises:
        AudioError: as of `opened`.
    """
    with _container(file) as (av, container, stream):
        guess = round((container.duration or 0) / av.time_base * stream.rate)
        return stream.rate, _promised(container, stream) or guess, stream.channels


@contextmanager
def opened(file: BinaryIO) -> Iterator[tuple[int, Iterator[np.ndarray]]]:
    """Open a file for decoding: its rate in Hz and blocks float32 [n, channels].

    Raises:
        AudioError: PyAV is not installed, or the file is damaged or holds no audio.
    """
    with _container(file) as (av, container, stream):
        stream.thread_type = "NONE"  # files are decoded side by side as it is
        yield stream.rate, _trimmed(_blocks(av, container, stream), _promised(container, stream))


@contextmanager
def _container(file: BinaryIO) -> Iterator[tuple[Any, Any, Any]]:
    """Open a file: PyAV, the container and its first audio stream; errors are AudioErrors."""
    try:
        av = require("av", "av", "this format (M4A, AAC, WMA or WebM)")
    except MissingExtraError as error:
        raise AudioError(f"{NAME}: {error}") from error
    try:
        with av.open(file) as container:
            if not container.streams.audio:
                raise AudioError(f"{NAME}: holds no audio stream; drop it from the list")
            yield av, container, container.streams.audio[0]
    except EOFError as error:
        raise AudioError(f"{NAME}: cut off {error}; fetch the file again") from error
    except AudioError:
        raise
    except (av.FFmpegError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise AudioError(f"{NAME}: not readable as audio ({reason}); replace the file") from error


def _promised(container: Any, stream: Any) -> int | None:  # noqa: ANN401
    """Return the samples that a container's edit list says; None for formats that only guess."""
    if "mp4" not in container.format.name or stream.duration is None:
        return None
    return round(stream.duration * stream.time_base * stream.rate)


def _blocks(av: Any, container: Any, stream: Any) -> Iterator[np.ndarray]:  # noqa: ANN401
    """Yield decoded frames as float32 [n, channels]; the decoder itself drops the priming."""
    resampler = av.AudioResampler("flt", stream.layout, stream.rate)
    channels = stream.channels
    for frame in container.decode(stream):
        for part in resampler.resample(frame):
            yield part.to_ndarray().reshape(-1, channels)
    for part in resampler.resample(None):
        yield part.to_ndarray().reshape(-1, channels)


def _trimmed(blocks: Iterator[np.ndarray], length: int | None) -> Iterator[np.ndarray]:
    """Yield blocks up to a length: an encoder fills its last frame with silence."""
    left = length
    for block in blocks:
        part = block if left is None else block[:left]
        if left is not None:
            left -= len(part)
        if len(part):
            yield part
    if left is not None and left > CUT_SAMPLES:
        raise EOFError(f"after {(length or 0) - left} of {length} samples")
