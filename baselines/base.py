"""What the baselines share: their weights files, read strictly, and what they do with a batch.

A weights file is safetensors in half precision; its header says what the file is, what is needed to
feed the network, and where it comes from.
"""

import json
import math
import pickle
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from wavebyol_hear.files.atomic import atomic_write
from wavebyol_hear.files.tensors import to_bytes
from wavebyol_hear.pooling import POOLINGS, VARIANCE_FLOOR

WEIGHTS = Path(__file__).with_name("weights")

Network = TypeVar("Network", bound=nn.Module)


class BaselineError(ValueError):
    """A baseline that cannot be used as asked: one line with the remedy."""


class WeightsError(BaselineError):
    """Weights that are missing or wrong: one line with the file and the remedy."""


def check_pooling(pooling: str) -> None:
    """Raise a BaselineError unless a pooling of scenes is `published` or `contrast`."""
    if pooling not in ("published", "contrast"):
        raise BaselineError(f"pooling is {pooling!r}: give published or contrast")


def normalization(
    settings: Mapping[str, Any], mean: float | None = None, std: float | None = None
) -> tuple[float, float]:
    """Return mean and deviation that a network's inputs had: those given, else those of its file.

    Raises:
        BaselineError: one is no finite number, or the deviation is not above 0.
    """
    numbers: dict[str, Any] = {
        "mean": settings.get("mean") if mean is None else mean,
        "std": settings.get("std") if std is None else std,
    }
    for name, value in numbers.items():
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not number or not math.isfinite(value) or (name == "std" and value <= 0):
            raise BaselineError(f"{name} is {value!r}: give a number" + ", > 0" * (name == "std"))
    return float(numbers["mean"]), float(numbers["std"])


def refuse_weights(method: str, model_file_path: str) -> None:
    """Raise a BaselineError where a weights file is named for a method that has none."""
    if model_file_path:
        raise BaselineError(
            f"{method} has no weights, but {model_file_path} was given; leave it out"
        )


def weights_path(model_file_path: str, method: str, *, module: str = "") -> Path:
    """Return the path of a weights file: the one named, or the shipped one of a method.

    Args:
        model_file_path: the one named, or empty.
        method: whose file ships; also the preset that trains one.
        module: that reads the file; the method's own name where it is empty.

    Raises:
        WeightsError: there is no such file; where none ships the message says how to train it.
    """
    module = module or method
    path = Path(model_file_path) if model_file_path else WEIGHTS / f"{method}.safetensors"
    if path.is_file():
        return path
    if model_file_path:
        raise WeightsError(f"{path} is not a file: give a weights file of {module}")
    raise WeightsError(
        f"no weights in {path}: train them with `python -m pretrain STORE --out runs/{method} "
        f"--preset {method}` and name the file: baselines.{module}:WEIGHTS"
    )


def write_weights(
    path: Path,
    network: nn.Module,
    *,
    kind: str,
    settings: dict[str, Any],
    provenance: dict[str, Any],
) -> None:
    """Write a network's state in half precision; the file appears whole or not at all.

    Args:
        path: of the file.
        network: whose state is kept.
        kind: format and version, such as `wavebyol-hear-cola/1`.
        settings: what is needed besides to build and feed the network.
        provenance: where the weights come from.

    Raises:
        WeightsError: a value is too large for half precision, NaN or infinite.
    """
    tensors = {}
    for name, value in network.state_dict().items():
        stored = value.half() if value.is_floating_point() else value
        if not stored.isfinite().all():
            raise WeightsError(f"{name} holds values that are not finite in half precision")
        tensors[name] = stored.cpu().contiguous()
    header = {"format": kind, "config": json.dumps(settings), "provenance": json.dumps(provenance)}
    with atomic_write(path) as file:
        file.write(to_bytes(tensors, header))


def read_weights(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors (single precision) and the settings of a file.

    Args:
        path: of the file.
        kind: format and version that the file must have.

    Raises:
        WeightsError: a file that is damaged, no safetensors file, or of another kind.
    """
    try:
        with safe_open(path, "pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is damaged or no safetensors file ({error})") from error
    if header.get("format") != kind:
        raise WeightsError(f"{path} is a file of {header.get('format')!r}: give one of {kind!r}")
    try:
        settings = json.loads(header["config"])
    except (KeyError, ValueError, RecursionError) as error:
        raise WeightsError(f"{path} has a damaged header ({type(error).__name__})") from error
    tensors = {k: v.float() if v.is_floating_point() else v for k, v in tensors.items()}
    return tensors, settings


def read_state_dict(path: Path, what: str) -> dict[str, Tensor]:
    """Return the tensors of a file that torch.save wrote, alone or as the entry `state_dict`.

    Args:
        path: of the file.
        what: whose file is wanted, for errors.

    Raises:
        WeightsError: a file that is damaged, or that holds anything but tensors.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # torch's own message advises to load it all the same, which runs whatever is in it.
        raise WeightsError(
            f"{path} is damaged or holds pickled classes, which are not read: give a state dict of "
            f"{what}, plain tensors"
        ) from error
    except (RuntimeError, EOFError, OSError, LookupError, ValueError) as error:
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise WeightsError(f"{path} is damaged or no state dict ({reason})") from error
    if isinstance(state, dict) and isinstance(state.get("state_dict"), dict):
        state = state["state_dict"]
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(f"{path} holds no state dict: give a file of {what} as it is")
    return state


def fill(build: Callable[[], Network], tensors: dict[str, Tensor], path: Path) -> Network:
    """Return a network with exactly these tensors, channels last, in evaluation mode.

    Args:
        build: makes the network; what it draws is overwritten, and no generator moves.
        tensors: of its state dict.
        path: of their file, for errors.

    Raises:
        WeightsError: names the first tensor that is missing, too many, of another shape or type, or
            not finite.
    """
    with torch.device("meta"):
        wanted = build().state_dict()
    for name in sorted(wanted.keys() | tensors.keys()):
        if name not in tensors:
            raise WeightsError(f"{path} lacks {name}: it is truncated or of another network")
        if name not in wanted:
            raise WeightsError(f"{path} holds {name}, which the network does not have")
        value, like = tensors[name], wanted[name]
        if value.shape != like.shape:
            raise WeightsError(f"{path}: {name} is {list(value.shape)}, not {list(like.shape)}")
        if value.dtype != like.dtype or not value.isfinite().all():
            raise WeightsError(f"{path}: {name} is {value.dtype}, not finite {like.dtype}")
    with torch.random.fork_rng(devices=[]):
        network = build()
    network.load_state_dict(tensors)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network.eval()


def spread_windows(length: int, window: int) -> list[int]:
    """Return where windows begin that cover a clip evenly, from its start to its end.

    Example:
        >>> spread_windows(250, 100), spread_windows(80, 100)
        ([0, 75, 150], [0])
    """
    room = max(0, length - window)
    gaps = math.ceil(room / window)
    return [round(i * room / max(1, gaps)) for i in range(gaps + 1)]


def pool_stages(stages: Iterable[Tensor]) -> Tensor:
    """Return maximum and deviation over time of every stage, compressed, as `contrast` of ours.

    Shape:
        stages [B, C, rows, T] each -> [B, D], D twice the sum of C x rows.
    """
    parts = []
    for maps in stages:
        rows = maps.flatten(1, 2).float()
        parts += [rows.amax(-1), (rows.var(-1, correction=0) + VARIANCE_FLOOR).sqrt()]
    return POOLINGS["contrast"].compressed(torch.cat(parts, 1))


def prepare(audio: Tensor, model: nn.Module) -> Tensor:
    """Return a batch of clips [B, n] in single precision on the model's device.

    Raises:
        ValueError: a tensor that is no batch of clips, or clips without a sample.
    """
    if audio.ndim != 2 or not audio.shape[1]:
        raise ValueError(f"audio is {list(audio.shape)}: give clips as [B, n], n at least 1")
    return audio.to(torch.float32).to(next(model.parameters()).device)
