"""WaveBYOL as a HEAR module: raw waveforms to embeddings, with weights that ship.

The common API of HEAR (Holistic Evaluation of Audio Representations). It is imported when it is
first used: `import wavebyol_hear.files` and the like do not wait for torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wavebyol_hear.hear import get_scene_embeddings, get_timestamp_embeddings, load_model

__version__ = "0.1.0"
WEIGHTS_ARE_NAMES = True
"""In `wavebyol_hear:WEIGHTS` the weights may be a folder or `hf://owner/name` beside a file."""
__all__ = ["__version__", "get_scene_embeddings", "get_timestamp_embeddings", "load_model"]


def __getattr__(name: str) -> Any:  # noqa: ANN401
    """Return a function of the API."""
    if name in __all__:
        return getattr(importlib.import_module("wavebyol_hear.hear"), name)
    raise AttributeError(f"module 'wavebyol_hear' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the names of the API beside what is loaded."""
    return sorted({*globals(), *__all__})
