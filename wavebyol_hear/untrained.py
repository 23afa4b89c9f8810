"""The default network with seeded, untrained weights, as a HEAR module: what learning must beat.

Random filters under generous pooling are no weak baseline, so a trained network is compared with
this one under the same pooling, not with chance.
"""

from wavebyol_hear.embed import Embedder
from wavebyol_hear.hear import get_scene_embeddings, get_timestamp_embeddings
from wavebyol_hear.load import DEFAULT_PRESET, untrained_encoder

__all__ = ["get_scene_embeddings", "get_timestamp_embeddings", "load_model"]


def load_model(model_file_path: str = "") -> Embedder:
    """Return the untrained network with the default pooling.

    Args:
        model_file_path: must stay empty; there are no weights.

    Raises:
        ValueError: where a weights file is named.
    """
    if model_file_path:
        raise ValueError(f"untrained has no weights, but {model_file_path} was given; leave it out")
    return Embedder(untrained_encoder(DEFAULT_PRESET))
