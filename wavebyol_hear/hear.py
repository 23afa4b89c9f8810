"""The HEAR functions: embeddings of audio, without gradients and in bounded memory.

Whoever puts the model in training mode and leaves gradients on gets scene embeddings to train
through, as of any torch module; everything else is evaluation.
"""

import torch
from torch import Tensor

from wavebyol_hear.embed import Embedder


def get_scene_embeddings(audio: Tensor, model: Embedder) -> Tensor:
    """Return one embedding a clip, in bounded memory and without gradients.

    Args:
        audio: mono at `model.sample_rate`, full scale 1; of any length from one sample.
        model: from `load_model`. In training mode, where gradients are on, the batch is computed
            whole and with gradients; otherwise the model is put in evaluation mode.

    Shape:
        [B, n] -> float32 [B, model.scene_embedding_size].

    Raises:
        ValueError: the audio is no float tensor [B, n], is empty or not finite.
    """
    if model.training and torch.is_grad_enabled():
        embeddings: Tensor = model(audio)
        return embeddings
    model.eval()
    with torch.no_grad():
        return model.scenes(audio)


def get_timestamp_embeddings(audio: Tensor, model: Embedder) -> tuple[Tensor, Tensor]:
    """Return embeddings every 50 ms or less and the instants they are centred on.

    Args:
        audio: mono at `model.sample_rate`, full scale 1; of any length from one sample.
        model: from `load_model`; put in evaluation mode.

    Shape:
        [B, n] -> float32 [B, T, model.timestamp_embedding_size], float64 [B, T] in ms.

    Raises:
        ValueError: the audio is no float tensor [B, n], is empty or not finite.
    """
    model.eval()
    with torch.no_grad():
        return model.timestamps(audio)
