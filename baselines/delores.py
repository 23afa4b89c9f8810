"""DeLoRes-S and DeLoRes-M as HEAR modules: BYOL-A's encoder, trained by Barlow Twins.

`baselines.delores` takes the shipped weights of DeLoRes-S, `baselines.delores?variant=m` those of
DeLoRes-M, `baselines.delores:FILE` a file written by `python -m pretrain --preset delores_s` (or
`delores_m`). The authors published no weights.

Encoder, log-mel and pooling (maximum + mean over time) are those of `baselines.byol_a`, 2,048 wide.
Departure: the authors' mel filters are librosa's (Slaney's scale and norm), ours HTK's.

Sources: Ghosh et al. (arXiv 2203.13628; IEEE JSTSP 16(6), 2022). None of the authors' code is used:
it has no license.
"""

from baselines.base import (
    BaselineError,
    WeightsError,
    check_pooling,
    normalization,
    read_weights,
    weights_path,
)
from baselines.byol_a import ByolAModel, filled, get_scene_embeddings, get_timestamp_embeddings

__all__ = ["get_scene_embeddings", "get_timestamp_embeddings", "load_model"]

KIND = "wavebyol-hear-delores/1"


def load_model(
    model_file_path: str = "", *, variant: str | None = None, pooling: str = "published"
) -> ByolAModel:
    """Return DeLoRes.

    Args:
        model_file_path: our file; empty takes the shipped weights.
        variant: `s` or `m`, of the shipped weights; None is `s`, and whatever a named file holds.
        pooling: of scenes, `published` or `contrast`; see `baselines.byol_a.ByolAModel`.

    Raises:
        WeightsError: a file that is missing, damaged or of another network or variant.
        BaselineError: an option is out of range.
    """
    check_pooling(pooling)
    if variant not in (None, "s", "m"):
        raise BaselineError(f"variant is {variant!r}: give s or m")
    path = weights_path(model_file_path, f"delores_{variant or 's'}", module="delores")
    tensors, settings = read_weights(path, KIND)
    if variant and settings.get("variant") != variant:
        raise WeightsError(f"{path} is DeLoRes-{settings.get('variant')}, not -{variant}")
    mean, std = normalization(settings)
    return ByolAModel(filled(tensors, path), mean, std, pooling).eval()
