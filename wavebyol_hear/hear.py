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
        model_file_path: weights file in this project's safetensors format or the authors' `.pt`
            format; a folder with such a file; or `hf://owner/name` on the Hugging Face Hub (extra
            `hub`). A file of `wavebyol train` gives a `Classifier`, which also has `predict`.
            By default the weights of the preset that ship with the package; if there are none,
            seeded random weights, with a warning.
        preset: one of h1, h2, h3, h4, h5, slim, slim_bank, wide_bank (the default). Not needed with
            a file; if it is given, the file must contain that network.
        pooling: `contrast` (front end and each block: maximum and standard deviation over time of
            each row), `stages` (front end: mean, maximum and standard deviation; each block: mean
            and maximum), `maxima` (front end and each block: maximum), `bands` (last feature map:
            mean + maximum of each row) or `global` (as `bands`, but over rows too). The default is
            `contrast` for scenes and `maxima` for timestamps of slim, slim_bank and wide_bank, and
            `global` for h1 to h5.
        whiten: whether to whiten embeddings with statistics of the training corpus, if the weights
            file has them for the pooling (shipped weights: for the default poolings).
        normalize: whether to scale embeddings to unit L2 norm, as the authors' probe does.
        dims: number of principal components of scene embeddings to return, if the weights file has
            them (shipped weights: 1 to 1,024, for the default pooling with whitening). By default
            all dimensions are returned. Timestamp embeddings are not affected.
        chunk_seconds: audio computed at once, > 0; smaller values need less memory.
        precision: `fp32`, `bf16`, or `auto` for bf16 on hardware that supports it. The attribute
            `precision` of the model tells which one is used. Fine-tuning computes in fp32.
        fast: whether to compute embeddings with an optimized copy of the network (`fast/`), which
            gives the same values up to rounding; False runs the network as it is written, in fp32.
        untrained: whether to use the preset's network with seeded random weights, with a warning,
            as a baseline for the trained ones.

    Raises:
        WeightsError: the file cannot be used.
        ValueError: unknown preset, pooling or precision, `untrained` together with a file, or
            `dims` without components in the weights.

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
    why = "as requested" if untrained else "no weights ship with it"
    warnings.warn(
        f"wavebyol_hear: {preset} is UNTRAINED ({why}): its weights are random; give load_model a "
        "weights file",
        UserWarning,
        stacklevel=3,
    )
    return Weights(untrained_encoder(preset), {}, {}, {})


def untrained_encoder(preset: str, seed: int = 0) -> Encoder:
    """Return a preset's network with seeded random weights; the global generator stays put."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Encoder(PRESETS[preset])
