"""X-ARES's encoder template: frames every 40 ms.

# my_encoder.py, for `python -m xares.run my_encoder.py TASK.py ...`
from wavebyol_hear.integrations.xares import WaveByolEncoder
"""

from typing import Any

from torch import Tensor, nn

from wavebyol_hear.embed import Embedder
from wavebyol_hear.hear import get_timestamp_embeddings, load_model


class WaveByolEncoder(nn.Module):
    """A model as X-ARES calls it, which pools the frames over time itself.

    Args:
        model: from `load_model`; None loads it with `options`.
        options: of `load_model`.

    Shape:
        [B, n] at `sampling_rate` -> [B, T, output_dim], T about n / sampling_rate * 1000 / 40.

    Example:
        >>> import torch
        >>> encoder = WaveByolEncoder(preset="slim")
        >>> encoder.sampling_rate, encoder.hop_size_in_ms
        (16000, 40.0)
        >>> encoder(torch.zeros(2, 50_000)).shape
        torch.Size([2, 78, 2400])
    """

    def __init__(self, model: Embedder | None = None, **options: Any) -> None:  # noqa: ANN401
        super().__init__()
        self.model = load_model(**options) if model is None else model
        self.sampling_rate = self.model.sample_rate
        self.output_dim = self.model.timestamp_embedding_size
        self.hop_size_in_ms = self.model.grid.period * 1000 / (2 * self.sampling_rate)

    def forward(self, audio: Tensor) -> Tensor:
        """Return the frames of a batch of clips; see the class."""
        return get_timestamp_embeddings(audio, self.model)[0]
