"""Encoder weights on disk: our safetensors files and the authors' `.pt` files, both read strictly.

Our file holds the state dict of an `Encoder` and, where they were fitted, the whitenings of its
embeddings; its header holds `format`, `config` and `provenance` as JSON, so that a file says by
itself what it is and where it comes from.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from wavebyol_hear.authors import load_authors
from wavebyol_hear.encoder import PRESETS, Encoder, EncoderConfig
from wavebyol_hear.files.atomic import atomic_write
from wavebyol_hear.fill import WeightsError, check_finite, fill
from wavebyol_hear.whitening import Whitening, from_tensors, is_whitening, to_tensors

__all__ = ["Weights", "WeightsError", "load_encoder", "load_weights", "save_encoder"]

FORMAT = "wavebyol-hear/1"
ZIP_MAGIC = b"PK\x03\x04"


class Weights(NamedTuple):
    """What a weights file holds.

    Attributes:
        encoder: in float32, in evaluation mode.
        provenance: how the weights were made.
        whitenings: of the encoder's embeddings, by the names of `Embedder`.
    """

    encoder: Encoder
    provenance: dict[str, Any]
    whitenings: dict[str, Whitening]


def save_encoder(
    path: str | Path,
    encoder: Encoder,
    provenance: dict[str, Any],
    dtype: torch.dtype = torch.float32,
    whitenings: Mapping[str, Whitening] | None = None,
) -> None:
    """Write an encoder's weights; the file appears whole or not at all.

    Args:
        path: where to write; replaced if it exists.
        encoder: the network; its config goes into the header.
        provenance: whatever JSON can hold: how the weights were made.
        dtype: of convolution weights in the file. Vectors (biases, BatchNorm statistics, centre
            frequencies) stay float32: they are few, and variances near 1e-5 do not fit float16.
        whitenings: of the encoder's embeddings, by the names of `Embedder`.
    """
    tensors = {
        name: (value.to(dtype) if value.is_floating_point() and value.dim() > 1 else value)
        .detach()
        .cpu()
        .contiguous()
        for name, value in {**encoder.state_dict(), **to_tensors(whitenings or {})}.items()
    }
    header = {
        "format": FORMAT,
        "config": json.dumps(encoder.config.to_dict()),
        "provenance": json.dumps(provenance),
    }
    with atomic_write(path) as file:
        file.write(save(tensors, metadata=header))


def load_encoder(path: str | Path, preset: str | None = None) -> tuple[Encoder, dict[str, Any]]:
    """Read an encoder in float32, in evaluation mode, and its provenance.

    Args:
        path: a file of `save_encoder` or an authors' `.pt` file, told apart by content.
        preset: for an authors' file, the name in `PRESETS` it must have the shapes of; without it
            the preset is the one whose shapes the file has.

    Raises:
        WeightsError: the file is absent, damaged, of another kind, or not exactly the weights of
            the network that it names.
    """
    encoder, provenance, _ = _load(Path(path), preset)
    return encoder, provenance


def load_weights(path: str | Path, preset: str | None = None) -> Weights:
    """Read all that a weights file holds, in one go; an authors' file holds no whitenings.

    Args:
        path: as of `load_encoder`.
        preset: as of `load_encoder`.

    Raises:
        WeightsError: as of `load_encoder`, or a whitening is not whole.
    """
    path = Path(path)
    encoder, provenance, rest = _load(path, preset)
    check_finite(rest, path)
    try:
        return Weights(encoder, provenance, from_tensors(rest))
    except ValueError as error:
        raise WeightsError(f"weights {path}: {error}") from error


def _load(path: Path, preset: str | None) -> tuple[Encoder, dict[str, Any], dict[str, Tensor]]:
    """Return the encoder, the provenance and the whitenings' tensors in a file of either kind."""
    try:
        with path.open("rb") as file:
            magic = file.read(len(ZIP_MAGIC))
    except OSError as error:
        raise WeightsError(f"weights {path} cannot be read: {error.strerror}") from error
    if magic == ZIP_MAGIC:
        return *load_authors(path, preset), {}
    tensors, config, provenance = _read_ours(path)
    rest = {name: tensors.pop(name) for name in list(tensors) if is_whitening(name)}
    encoder = fill(config, tensors, path)
    if preset is not None and encoder.config != PRESETS[preset]:
        raise WeightsError(f"weights {path} are not of preset {preset!r}: leave the preset out")
    return encoder, provenance, rest


def _read_ours(path: Path) -> tuple[dict[str, Tensor], EncoderConfig, dict[str, Any]]:
    """Return the tensors, the config and the provenance in a file of `save_encoder`."""
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise WeightsError(
            f"weights {path} are damaged or neither safetensors nor a .pt archive: {error}"
        ) from error
    if header.get("format") != FORMAT:
        raise WeightsError(
            f"weights {path} have the format {header.get('format')!r}: expected {FORMAT!r}"
        )
    absent = {"config", "provenance"} - header.keys()
    if absent:
        raise WeightsError(f"weights {path} lack {', '.join(sorted(absent))} in their header")
    try:
        config = EncoderConfig.from_dict(json.loads(header["config"]))
        provenance = json.loads(header["provenance"])
    except (ValueError, TypeError, KeyError) as error:
        raise WeightsError(f"weights {path} have a header this version cannot read: {error}") from (
            error
        )
    return tensors, config, provenance
