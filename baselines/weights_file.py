"""Weights files of the baselines: safetensors in half precision, with a header, read strictly."""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from wavebyol_hear.files.atomic import atomic_write
from wavebyol_hear.files.tensors import to_bytes

WEIGHTS = Path(__file__).parent / "weights"


class WeightsError(ValueError):
    """Weights that are missing or wrong: one line with the file and the remedy."""


def default_weights(method: str) -> Path:
    """Return the shipped weights of a baseline.

    Raises:
        WeightsError: none are shipped; the message says how to train them.
    """
    path = WEIGHTS / f"{method}.safetensors"
    if not path.is_file():
        raise WeightsError(
            f"no weights in {path}: train them with `python -m pretrain STORE --out runs/{method} "
            f"--preset {method}` and name the file: baselines.{method}:WEIGHTS"
        )
    return path


def write_weights(
    path: Path,
    network: nn.Module,
    *,
    kind: str,
    settings: dict[str, Any],
    provenance: dict[str, Any],
) -> None:
    """Write a network's state in half precision, beside its place, and rename it.

    Args:
        path: of the file.
        network: whose state is kept.
        kind: format and version, such as `wavebyol-hear-cola/1`.
        settings: what is needed besides to build and feed the network.
        provenance: where the weights come from.

    Raises:
        WeightsError: a value too large for half precision, or not finite.
    """
    tensors = {}
    for name, value in network.state_dict().items():
        stored = value.half() if value.is_floating_point() else value
        if not stored.isfinite().all():
            raise WeightsError(f"{name} holds values that are no finite half-precision numbers")
        tensors[name] = stored.cpu().contiguous()
    header = {"format": kind, "config": json.dumps(settings), "provenance": json.dumps(provenance)}
    with atomic_write(path) as file:
        file.write(to_bytes(tensors, header))


def read_weights(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any], dict[str, Any]]:
    """Return the tensors (single precision), the settings and the provenance of a file.

    Raises:
        WeightsError: no such file, no safetensors file, or one of another kind.
    """
    if not path.is_file():
        raise WeightsError(f"{path} is no file: give a file of {kind}")
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise WeightsError(f"{path} is damaged or no safetensors file ({error})") from error
    if header.get("format") != kind:
        raise WeightsError(f"{path} is a file of {header.get('format')!r}: give one of {kind!r}")
    tensors = {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}
    return tensors, json.loads(header["config"]), json.loads(header["provenance"])


def fill(network: nn.Module, tensors: dict[str, Tensor], path: Path) -> None:
    """Put tensors into a network whose state they must be, name by name and shape by shape.

    Raises:
        WeightsError: names the first tensor that is missing, too many or of another shape.
    """
    wanted = network.state_dict()
    for name in sorted(wanted.keys() | tensors.keys()):
        if name not in tensors:
            raise WeightsError(f"{path} lacks {name}: it is truncated or of another network")
        if name not in wanted:
            raise WeightsError(f"{path} holds {name}, which the network has not")
        if tensors[name].shape != wanted[name].shape:
            raise WeightsError(
                f"{path}: {name} is {list(tensors[name].shape)}, not {list(wanted[name].shape)}"
            )
    network.load_state_dict(tensors)
