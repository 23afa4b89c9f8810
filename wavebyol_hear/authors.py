"""Weights in the form of the authors (waverDeep/WaveBYOL, `torch.save`).

Their file names no architecture: the preset is found by its shapes.
"""

import pickle
from pathlib import Path
from typing import Any

import torch

from wavebyol_hear.encoder import PRESETS, Encoder
from wavebyol_hear.fill import WeightsError, differences, fill, some
from wavebyol_hear.front_end import ConvFrontEndConfig

AUTHORS_ENCODER = "online_encoder_network."
# Theirs -> ours, below `online_encoder_network.`.
AUTHORS_NAMES = {
    "feature_extractor_step.encoder_layer_": "front_end.layers.",
    "feature_encoding_step.feature_extractor_layer.": "features.",
}
# What else a full training state of theirs holds; an encoder needs none of it.
AUTHORS_OTHER = (
    "online_projector_network.",
    "online_predictor_network.",
    "target_encoder_network.",
    "target_projector_network.",
)


def load_authors(path: Path, preset: str | None) -> tuple[Encoder, dict[str, Any]]:
    """Read an authors' checkpoint {model_state_dict, optimizer_state_dict, epoch, loss}."""
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"weights {path} are damaged or not plain tensors: {reason}") from error
    if not isinstance(saved, dict) or not isinstance(saved.get("model_state_dict"), dict):
        raise WeightsError(f"weights {path} lack 'model_state_dict': not a WaveBYOL checkpoint")
    tensors, unknown = {}, []
    for name, value in saved["model_state_dict"].items():
        ours = _our_name(name)
        if ours is not None:
            tensors[ours] = value
        elif not name.startswith(AUTHORS_OTHER):
            unknown.append(name)
    if unknown:
        raise WeightsError(f"weights {path} have unknown keys: {some(unknown)}")
    if not tensors:
        raise WeightsError(f"weights {path} lack the encoder: no key begins {AUTHORS_ENCODER!r}")
    names = [preset] if preset else _authors_presets()
    nearest = min(names, key=lambda name: len(differences(PRESETS[name], tensors)))
    provenance = {
        "source": "a checkpoint in the format of waverDeep/WaveBYOL",
        "preset": nearest,
        "epoch": saved.get("epoch"),
    }
    return fill(PRESETS[nearest], tensors, path), provenance


def _our_name(name: str) -> str | None:
    """Return our name of an encoder tensor of the authors, None for any other."""
    for theirs, ours in AUTHORS_NAMES.items():
        if name.startswith(AUTHORS_ENCODER + theirs):
            return ours + name.removeprefix(AUTHORS_ENCODER + theirs)
    return None


def _authors_presets() -> list[str]:
    """Return the presets with the authors' front end."""
    return [n for n, config in PRESETS.items() if config.front_end == ConvFrontEndConfig()]
