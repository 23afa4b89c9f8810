"""Embeddings as a step of a scikit-learn pipeline, which begins with paths of audio files.

from wavebyol_hear.sklearn import Embedding
make_pipeline(Embedding(), LogisticRegression()).fit(paths, labels)
"""

from typing import Any, Self

import numpy as np
import torch

from wavebyol_hear.embed import Embedder
from wavebyol_hear.embed_any import BATCH_SECONDS
from wavebyol_hear.files.extras import require
from wavebyol_hear.hear import load_model

require("sklearn", "sklearn", "wavebyol_hear.sklearn")
from sklearn.base import (  # noqa: E402  a missing extra is one line
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
)


class Embedding(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """A transformer from audio to scene embeddings. It learns nothing, so it may be used unfitted.

    A clone or a pickle carries the arguments, not the network, which is loaded again on first use.

    Args:
        weights: of the model: a file, a folder, `hf://owner/name`, or empty for those that ship.
        sample_rate: of arrays, in Hz; None where the inputs are files.
        preset: see `load_model`, and so all up to `precision`.
        pooling: see `load_model`.
        whiten: see `load_model`.
        normalize: see `load_model`.
        dims: see `load_model`.
        precision: see `load_model`.
        device: a torch device to compute on.
        batch_seconds: most audio that is computed together, in seconds, > 0.
        workers: threads that decode ahead; by default as many as processors, at most 4.

    Example:
        >>> from sklearn.linear_model import LogisticRegression
        >>> from sklearn.pipeline import make_pipeline
        >>> noise = np.random.default_rng(0).standard_normal((4, 8_000))
        >>> hum = np.cos(np.arange(8_000) / 20) + 0.01 * noise
        >>> model = make_pipeline(Embedding(sample_rate=8_000), LogisticRegression())
        >>> model = model.fit([*noise[:3], *hum[:3]], 3 * ["noise"] + 3 * ["hum"])
        >>> model.predict([hum[3], noise[3]])
        array(['hum', 'noise'], dtype='<U5')
    """

    def __init__(
        self,
        weights: str = "",
        *,
        sample_rate: int | None = None,
        preset: str | None = None,
        pooling: str | None = None,
        whiten: bool = True,
        normalize: bool = False,
        dims: int | None = None,
        precision: str = "auto",
        device: str = "cpu",
        batch_seconds: float = BATCH_SECONDS,
        workers: int | None = None,
    ) -> None:
        """Keep the arguments, as scikit-learn wants it; they are checked on first use."""
        self.weights = weights
        self.sample_rate = sample_rate
        self.preset = preset
        self.pooling = pooling
        self.whiten = whiten
        self.normalize = normalize
        self.dims = dims
        self.precision = precision
        self.device = device
        self.batch_seconds = batch_seconds
        self.workers = workers

    def fit(self, X: Any, y: object = None) -> Self:  # noqa: ANN401, N803
        """Load the model; neither `X` nor `y` is looked at."""
        del X, y
        self._load()
        return self

    def transform(self, X: Any) -> np.ndarray:  # noqa: ANN401, N803
        """Return embeddings.

        Args:
            X: paths, as a list, an array, a series or a column [N, 1]; or arrays of audio, as of
                `Embedder.embed`, at `sample_rate`.

        Shape:
            N inputs -> float32 [N, D].

        Raises:
            ValueError: an input cannot be used, or is not a list of inputs.
        """
        if isinstance(X, str):
            raise ValueError(f"X is the text {X!r}: give a list of paths")
        if getattr(X, "ndim", 0) == 2 and X.shape[1] == 1:
            X = np.asarray(X)[:, 0]  # noqa: N806
        if isinstance(X, np.ndarray) and X.ndim == 1 and X.dtype.kind in "fi":
            raise ValueError(f"X is one array {list(X.shape)}: give a list of arrays or of paths")
        return self._load().embed(
            X if isinstance(X, np.ndarray | torch.Tensor) else list(X),
            self.sample_rate,
            batch_seconds=self.batch_seconds,
            workers=self.workers,
        )

    @property
    def _n_features_out(self) -> int:
        """Numbers of an embedding, of which scikit-learn makes their names."""
        return self._load().scene_embedding_size

    def _load(self) -> Embedder:
        """Return the model of the present arguments, loaded once."""
        names = ("preset", "pooling", "whiten", "normalize", "dims", "precision")
        options = {name: getattr(self, name) for name in names}
        key = (self.weights, self.device, tuple(options.values()))
        loaded: tuple[object, Embedder] | None = vars(self).get("_loaded")
        if loaded is None or loaded[0] != key:
            loaded = key, load_model(self.weights, **options).to(self.device)
            self._loaded = loaded
        return loaded[1]

    def __getstate__(self) -> dict[str, Any]:
        """Return what a pickle holds: no network."""
        return {name: value for name, value in super().__getstate__().items() if name != "_loaded"}

    def __sklearn_is_fitted__(self) -> bool:
        """Say that it is always fitted."""
        return True

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401
        """Say that it takes lists of names and learns nothing."""
        tags = super().__sklearn_tags__()
        tags.input_tags.one_d_array = True
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.requires_fit = False
        return tags
