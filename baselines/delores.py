"""DeLoRes-S and DeLoRes-M as HEAR modules: BYOL-A's encoder, trained by Barlow Twins.

`baselines.delores` takes the shipped weights of DeLoRes-S, `baselines.delores?variant=m` those of
DeLoRes-M, `baselines.delores:FILE` a file written by `python -m pretrain --preset delores_s` (or
`delores_m`), or a state dict of the authors' code: DeLoRes-S of 2021 or 2023, DeLoRes-M of 2023 or
of audio-ssl. The authors published no weights; what such a file was normalized by is not in it, so
that it is read as `FILE?mean=-5.5&std=5.0`.

Encoder, log-mel and pooling (maximum + mean over time) are those of `baselines.byol_a`, 2,048 wide.
Departure: the authors' mel filters are librosa's (Slaney's scale and norm), ours HTK's.

Sources: Ghosh et al. (arXiv 2203.13628; IEEE JSTSP 16(6), 2022). None of the authors' code is used:
it has no license.
"""

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from baselines.base import (
    BaselineError,
    WeightsError,
    check_pooling,
    normalization,
    read_state_dict,
    read_weights,
    weights_path,
)
from baselines.byol_a import (
    ByolAModel,
    filled,
    get_scene_embeddings,
    get_timestamp_embeddings,
)

__all__ = ["get_scene_embeddings", "get_timestamp_embeddings", "load_model"]

KIND = "wavebyol-hear-delores/1"
VARIANTS = ("s", "m")
PRETEXT_M = ("encoder_k.", "queue", "p.", "p1.", "p2.", "p3.")
# Of each layout of the authors' files: what it is, the prefix of the encoder's names, and how the
# names begin that only training needs.
LAYOUTS = (
    ("DeLoRes-M (2023)", "encoder_q.encoder.", ("encoder_q.fc.", *PRETEXT_M)),
    ("DeLoRes-S (2023)", "encoder.encoder.", ("p.",)),
    ("DeLoRes-M (audio-ssl)", "encoder_q.", ("encoder_q.fc_2.", *PRETEXT_M)),
    ("DeLoRes-S (2021)", "module.", ("module.projector.", "module.bn.")),
)


def load_model(
    model_file_path: str = "",
    *,
    variant: str | None = None,
    mean: float | None = None,
    std: float | None = None,
    pooling: str = "published",
) -> ByolAModel:
    """Return DeLoRes.

    Args:
        model_file_path: our file or one of the authors' code; empty takes the shipped weights.
        variant: `s` or `m`, of the shipped weights; None is `s`, and whatever a named file holds.
        mean: of the log-mels that the network was trained on; None takes what the file says.
        std: their standard deviation, > 0; None takes what the file says.
        pooling: of scenes, `published` or `contrast`; see `baselines.byol_a.ByolAModel`.

    Raises:
        WeightsError: a file that is missing, damaged or of another network.
        BaselineError: an option is out of range, or a file without normalization comes without it.
    """
    check_pooling(pooling)
    if variant not in (None, *VARIANTS):
        raise BaselineError(f"variant is {variant!r}: give s or m")
    path = weights_path(model_file_path, f"delores_{variant or 's'}", module="delores")
    if path.suffix == ".safetensors":
        tensors, settings, _ = read_weights(path, KIND)
        if variant and settings.get("variant") != variant:
            raise WeightsError(f"{path} is DeLoRes-{settings.get('variant')}, not -{variant}")
    else:
        tensors, settings = _encoder_of(read_state_dict(path, "DeLoRes"), path), {}
        if mean is None or std is None:
            raise BaselineError(
                f"{path} does not say how log-mels were normalized: give FILE?mean=M&std=S"
            )
    mean, std = normalization(settings, mean, std)
    network = filled(tensors, path)
    return ByolAModel(network, mean, std, pooling).eval()


def _encoder_of(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return the encoder of a state dict of the authors' code, by the names of `AudioNtt2020`.

    Raises:
        WeightsError: names of none of the layouts, or one that its layout does not have.
    """
    fitting = [
        layout for layout in LAYOUTS if any(k.startswith(f"{layout[1]}features") for k in state)
    ]
    if not fitting:
        known = ", ".join(name for name, _, _ in LAYOUTS)
        raise WeightsError(f"{path} has names of none of {known}, such as {next(iter(state), '-')}")
    name, prefix, dropped = fitting[0]
    encoder = {}
    for key, value in state.items():
        part = key.removeprefix(prefix)
        if key.startswith(dropped):
            continue
        if part == key:
            raise WeightsError(f"{path} holds {key}, which a file of {name} does not have")
        if part.startswith("features_"):  # features_2.1 is the second layer of the second stage
            stage, layer, rest = part.removeprefix("features_").split(".", 2)
            part = f"features.{4 * (int(stage) - 1) + int(layer)}.{rest}"
        encoder[part] = value
    return encoder
