"""WaveBYOL as a HEAR module: raw waveforms to embeddings, with weights that ship.

The common API of HEAR (Holistic Evaluation of Audio Representations) and nothing else.
"""

from wavebyol_hear.hear import get_scene_embeddings, get_timestamp_embeddings
from wavebyol_hear.load import load_model

__all__ = ["get_scene_embeddings", "get_timestamp_embeddings", "load_model"]
