"""Encoder weights on disk: our safetensors files and the authors' `.pt` files, both read strictly.

Our file contains the state dict of an `Encoder` and, if they were fitted, the whitenings and the
principal components of its embeddings. Its header contains `format`, `config` and `provenance` as
JSON and a checksum of the tensors, so that a file describes itself. The authors' file
(waverDeep/WaveBYOL, `torch.save`) names no architecture: its preset is the one with its shapes.
"""

import hashlib
import json
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from wavebyol_hear import whitening
from wavebyol_hear.components import Components, from_tensors, is_components, to_tensors
from wavebyol_hear.encoder import PRESETS, Encoder, EncoderConfig
from wavebyol_hear.files.atomic import HASH_BYTES, atomic_write
from wavebyol_hear.files.tensors import to_bytes
from wavebyol_hear.front_end import ConvFrontEndConfig
from wavebyol_hear.head import PREFIX as HEAD
from wavebyol_hear.head import Head
from wavebyol_hear.head import from_tensors as read_head
from wavebyol_hear.whitening import Whitening, is_whitening

FORMAT = "wavebyol-hear/1"
ZIP_MAGIC = b"PK\x03\x04"
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


class WeightsError(ValueError):
    """A weights file that cannot be used; the message is one line and names what is wrong."""


class Weights(NamedTuple):
    """What a weights file holds.

    Attributes:
        encoder: in float32, in evaluation mode.
        provenance: how the weights were made.
        whitenings: of the encoder's embeddings, by the names of `Embedder`.
        components: principal components of the whitened embeddings, by the same names.
    """

    encoder: Encoder
    provenance: dict[str, Any]
    whitenings: dict[str, Whitening]
    components: dict[str, Components]
    head: Head | None = None


def is_ours(path: Path) -> bool:
    """Return whether a file holds weights in this project's format."""
    try:
        with safe_open(path, "pt") as file:
            return (file.metadata() or {}).get("format") == FORMAT
    except (SafetensorError, OSError):
        return False


def save_encoder(
    path: str | Path,
    encoder: Encoder,
    provenance: dict[str, Any],
    dtype: torch.dtype = torch.float32,
    whitenings: Mapping[str, Whitening] | None = None,
    components: Mapping[str, Components] | None = None,
    head: Head | None = None,
) -> None:
    """Write an encoder's weights; the file appears whole or not at all.

    Args:
        path: where to write; replaced if it exists.
        encoder: the network; its config goes into the header.
        provenance: whatever JSON can hold: how the weights were made.
        dtype: of convolution weights in the file. Vectors (biases, BatchNorm statistics, centre
            frequencies) stay float32: they are few, and variances near 1e-5 do not fit float16.
        whitenings: of the encoder's embeddings, by the names of `Embedder`; by default those of
            the model that the encoder is part of, if any.
        components: of the whitened embeddings, likewise; with other whitenings by default none.
        head: of a classifier on the embeddings; stays in single precision.

    Raises:
        OSError: the file cannot be written.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "weights.safetensors"
        >>> save_encoder(path, Encoder(PRESETS["slim"]), {"seed": 0}, dtype=torch.float16)
        >>> load_encoder(path)[1]
        {'seed': 0}
    """
    if components is None:
        components = encoder.components if whitenings is None else {}
    whitenings = encoder.whitenings if whitenings is None else whitenings
    fitted = {**whitening.to_tensors(whitenings), **to_tensors(components)}
    tensors = {
        name: (value.to(dtype) if value.is_floating_point() and value.dim() > 1 else value)
        .detach()
        .cpu()
        .contiguous()
        for name, value in {**encoder.state_dict(), **fitted}.items()
    }
    header = {
        "format": FORMAT,
        "config": json.dumps(encoder.config.to_dict()),
        "provenance": json.dumps(provenance),
    }
    if head is not None:
        values = {f"{HEAD}{name}": value for name, value in head.state_dict().items()}
        tensors |= {name: value.cpu().contiguous() for name, value in values.items()}
        header["head"] = head.header(encoder)
    header["checksum"] = _checksum(tensors)
    with atomic_write(path) as file:
        file.write(to_bytes(tensors, header))


def _checksum(tensors: Mapping[str, Tensor]) -> str:
    """Return a hash of the values of tensors, which damage to a file changes."""
    digest = hashlib.blake2b(digest_size=HASH_BYTES)
    for name, value in sorted(tensors.items()):
        digest.update(name.encode())
        digest.update(value.numpy().tobytes())
    return digest.hexdigest()


def lossless_dtype(encoder: Encoder) -> torch.dtype:
    """Return half precision where what a file may hold in it loses no bit, else single."""
    modules = nn.ModuleList([encoder, *encoder.whitenings.values()])
    matrices = (value for value in modules.state_dict().values() if value.dim() > 1)
    whole = all(torch.equal(value.half().float(), value.float()) for value in matrices)
    return torch.float16 if whole else torch.float32


def load_encoder(path: str | Path, preset: str | None = None) -> tuple[Encoder, dict[str, Any]]:
    """Read an encoder in float32, in evaluation mode, and its provenance.

    Args:
        path: a file of `save_encoder` or an authors' `.pt` file, recognized by content.
        preset: for an authors' file, the name in `PRESETS` it must have the shapes of; without it
            the preset is the one whose shapes the file has.

    Raises:
        WeightsError: the file is absent, damaged, of another kind, or not exactly the weights of
            the network that it names.
    """
    weights = load_weights(path, preset)
    return weights.encoder, weights.provenance


def load_weights(path: str | Path, preset: str | None = None) -> Weights:
    """Read all that a weights file holds; an authors' file holds the encoder alone.

    Args:
        path: as of `load_encoder`.
        preset: as of `load_encoder`.

    Raises:
        WeightsError: as of `load_encoder`, or a whitening, components or a head are incomplete, or
            the head is of another encoder.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            magic = file.read(len(ZIP_MAGIC))
    except OSError as error:
        raise WeightsError(f"weights {path} cannot be read: {error.strerror}") from error
    if magic == ZIP_MAGIC:
        return _load_authors(path, preset)
    tensors, config, provenance, head_header = _read_ours(path)
    of_head = {name: tensors.pop(name) for name in list(tensors) if name.startswith(HEAD)}
    rest = {name: tensors.pop(name) for name in list(tensors) if is_whitening(name)}
    directions = {name: tensors.pop(name) for name in list(tensors) if is_components(name)}
    encoder = _fill(config, tensors, path)
    if preset is not None and encoder.config != PRESETS[preset]:
        raise WeightsError(f"weights {path} are not of preset {preset!r}: leave the preset out")
    _check_values({**rest, **of_head}, path)
    try:
        whitenings, components = whitening.from_tensors(rest), from_tensors(directions)
        head = read_head(of_head, head_header, encoder) if of_head or head_header else None
    except ValueError as error:
        raise WeightsError(f"weights {path}: {error}") from error
    encoder.provenance = provenance
    return Weights(encoder, provenance, whitenings, components, head)


def _read_ours(
    path: Path,
) -> tuple[dict[str, Tensor], EncoderConfig, dict[str, Any], str | None]:
    """Return tensors, config, provenance and the head's header in a file of `save_encoder`."""
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
    if "checksum" in header and header["checksum"] != _checksum(tensors):
        raise WeightsError(f"weights {path} are damaged (wrong checksum): get the file again")
    absent = {"config", "provenance"} - header.keys()
    if absent:
        raise WeightsError(f"weights {path} lack {', '.join(sorted(absent))} in their header")
    try:
        config = EncoderConfig.from_dict(json.loads(header["config"]))
        provenance = json.loads(header["provenance"])
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"weights {path} have an unusable header: {reason}") from error
    return tensors, config, provenance, header.get("head")


def _load_authors(path: Path, preset: str | None) -> Weights:
    """Read an authors' checkpoint {model_state_dict, optimizer_state_dict, epoch, loss}."""
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's own message advises to load it all the same, which runs whatever is in it.
        raise WeightsError(
            f"weights {path} hold more than plain tensors: save the state dict alone"
        ) from error
    except (RuntimeError, OSError, EOFError, LookupError, ValueError) as error:
        reason = " ".join(str(error).splitlines()[:1])
        raise WeightsError(f"weights {path} are damaged: {reason}") from error
    if not isinstance(saved, dict) or not isinstance(saved.get("model_state_dict"), dict):
        raise WeightsError(f"weights {path} lack 'model_state_dict': not a WaveBYOL checkpoint")
    tensors, unknown = {}, []
    for name, value in saved["model_state_dict"].items():
        ours = _our_name(str(name))
        if ours is not None and isinstance(value, Tensor):
            tensors[ours] = value
        elif not str(name).startswith(AUTHORS_OTHER):
            unknown.append(str(name))
    if unknown:
        raise WeightsError(f"weights {path} have unknown keys: {_some(unknown)}")
    if not tensors:
        raise WeightsError(f"weights {path} lack the encoder: no key begins {AUTHORS_ENCODER!r}")
    authors = [n for n, config in PRESETS.items() if config.front_end == ConvFrontEndConfig()]
    names = [preset] if preset else authors
    nearest = min(names, key=lambda name: len(_differences(PRESETS[name], tensors)))
    provenance = {
        "source": "a checkpoint in the format of waverDeep/WaveBYOL",
        "preset": nearest,
        "epoch": saved.get("epoch"),
    }
    encoder = _fill(PRESETS[nearest], tensors, path)
    encoder.provenance = provenance
    return Weights(encoder, provenance, {}, {})


def _our_name(name: str) -> str | None:
    """Return our name of an encoder tensor of the authors, None for any other."""
    for theirs, ours in AUTHORS_NAMES.items():
        if name.startswith(AUTHORS_ENCODER + theirs):
            return ours + name.removeprefix(AUTHORS_ENCODER + theirs)
    return None


def _differences(config: EncoderConfig, tensors: dict[str, Tensor]) -> list[str]:
    """Return, in words, how tensors differ from what a config asks for."""
    with torch.device("meta"):
        wanted = {name: value.shape for name, value in Encoder(config).state_dict().items()}
    return [
        *(f"missing {name}" for name in wanted if name not in tensors),
        *(f"unknown {name}" for name in tensors if name not in wanted),
        *(
            f"{name} is {list(tensors[name].shape)} instead of {list(shape)}"
            for name, shape in wanted.items()
            if name in tensors and tensors[name].shape != shape
        ),
    ]


def _fill(config: EncoderConfig, tensors: dict[str, Tensor], path: Path) -> Encoder:
    """Return the encoder of a config with exactly these tensors."""
    try:
        differences = _differences(config, tensors)
    except ValueError as error:
        raise WeightsError(f"weights {path} ask for an impossible network: {error}") from error
    if differences:
        raise WeightsError(f"weights {path} do not fit {config.widths!r}: {_some(differences)}")
    _check_values(tensors, path)
    with torch.random.fork_rng(devices=[]):  # the first weights are drawn, then overwritten
        encoder = Encoder(config)
    encoder.load_state_dict(tensors)
    return encoder.eval()


def _check_values(tensors: dict[str, Tensor], path: Path) -> None:
    """Raise a WeightsError that names the tensors whose type or values weights cannot have."""
    kinds = [
        f"{name} ({value.dtype})"
        for name, value in tensors.items()
        # A BatchNorm counts its batches in whole numbers.
        if not value.is_floating_point() and not name.endswith(".num_batches_tracked")
    ]
    if kinds:
        raise WeightsError(f"weights {path} are not floating-point in {_some(kinds)}")
    infinite = [name for name, value in tensors.items() if not value.isfinite().all()]
    if infinite:
        raise WeightsError(f"weights {path} have NaN or infinite values in {_some(infinite)}")


def _some(names: list[str], most: int = 3) -> str:
    """Return the first few names and how many more there are."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
