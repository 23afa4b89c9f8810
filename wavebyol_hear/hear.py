"""The HEAR API: a model from a weights file, and embeddings of audio in bounded memory."""

import warnings

import torch
from torch import Tensor

from wavebyol_hear.checkpoint import Weights, load_weights
from wavebyol_hear.chunking import evaluating
from wavebyol_hear.embed import Embedder
from wavebyol_hear.encoder import PRESETS, Encoder
from wavebyol_hear.pooling import Pooling
from wavebyol_hear.precision import Precision
from wavebyol_hear.pretrained import shipped, weights_path

DEFAULT_PRESET = "wide_bank"


def load_model(
    model_file_path: str = "",
    *,
    preset: str | None = None,
    pooling: str | Pooling | None = None,
    whiten: bool = True,
    normalize: bool = False,
    dims: int | None = None,
    chunk_seconds: float = 20.48,
    precision: Precision = "auto",
    fast: bool = True,
    untrained: bool = False,
) -> Embedder:
    """Return a model for `get_scene_embeddings` and `get_timestamp_embeddings`, on the CPU.

    Args:
        model_file_path: weights, in the project's safetensors format or the authors' `.pt`; a
            folder that holds such a file, or `hf://owner/name` on the Hugging Face hub (extra
            `hub`). A file of `wavebyol train` gives a `Classifier`, which also has `predict`.
            Empty: the weights that ship with the package for the preset; where none ship, seeded
            untrained weights, with a warning.
        preset: one of h1, h2, h3, h4, h5, slim, slim_bank, wide_bank (the default). With a file it
            need not be given; if it is, the file must hold that network.
        pooling: `contrast` (front end and each block: max and deviation over time, rows kept),
            `stages` (front end: mean, max and deviation; each block: mean and max), `bands` (last
            map, rows kept, mean + max added), `maxima` (front end and each block: max) or `global`
            (as `bands`, over rows too); by default `contrast` for slim's scenes, `maxima` for its
            timestamps, and `global` for h1 to h5.
        whiten: whether embeddings are whitened by the statistics of the training corpus, where the
            weights file holds them for the pooling (the shipped one: for the default poolings).
        normalize: whether embeddings are scaled to unit L2 norm, as the authors' probe does.
        dims: numbers of a scene embedding: its first principal components over the training
            corpus, where the weights file holds them (the shipped ones: 1 to 1,024, for the default
            pooling, whitened). By default all numbers; timestamp embeddings keep theirs.
        chunk_seconds: audio computed at once, > 0; less takes less memory.
        precision: `fp32`, `bf16` or `auto`, bf16 where the device has units for it; the model's
            attribute `precision` says which it is. Training through the model is in fp32.
        fast: whether embeddings are computed by a folded copy of the network (`fast/`), to the same
            numbers up to rounding; False runs the network as it is written, in fp32.
        untrained: whether the preset's network keeps its seeded random weights, with a warning:
            what training must beat. Random filters under generous pooling are no weak baseline.

    Raises:
        WeightsError: the file cannot be used.
        ValueError: the preset, the pooling or the precision is unknown, `untrained` weights are
            asked for beside a file, or these weights cannot give `dims`.

    Example:
        >>> model = load_model()
        >>> model.sample_rate, model.scene_embedding_size, model.timestamp_embedding_size
        (16000, 7104, 3552)
        >>> load_model(dims=512).scene_embedding_size
        512
    """
    if preset is not None and preset not in PRESETS:
        raise ValueError(f"preset {preset!r} is unknown: it is one of {', '.join(PRESETS)}")
    if untrained and model_file_path:
        raise ValueError(f"untrained=True beside the weights {model_file_path}: drop one of them")
    if model_file_path:
        weights = load_weights(weights_path(model_file_path), preset)
    else:
        weights = _shipped(preset or DEFAULT_PRESET, untrained)
    if weights.head is not None:
        return _classifier(
            weights,
            {"pooling": pooling, "dims": dims, "whiten": not whiten, "normalize": normalize},
            {"chunk_seconds": chunk_seconds, "precision": precision, "fast": fast},
        )
    return Embedder(
        weights.encoder.float(),  # whatever torch's default type is
        pooling,
        whitenings=weights.whitenings if whiten else None,
        components=weights.components if whiten else None,
        dims=dims,
        normalize=normalize,
        chunk_seconds=chunk_seconds,
        precision=precision,
        fast=fast,
    )


def get_scene_embeddings(audio: Tensor, model: Embedder) -> Tensor:
    """Return one embedding per clip, in bounded memory and without gradients.

    The model evaluates whatever mode it is in, and stays in that mode. To train through embeddings,
    call the model itself: `model.train(); model(audio)`.

    Args:
        audio: mono at `model.sample_rate`, full scale 1; of any length from one sample.
        model: from `load_model`.

    Shape:
        [B, n] -> float32 [B, model.scene_embedding_size].

    Raises:
        ValueError: the audio is not a float tensor [B, n], is empty or not finite.

    Example:
        >>> model = load_model()
        >>> get_scene_embeddings(torch.zeros(2, 16000), model).shape
        torch.Size([2, 7104])
    """
    with evaluating(model):
        return model.scenes(audio)


def get_timestamp_embeddings(audio: Tensor, model: Embedder) -> tuple[Tensor, Tensor]:
    """Return embeddings every 50 ms or less and the instants they are centred on.

    Args:
        audio: mono at `model.sample_rate`, full scale 1; of any length from one sample.
        model: from `load_model`; evaluates and stays in its mode, as of `get_scene_embeddings`.

    Shape:
        [B, n] -> float32 [B, T, model.timestamp_embedding_size], float64 [B, T] in ms.

    Raises:
        ValueError: the audio is not a float tensor [B, n], is empty or not finite.

    Example:
        >>> model = load_model()
        >>> embeddings, times = get_timestamp_embeddings(torch.zeros(1, 16000), model)
        >>> embeddings.shape, times[0, :3].tolist()
        (torch.Size([1, 25, 3552]), [19.96875, 59.96875, 99.96875])
    """
    with evaluating(model):
        return model.timestamps(audio)


def _classifier(
    weights: Weights, read_out: dict[str, object], options: dict[str, object]
) -> Embedder:
    """Return the model of a file with a head, which embeds as the head was trained."""
    asked = [name for name, value in read_out.items() if value]
    if asked:
        raise ValueError(
            f"{asked[0]} is given for a classifier, whose head was trained on embeddings of its "
            "own options: leave it out, or load the encoder's own file"
        )
    from wavebyol_hear.classify.model import Classifier

    return Classifier(weights, **options)


def _shipped(preset: str, untrained: bool) -> Weights:
    """Return the weights in the package, or untrained ones."""
    if shipped(preset).is_file() and not untrained:
        return load_weights(shipped(preset), preset)
    why = "as asked for" if untrained else "no weights ship for it"
    warnings.warn(
        f"wavebyol_hear: {preset} is UNTRAINED ({why}) and its embeddings say little: give "
        "load_model a weights file",
        UserWarning,
        stacklevel=3,
    )
    return Weights(untrained_encoder(preset), {}, {}, {})


def untrained_encoder(preset: str, seed: int = 0) -> Encoder:
    """Return a preset's network with seeded random weights; the global generator stays put."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Encoder(PRESETS[preset])
