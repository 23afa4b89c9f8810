"""MTEB's audio tasks (MAEB): a model that `mteb.evaluate` takes, with its `ModelMeta`.

    import mteb
    from wavebyol_hear.integrations.mteb import MtebEncoder

    mteb.evaluate(MtebEncoder(), mteb.get_tasks(tasks=["ESC50"]))

Audio is resampled here, so neither torchaudio nor torchcodec is needed where a task's clips come as
arrays; docs/compare.md has the tasks whose clips come as files.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from wavebyol_hear.embed import Embedder
from wavebyol_hear.encoder import PRESETS
from wavebyol_hear.files.extras import require
from wavebyol_hear.hear import load_model

ORGANIZATION = "wavebyol-hear"
WHAT = "wavebyol_hear.integrations.mteb"


class MtebEncoder:
    """A model behind MTEB's `EncoderProtocol`: clips to scene embeddings, compared by cosine.

    Args:
        model: from `load_model`; None loads it with `options`.
        revision: of the weights, for the results' provenance.
        name: `organization/model` under which results are filed; by default of the preset whose
            network the model has.
        device: where to compute, such as `cuda`; None: where the model is.
        options: of `load_model`.

    Example:
        >>> encoder = MtebEncoder(preset="slim")
        >>> clip = {"array": np.zeros(8_000), "sampling_rate": 8_000}
        >>> encoder.encode([{"audio": [clip, clip]}]).shape
        (2, 4800)
    """

    def __init__(
        self,
        model: Embedder | None = None,
        revision: str | None = None,
        *,
        name: str = "",
        device: str | None = None,
        **options: Any,  # noqa: ANN401
    ) -> None:
        self.model = load_model(**options) if model is None else model
        if device is not None:
            self.model.to(device)
        same = (preset for preset, config in PRESETS.items() if config == self.model.config)
        self.name = name or f"{ORGANIZATION}/{next(same, 'custom')}"
        self.revision = revision

    @cached_property
    def mteb_model_meta(self) -> Any:  # noqa: ANN401
        """What MTEB files with the results.

        Raises:
            MissingExtraError: `mteb` is not installed.
        """
        meta = require("mteb.models", "mteb", WHAT).ModelMeta
        count = sum(value.numel() for value in self.model.parameters())
        return meta(
            loader=load_encoder,
            name=self.name,
            revision=self.revision,
            release_date=None,
            languages=None,
            n_parameters=count,
            memory_usage_mb=round(count * 4 / 2**20),
            max_tokens=None,
            embed_dim=self.model.scene_embedding_size,
            license="mit",
            open_weights=True,
            public_training_code=None,
            public_training_data=None,
            framework=["PyTorch"],
            similarity_fn_name="cosine",
            use_instructions=False,
            training_datasets=set(),
            modalities=["audio"],
        )

    def encode(
        self,
        inputs: Iterable[Mapping[str, Any]],
        **settings: Any,  # noqa: ANN401
    ) -> np.ndarray:
        """Return the embeddings of batches of clips, in their order.

        Args:
            inputs: batches; each has `audio`, a list of clips with `array` and `sampling_rate`.
            settings: what else MTEB says of the task and the prompt; nothing of it is needed.

        Shape:
            N clips in all -> float32 [N, scene_embedding_size].
        """
        rows = [self._embed(batch["audio"]) for batch in inputs]
        size = self.model.scene_embedding_size
        return np.concatenate(rows) if rows else np.zeros((0, size), np.float32)

    def _embed(self, clips: Iterable[Mapping[str, Any]]) -> np.ndarray:
        """Return the embeddings of the clips of a batch, those of each sample rate together."""
        by_rate: dict[int, list[tuple[int, np.ndarray]]] = defaultdict(list)
        count = 0
        for index, clip in enumerate(clips):
            wave = np.asarray(clip["array"], np.float32)
            mono = wave if wave.ndim == 1 else wave.mean(int(np.argmin(wave.shape)))
            by_rate[int(clip["sampling_rate"])].append((index, mono))
            count += 1
        out = np.empty((count, self.model.scene_embedding_size), np.float32)
        for rate, members in by_rate.items():
            out[[index for index, _ in members]] = self.model.embed(
                [wave for _, wave in members], rate
            )
        return out

    def similarity(self, first: Any, second: Any) -> Tensor:  # noqa: ANN401
        """Return the cosines of all pairs: [N, D], [M, D] -> [N, M]."""
        one, other = (normalize(_rows(each), dim=1) for each in (first, second))
        return one @ other.T

    def similarity_pairwise(self, first: Any, second: Any) -> Tensor:  # noqa: ANN401
        """Return the cosines of pairs of rows: [N, D], [N, D] -> [N]."""
        return cosine_similarity(_rows(first), _rows(second), dim=1)


def load_encoder(
    model_name: str,
    revision: str | None = None,
    *,
    device: str | None = None,
    **options: Any,  # noqa: ANN401
) -> MtebEncoder:
    """Return the encoder, called as MTEB's registry calls loaders."""
    return MtebEncoder(revision=revision, name=model_name, device=device, **options)


def _rows(embeddings: Any) -> Tensor:  # noqa: ANN401
    """Return embeddings as a float32 tensor [N, D]."""
    return torch.atleast_2d(torch.as_tensor(embeddings).float())
