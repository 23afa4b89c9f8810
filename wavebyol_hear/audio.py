"""Sound files to mono float32 at one rate: soundfile decodes, soxr resamples."""

from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
import soxr


class AudioError(ValueError):
    """A sound file that cannot be used; the message is one line with the file and the remedy."""


def _decode(source: Path | BinaryIO, name: str) -> tuple[np.ndarray, int]:
    """Decode all of a file to float32 [n, channels], with its sample rate in Hz."""
    try:
        with soundfile.SoundFile(source) as sound:
            promised = sound.frames
            wave = sound.read(dtype="float32", always_2d=True)
            rate = sound.samplerate
    except (soundfile.SoundFileError, OSError, ValueError) as error:
        if isinstance(source, Path) and not source.exists():
            raise AudioError(
                f"{name}: no such file; restore it or drop it from the list"
            ) from error
        reason = " ".join(str(error).split())
        raise AudioError(f"{name}: not readable as sound ({reason}); replace the file") from error
    if len(wave) < promised:
        raise AudioError(
            f"{name}: cut off after {len(wave)} of {promised} samples; fetch the file again"
        )
    return wave, rate


def _mix(channels: np.ndarray) -> np.ndarray:
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
    """Read a sound file as one channel at the rate asked for.

    Channels are averaged before resampling. Full scale is 1.0; float files may exceed it and are
    left as they are. Silence is sound like any other and is returned.

    Args:
        source: path of a file, or an open one, in any format libsndfile reads (WAV, FLAC, Ogg,
            MP3, ...), of any rate, width and number of channels.
        sample_rate: of the result, in Hz, > 0.

    Returns:
        float32 [n] with n = the file's length times `sample_rate` over its own rate, rounded, >= 1.

    Raises:
        AudioError: where the file is absent, unreadable, cut off, empty, too short to leave one
            sample at `sample_rate`, or holds NaN or infinity.
        ValueError: where `sample_rate` is not positive.
    """
    if sample_rate <= 0:
        raise ValueError(f"sample_rate is {sample_rate}: give a positive rate in Hz")
    if isinstance(source, str):
        source = Path(source)
    name = str(source) if isinstance(source, Path) else "the sound"
    channels, rate = _decode(source, name)
    if len(channels) == 0:
        raise AudioError(f"{name}: holds no samples; replace the file or drop it from the list")
    if not np.isfinite(channels).all():
        raise AudioError(f"{name}: holds NaN or infinite samples; repair or replace the file")
    wave = _mix(channels)
    if rate != sample_rate:
        wave = soxr.resample(wave, rate, sample_rate, quality="HQ")
    if len(wave) == 0:
        raise AudioError(
            f"{name}: {len(channels)} samples at {rate} Hz leave none at {sample_rate} Hz; "
            "drop it from the list"
        )
    return np.ascontiguousarray(wave, dtype=np.float32)
