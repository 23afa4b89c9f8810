"""What `load_model` returns for a file with a head: an `Embedder` that also classifies."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

from wavebyol_hear.checkpoint import Weights, lossless_dtype, save_encoder
from wavebyol_hear.embed import Embedder
from wavebyol_hear.embed_any import Source
from wavebyol_hear.head import Head


class Classifier(Embedder):
    """An encoder with its pooling and a head; as a HEAR module it embeds like any other.

    Args:
        weights: of a file that holds a head.
        options: of `Embedder`, but for the read-out, which is that of the training.
    """

    def __init__(self, weights: Weights, **options: Any) -> None:  # noqa: ANN401
        head = weights.head
        assert head is not None
        whiten = head.read_out["whiten"]
        super().__init__(
            weights.encoder.float(),
            head.read_out["pooling"],
            whitenings=weights.whitenings if whiten else None,
            components=weights.components if whiten else None,
            dims=head.read_out["dims"],
            normalize=head.read_out["normalize"],
            **options,
        )
        self.head = head
        if head.weight.shape[1] != self.scene_embedding_size:
            raise ValueError(
                f"the head takes {head.weight.shape[1]} numbers and the encoder gives "
                f"{self.scene_embedding_size}: train it again"
            )

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes."""
        return self.head.classes

    def probabilities(
        self,
        source: Source,
        sample_rate: int | None = None,
        **options: Any,  # noqa: ANN401
    ) -> np.ndarray:
        """Return the probabilities of all classes, as numpy.

        Args:
            source: files or arrays, as of `embed`.
            sample_rate: as of `embed`.
            options: of `embed`.

        Shape:
            one file or array -> float32 [K], N of them -> [N, K].
        """
        embeddings = torch.from_numpy(self.embed(source, sample_rate, **options))
        with torch.no_grad():
            result: np.ndarray = self.head(embeddings.to(self.head.weight.device)).cpu().numpy()
        return result

    def predict(
        self,
        source: Source,
        sample_rate: int | None = None,
        **options: Any,  # noqa: ANN401
    ) -> dict[str, float] | list[dict[str, float]]:
        """Return the classes with their probabilities, the most probable first.

        One file or array gives one mapping, a list gives a list. Arguments and errors are those of
        `embed`.
        """
        values = self.probabilities(source, sample_rate, **options)
        if values.ndim == 1:
            return self._ranked(values)
        return [self._ranked(row) for row in values]

    def _ranked(self, row: np.ndarray) -> dict[str, float]:
        """Return one clip's classes, the most probable first."""
        return {self.classes[index]: float(row[index]) for index in np.argsort(-row, kind="stable")}


def save_classifier(
    path: str | Path, model: Embedder, head: Head, provenance: dict[str, Any]
) -> None:
    """Write encoder and head as one file, which `load_model` reads; whole or not at all.

    Args:
        path: of the file.
        model: whose embeddings the head was trained on.
        head: of its scene embeddings.
        provenance: whatever JSON can hold: how the head was made; joins the encoder's.

    Raises:
        OSError: the file cannot be written.
    """
    encoder = model.encoder
    own = {**encoder.provenance, "head": provenance}
    save_encoder(path, encoder, own, dtype=lossless_dtype(encoder), head=head)
