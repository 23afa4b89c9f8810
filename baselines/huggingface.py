"""Audio encoders of the Hugging Face Hub as HEAR modules, through `transformers`.

`baselines.huggingface:facebook/hubert-base-ls960?layer=7&pool=mean`, or a folder in place of the
name. Known are wav2vec 2.0, HuBERT, WavLM, data2vec and their kin, the encoder of Whisper, AST and
the audio tower of CLAP.

A long clip is computed in windows of what the encoder takes at most (Whisper 30 s, AST 10.2 s, CLAP
10 s; the others, whose attention grows with the square of the length, 30 s), whose frames follow
each other at one hop.
"""

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from baselines.base import BaselineError
from baselines.huggingface_models import FAMILIES, POOLER, HuggingFaceModel
from wavebyol_hear.chunking import evaluating
from wavebyol_hear.files.extras import require

WEIGHTS_ARE_NAMES = True
"""Says to whoever loads this module that weights may be a folder or a name on the Hub."""


def load_model(
    model_file_path: str = "", *, layer: int | None = None, pool: str = ""
) -> HuggingFaceModel:
    """Return an encoder of the Hub.

    Args:
        model_file_path: name on the Hub, such as `facebook/hubert-base-ls960`, or a folder of
            `save_pretrained` with its feature extractor.
        layer: whose hidden states are taken, 0 to the number of layers; None: the output.
        pool: how frames become a scene: `mean`, `max`, `meanmax`, or `pooler`, the network's own
            (AST, CLAP); by default `pooler` for CLAP and `mean` for the others.

    Raises:
        BaselineError: the name, the layer or the pooling is no good; one line with the remedy.
        MissingExtraError: `transformers` is not installed.
    """
    transformers = require("transformers", "huggingface", "baselines.huggingface")
    if not model_file_path:
        raise BaselineError(
            "no model: write baselines.huggingface:NAME with a name on the Hub, such as "
            "facebook/hubert-base-ls960, or a folder"
        )
    with _quiet(transformers), _one_line(model_file_path):
        config = transformers.AutoConfig.from_pretrained(model_file_path)
        family = FAMILIES.get(config.model_type)
        if family is None:
            raise BaselineError(
                f"{model_file_path} is of type {config.model_type!r}: known are "
                f"{', '.join(FAMILIES)}"
            )
        extractor = transformers.AutoFeatureExtractor.from_pretrained(model_file_path)
        network: Any = transformers.AutoModel.from_pretrained(model_file_path)
    if family.part:
        network = getattr(network, family.part, network)
    pool = pool or family.pools[0]
    _check(model_file_path, family, network.config, layer, pool)
    return family(network.float(), extractor, layer, pool).eval()


def _check(
    name: str,
    family: type[HuggingFaceModel],
    config: Any,  # noqa: ANN401
    layer: int | None,
    pool: str,
) -> None:
    """Raise a BaselineError where an encoder has no such layer or pooling."""
    pools = [each for each in family.pools if layer is None or each != POOLER]
    if pool not in pools:
        raise BaselineError(f"{name}: pool is {pool!r}; here it is one of {', '.join(pools)}")
    if layer is None:
        return
    if not family.has_layers:
        raise BaselineError(f"{name}: its layers are of different shapes; leave layer out")
    count = getattr(config, "encoder_layers", None) or config.num_hidden_layers
    if isinstance(layer, bool) or not isinstance(layer, int) or not 0 <= layer <= count:
        raise BaselineError(f"{name}: layer is {layer!r}; give 0 to {count}")


@contextlib.contextmanager
def _one_line(name: str) -> Iterator[None]:
    """Turn what `transformers` says of a name or folder into one line."""
    try:
        yield
    except (OSError, ValueError) as error:
        if isinstance(error, BaselineError):
            raise
        reason = " ".join(str(error).split())[:200]
        raise BaselineError(
            f"{name} is not a folder of a model, and not available from the Hub ({reason}); where "
            f"there is a network `hf download {name} --local-dir DIR` fetches it, then give DIR"
        ) from error


@contextlib.contextmanager
def _quiet(transformers: Any) -> Iterator[None]:  # noqa: ANN401
    """Keep `transformers` from listing the heads that are not needed, and its progress."""
    logging = transformers.utils.logging
    level = logging.get_verbosity()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        logging.enable_progress_bar()


def get_scene_embeddings(audio: Tensor, model: HuggingFaceModel) -> Tensor:
    """Return scene embeddings: [B, n] -> float32 [B, model.scene_embedding_size]."""
    with evaluating(model):
        return model(audio)


def get_timestamp_embeddings(audio: Tensor, model: HuggingFaceModel) -> tuple[Tensor, Tensor]:
    """Return the encoder's frames and their centres, at its own hop (20 ms; AST 100, CLAP 312.5).

    Shape:
        [B, n] -> float32 [B, T, model.timestamp_embedding_size], float64 [B, T] in ms.
    """
    with evaluating(model):
        frames = model.embed(audio)[0]
    steps = torch.arange(frames.shape[1], dtype=torch.float64, device=frames.device)
    times = (steps * model.framing.hop + model.framing.centre) * 1000 / model.sample_rate
    last = audio.shape[1] * 1000 / model.sample_rate  # of a clip shorter than a frame
    return frames, times.clamp_max(last).expand(len(audio), -1)
