"""The default model without its whitening, as a HEAR module: what training alone is worth.

The baselines' embeddings are not whitened, so this is what to hold beside them.
"""

from wavebyol_hear.embed import Embedder
from wavebyol_hear.hear import get_scene_embeddings, get_timestamp_embeddings
from wavebyol_hear.load import load_model as load_whitened

__all__ = ["get_scene_embeddings", "get_timestamp_embeddings", "load_model"]


def load_model(model_file_path: str = "") -> Embedder:
    """Return `wavebyol_hear.load_model(model_file_path, whiten=False)`; its errors are those."""
    return load_whitened(model_file_path, whiten=False)
