"""Embeddings of what a user has: a file, a list of files, or arrays at any sample rate."""

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from typing import Any

import numpy as np
import soxr
import torch
from torch import Tensor

from wavebyol_hear.audio import MAX_UPSAMPLING, AudioError, AudioUnavailableError
from wavebyol_hear.files.read_ahead import Reader, Unavailable, of_one_length, plan_batches

BATCH_SECONDS = 60.0
FEWEST_SAMPLES = 32
"""An array whose second axis is shorter holds channels there, as soundfile returns them."""

Source = str | os.PathLike[str] | np.ndarray | Tensor | Sequence[Any]


def embed_any(
    source: Source,
    sample_rate: int | None,
    *,
    scenes: Callable[[Tensor], Tensor],
    size: int,
    model_rate: int,
    min_samples: int,
    batch_seconds: float = BATCH_SECONDS,
    workers: int | None = None,
) -> np.ndarray:
    """Return embeddings of files or arrays; see `Embedder.embed`, whose model gives the rest.

    Args:
        source: as of `Embedder.embed`.
        sample_rate: of arrays, in Hz.
        scenes: [B, n] at `model_rate` -> [B, size], without gradients.
        size: numbers of an embedding.
        model_rate: in Hz.
        min_samples: to which the model pads shorter clips evenly on both sides.
        batch_seconds: as of `Embedder.embed`.
        workers: as of `Embedder.embed`.
    """
    if not batch_seconds > 0:
        raise ValueError(f"batch_seconds is {batch_seconds}: it must be above 0")
    items, one = _items(source)
    paths = [_is_path(item) for item in items]
    if any(paths) and not all(paths):
        raise ValueError("paths and arrays in one list: embed them by two calls")
    if any(paths) and sample_rate is not None:
        raise ValueError(f"sample_rate={sample_rate} beside files: they say their own, drop it")
    if any(paths):
        workers = min(4, os.cpu_count() or 1) if workers is None else workers
        files = [os.fspath(item) for item in items]
        waves = _read(files, model_rate, min_samples, batch_seconds, workers)
    else:
        waves = _arrays(items, sample_rate, model_rate, min_samples, batch_seconds)
    out = np.empty((len(items), size), np.float32)
    for rows, batch in waves:
        out[rows] = scenes(torch.from_numpy(batch)).float().cpu().numpy()
    return out[0] if one else out


def _items(source: Source) -> tuple[list[Any], bool]:
    """Return what is to be embedded, and whether it is one thing."""
    if _is_path(source):
        return [source], True
    # An array of texts or objects, such as a column of a table, is a list.
    if isinstance(source, Tensor) or (isinstance(source, np.ndarray) and source.dtype.kind != "O"):
        shape = tuple(source.shape)
        if len(shape) == 0 or len(shape) > 2:
            raise ValueError(f"the array is {list(shape)}: give a wave [n] or waves [clips, n]")
        if len(shape) == 2 and 0 < shape[1] < FEWEST_SAMPLES <= shape[0]:
            raise ValueError(
                f"the array is {list(shape)}, which looks like [samples, channels]: give the mean "
                "of the channels, array.mean(1)"
            )
        if len(shape) == 1 and not (isinstance(source, np.ndarray) and source.dtype.kind == "U"):
            return [source], True
    elif isinstance(source, bytes) or not isinstance(source, Iterable):
        raise ValueError(
            f"a {type(source).__name__} cannot be embedded: give a path, an array, or a list"
        )
    return list(source), False


def _is_path(item: object) -> bool:
    """Return whether an item names a file."""
    return isinstance(item, str | os.PathLike)


def _read(
    files: list[str], rate: int, min_samples: int, batch_seconds: float, workers: int
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Yield rows and waves of one length.

    Raises:
        AudioError: a file cannot be used; those before it were embedded for nothing.
    """
    reader = Reader(files, rate, min_samples=min_samples)
    with closing(reader.batches(range(len(files)), workers, batch_seconds)) as batches:
        for batch in batches:
            waves = []
            for row, wave in batch:
                if isinstance(wave, str):
                    kind = AudioUnavailableError if isinstance(wave, Unavailable) else AudioError
                    raise kind(str(wave))
                waves.append((row, wave))
            yield from of_one_length(waves)


def _arrays(
    items: Iterable[Any], own: int | None, rate: int, min_samples: int, batch_seconds: float
) -> Iterator[tuple[list[int], np.ndarray]]:
    """Yield rows and waves of one length from arrays at a sample rate of their own."""
    waves = [_wave(item, index, own, rate) for index, item in enumerate(items)]
    lengths = np.array([max(min_samples, len(wave)) for wave in waves], np.int64)
    most = int(batch_seconds * rate)
    for rows in plan_batches(np.arange(len(waves)), lengths, most):
        batch = np.zeros((len(rows), int(lengths[rows[0]])), np.float32)
        for row, padded in zip(rows, batch, strict=True):
            left = (len(padded) - len(waves[row])) // 2
            padded[left : left + len(waves[row])] = waves[row]
        yield rows, batch


def _wave(item: object, index: int, own: int | None, rate: int) -> np.ndarray:
    """Return an array as a float32 wave at the model's rate."""
    wave = item.detach().cpu().numpy() if isinstance(item, Tensor) else np.asarray(item)
    name = f"array {index}"
    if own is None:
        raise ValueError(f"{name} comes without its rate: give sample_rate in Hz")
    if isinstance(own, bool) or not own > 0:
        raise ValueError(f"sample_rate is {own}: give a positive rate in Hz")
    if wave.ndim != 1 or wave.dtype.kind not in "fi":
        shape = list(wave.shape)
        raise ValueError(
            f"{name} is {wave.dtype} {shape}: give mono waves [n] of floats or signed integers; "
            "of several channels their mean"
        )
    if own * MAX_UPSAMPLING < rate:
        raise ValueError(f"sample_rate is {own}: it must be {rate / MAX_UPSAMPLING:g} Hz or more")
    if round(len(wave) * rate / own) == 0:
        raise ValueError(f"{name} has {len(wave)} samples at {own} Hz, which leave none at {rate}")
    if wave.dtype.kind == "i":
        wave = wave / -float(np.iinfo(wave.dtype).min)
    if not np.isfinite(wave).all():
        raise ValueError(f"{name} has NaN or infinite samples: repair it")
    wave = wave.astype(np.float32, copy=False)
    return wave if own == rate else soxr.resample(wave, own, rate, quality="HQ")
