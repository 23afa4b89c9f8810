"""From a weights file, or from nothing, to a model that embeds."""

import warnings
from importlib import resources

import torch

from wavebyol_hear.checkpoint import Weights, load_weights
from wavebyol_hear.embed import Embedder
from wavebyol_hear.encoder import PRESETS, Encoder
from wavebyol_hear.pooling import Pooling
from wavebyol_hear.precision import Precision

DEFAULT_PRESET = "slim"


def load_model(
    model_file_path: str = "",
    *,
    preset: str | None = None,
    pooling: str | Pooling | None = None,
    whiten: bool = True,
    normalise: bool = False,
    seconds_at_once: float = 20.48,
    precision: Precision = "auto",
) -> Embedder:
    """Return a model for `get_scene_embeddings` and `get_timestamp_embeddings`, on the CPU.

    Args:
        model_file_path: weights, in the project's safetensors format or the authors' `.pt`. Empty:
            the weights that ship with the package for the preset; where none ship, seeded
            untrained weights, with a warning.
        preset: one of h1, h2, h3, h4, h5, slim (the default). With a file it need not be given; if
            it is, the file must hold that network.
        pooling: `contrast` (front end and each block: max and deviation over time, rows kept),
            `stages` (front end: mean, max and deviation; each block: mean and max), `bands` (last
            map, rows kept, mean + max added), `maxima` (front end and each block: max) or `global`
            (as `bands`, over rows too); by default `contrast` for slim's scenes, `maxima` for its
            timestamps, and `global` for h1 to h5.
        whiten: whether embeddings are whitened by the statistics of the training corpus, where the
            weights file holds them for the pooling (the shipped one: for the default poolings).
        normalise: whether embeddings are scaled to unit L2 norm, as the authors' probe does.
        seconds_at_once: sound computed at once; less takes less memory.
        precision: `fp32`, `bf16` or `auto`, bf16 where the device has units for it; the model's
            attribute `precision` says which it is. Training through the model is in fp32.

    Raises:
        WeightsError: the file cannot be used.
        ValueError: the preset, the pooling or the precision is unknown.
    """
    if preset is not None and preset not in PRESETS:
        raise ValueError(f"preset {preset!r} is unknown: it is one of {', '.join(PRESETS)}")
    if model_file_path:
        weights = load_weights(model_file_path, preset)
    else:
        weights = _shipped(preset or DEFAULT_PRESET)
    return Embedder(
        weights.encoder.float(),  # whatever torch's default type is
        pooling,
        whitenings=weights.whitenings if whiten else None,
        normalise=normalise,
        seconds_at_once=seconds_at_once,
        precision=precision,
    )


def _shipped(preset: str) -> Weights:
    """Return the weights in the package, or untrained ones."""
    weights = resources.files("wavebyol_hear").joinpath("weights", f"{preset}.safetensors")
    if weights.is_file():
        with resources.as_file(weights) as path:
            return load_weights(path, preset)
    warnings.warn(
        f"wavebyol_hear: {preset} is UNTRAINED: no weights ship for it, and its embeddings say "
        "little; give load_model a weights file",
        UserWarning,
        stacklevel=3,
    )
    return Weights(untrained_encoder(preset), {}, {})


def untrained_encoder(preset: str, seed: int = 0) -> Encoder:
    """Return a preset's network with seeded random weights; the global generator stays put."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Encoder(PRESETS[preset])
