"""Any HEAR module behind a whitening fitted on a corpus: `baselines.whitened:FILE`.

FILE is written by `python -m pretrain.whiten STORE FILE --module MODULE`; its header says which
module it belongs to. With it every encoder has the read-out that ours ships with, fitted on the
same clips, and what is left of a difference is the encoders'. Those of `baselines/whitenings` are
chosen by name, as `baselines.whitened?encoder=byol_a`; `make whitenings` fits them.
"""

import importlib
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from baselines.base import BaselineError, WeightsError, read_weights
from wavebyol_hear.files.atomic import atomic_write
from wavebyol_hear.files.tensors import to_bytes
from wavebyol_hear.whitening import Whitening, from_tensors, to_tensors

KIND = "wavebyol-hear-whitened/1"
SCENE = "scene"
SHIPPED = Path(__file__).with_name("whitenings")


class WhitenedModel(nn.Module):
    """A module's model, and the whitening of its scene embeddings.

    Args:
        module: with HEAR's functions.
        model: of its `load_model`.
        whitening: of its scene embeddings.
    """

    def __init__(self, module: ModuleType, model: Any, whitening: Whitening) -> None:  # noqa: ANN401
        super().__init__()
        self.module, self.model, self.whitening = module, model, whitening
        self.sample_rate = int(model.sample_rate)
        self.scene_embedding_size = int(model.scene_embedding_size)
        self.timestamp_embedding_size = int(model.timestamp_embedding_size)


def save_whitened(
    path: Path, whitening: Whitening, *, module: str, weights: str, options: dict[str, Any]
) -> None:
    """Write the whitening of a module's scene embeddings; the file appears whole or not at all.

    Its directions are stored in half precision, as those of our weights files are.

    Args:
        path: of the file.
        whitening: of the embeddings.
        module: import path of the module.
        weights: what its `load_model` is given; empty for its own.
        options: keyword arguments of its `load_model`.
    """
    config = {"module": module, "weights": weights, "options": options}
    tensors = {
        name: (value.half() if value.dim() > 1 else value).contiguous()
        for name, value in to_tensors({SCENE: whitening}).items()
    }
    with atomic_write(path) as file:
        file.write(to_bytes(tensors, {"format": KIND, "config": json.dumps(config)}))


def load_model(model_file_path: str = "", *, encoder: str = "") -> WhitenedModel:
    """Return the model that a file of `python -m pretrain.whiten --module` belongs to, whitened.

    Args:
        model_file_path: the file.
        encoder: name of a file of `baselines/whitenings`, where none is given.

    Raises:
        BaselineError: there is no such encoder.
        WeightsError: there is no such file, it is damaged, or of another number of embeddings.
    """
    path = Path(model_file_path)
    if encoder:
        path = SHIPPED / f"{encoder}.safetensors"
        names = sorted(file.stem for file in SHIPPED.glob("*.safetensors"))
        if model_file_path or encoder not in names:
            raise BaselineError(f"encoder is {encoder!r}: give no file and one of {names}")
    try:
        tensors, config = read_weights(path, KIND)
        whitening = from_tensors(tensors)[SCENE]
    except (KeyError, ValueError) as error:
        raise WeightsError(
            f"{path} is not a whitening of a module ({error}): make one with "
            "`python -m pretrain.whiten STORE FILE --module MODULE`"
        ) from error
    module = importlib.import_module(config["module"])
    weights = config["weights"]
    if encoder and weights:  # shipped too: from the repository's root
        weights = str(SHIPPED.parents[1] / weights)
    model = module.load_model(weights, **config["options"])
    if whitening.size != model.scene_embedding_size:
        raise WeightsError(
            f"{path} whitens {whitening.size} numbers, but {config['module']} has "
            f"{model.scene_embedding_size}: fit it again"
        )
    return WhitenedModel(module, model, whitening).eval()


@torch.no_grad()
def get_scene_embeddings(audio: Tensor, model: WhitenedModel) -> Tensor:
    """Return the module's embeddings, whitened: [B, n] -> [B, D]."""
    scenes: Tensor = model.module.get_scene_embeddings(audio, model.model)
    return model.whitening(scenes.float())


@torch.no_grad()
def get_timestamp_embeddings(audio: Tensor, model: WhitenedModel) -> tuple[Tensor, Tensor]:
    """Return the module's timestamps as they are: [B, n] -> [B, T, D], [B, T]."""
    timestamps: tuple[Tensor, Tensor] = model.module.get_timestamp_embeddings(audio, model.model)
    return timestamps
