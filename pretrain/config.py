"""The configuration of a run: frozen dataclasses, YAML files that hold only differences, `--set`.

The defaults of the classes are the preset `default`; a preset or a file of the user names only
what differs from them. A key that does not exist is an error that names its nearest neighbour.
"""

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from pretrain.augment import AugmentConfig
from wavebyol_hear.encoder import PRESETS, EncoderConfig

Record = TypeVar("Record")


class ConfigError(ValueError):
    """A configuration that cannot be: one line with the key and the remedy."""


def _at_least(record: object, **bounds: float) -> None:
    """Raise ValueError where a setting is below its bound or no number."""
    for name, least in bounds.items():
        value = getattr(record, name)
        if not value >= least:
            raise ValueError(f"{name} is {value}: give {least:g} or more")


@dataclass(frozen=True)
class ViewsConfig:
    """How two views come from a clip.

    Args:
        two_crops: each view has its own crop of the clip; else both share one (the authors').
        speed: range of each sample's playback factor, done in the gather of the crop.
        augment: the Augmentation Layer.
    """

    two_crops: bool = False
    speed: tuple[float, float] = (1.0, 1.0)
    augment: AugmentConfig = field(default_factory=AugmentConfig)


@dataclass(frozen=True)
class ByolConfig:
    """Heads, loss and target.

    Args:
        loss: `byol` (2 - 2 cos to the target), `infonce` (over the batch, no target) or
            `infonce_target` (over the batch, against the momentum target, as MoCo v3).
        projector: hidden and output width (the authors': 4096, 4096).
        predictor: hidden width; unused by `infonce`.
        temperature: of InfoNCE.
        tau: share of the target kept at an update, at the first step.
        tau_final: the same at the last step; a cosine between them.
        tau_every: `step`, or `epoch` as the authors coded it.
        mix_views: whether the two views share BatchNorm statistics.
    """

    loss: Literal["byol", "infonce", "infonce_target"] = "byol"
    projector: tuple[int, int] = (4096, 4096)
    predictor: int = 4096
    temperature: float = 0.1
    tau: float = 0.99
    tau_final: float = 1.0
    tau_every: Literal["step", "epoch"] = "step"
    mix_views: bool = False


@dataclass(frozen=True)
class OptimConfig:
    """Optimiser and schedule; every length is in steps of the global batch.

    Args:
        name: `adamw` or `adamp`.
        lr: learning rate after the warm-up.
        front_end_scale: factor on `lr` for the front end's own parameters.
        schedule: `constant`, `cosine`, or `wsd` (warm up, stable, linear decay to zero).
        decay: share of the steps that `wsd` spends on its decay.
        batch: clips a step, over all processes.
        clip_norm: largest gradient norm; 0 for none.
    """

    name: Literal["adamw", "adamp"] = "adamp"
    lr: float = 5e-5
    front_end_scale: float = 1.0
    weight_decay: float = 1.5e-6
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-3
    batch: int = 64
    steps: int = 100_000
    warmup: int = 1000
    schedule: Literal["constant", "cosine", "wsd"] = "cosine"
    decay: float = 0.2
    clip_norm: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        _at_least(self, lr=0, weight_decay=0, batch=2, steps=0, warmup=0, decay=0, clip_norm=0)


@dataclass(frozen=True)
class RunConfig:
    """How the machine is used and what is written down.

    Args:
        precision: `fp32` or `bf16` (autocast).
        compile: whether torch.compile is applied to the networks.
        log_every: steps between two lines of the log.
        save_minutes: minutes between two training states.
        probe: folder of `class/clip` audio that a kNN is tried on, or empty.
        probe_every: steps between two tries.
    """

    precision: Literal["fp32", "bf16"] = "bf16"
    compile: bool = False
    log_every: int = 20
    save_minutes: float = 5.0
    probe: str = ""
    probe_every: int = 1000

    def __post_init__(self) -> None:
        """Check the ranges."""
        _at_least(self, log_every=1, save_minutes=0, probe_every=1)


@dataclass(frozen=True)
class Config:
    """A whole run; `encoder` is a preset's name or a mapping with `preset` and differences."""

    method: Literal["byol", "byol_a", "cola"] = "byol"
    seed: int = 0
    encoder: EncoderConfig = PRESETS["h2"]
    views: ViewsConfig = field(default_factory=ViewsConfig)
    byol: ByolConfig = field(default_factory=ByolConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON and checkpoints."""
        return {**dataclasses.asdict(self), "encoder": self.encoder.to_dict()}


def read_config(preset: str, path: str | None = None, sets: Iterable[str] = ()) -> Config:
    """Return the preset, changed by a YAML file, changed by `a.b=value` assignments.

    Raises:
        ConfigError: an unknown preset, file, key or a value of the wrong type or range.
    """
    folder = resources.files("pretrain") / "configs"
    names = sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir())
    if preset not in names:
        raise ConfigError(f"preset {preset!r} is unknown: it is one of {', '.join(names)}")
    config = merge(Config(), _parse((folder / f"{preset}.yaml").read_text(), preset))
    if path is not None:
        if not Path(path).is_file():
            raise ConfigError(f"{path} is no file: give a YAML file of differences")
        config = merge(config, _parse(Path(path).read_bytes(), path))
    for assignment in sets:
        key, equals, text = assignment.partition("=")
        if not equals:
            raise ConfigError(f"--set {assignment} has no '=': write --set optim.lr=1e-3")
        value = _yaml(text, f"--set {assignment}")
        for part in reversed(key.split(".")):
            value = {part: value}
        config = merge(config, value)
    return config


def merge(record: Record, values: Mapping[str, Any], where: str = "") -> Record:
    """Return the dataclass with the values of a nested mapping put in.

    Raises:
        ConfigError: a key that the dataclass lacks, or a value of another type.
    """
    kinds = typing.get_type_hints(type(record))
    changes = {}
    for key, value in values.items():
        if key not in kinds:
            near = difflib.get_close_matches(str(key), kinds, 1, 0) or ["nothing"]
            raise ConfigError(f"{where}{key} is no setting: the nearest is {where}{near[0]}")
        changes[key] = _convert(getattr(record, key), kinds[key], value, f"{where}{key}")
    try:
        return dataclasses.replace(record, **changes)  # type: ignore[type-var]
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{where.rstrip('.') or 'config'}: {error}") from error


def _convert(old: Any, kind: Any, value: Any, key: str) -> Any:  # noqa: ANN401
    """Return the value as its field's type, or raise a ConfigError that names the key."""
    if kind is EncoderConfig:
        if not isinstance(value, str | Mapping):
            raise ConfigError(f"{key} is {value!r}: it takes a preset's name or a mapping")
        changes = {"preset": value} if isinstance(value, str) else dict(value)
        preset = changes.pop("preset", None)
        if preset is not None and preset not in PRESETS:
            raise ConfigError(f"{key}: no preset {preset!r}; it is one of {', '.join(PRESETS)}")
        return merge(PRESETS[preset] if preset else old, changes, f"{key}.")
    if dataclasses.is_dataclass(old):
        if not isinstance(value, Mapping):
            raise ConfigError(f"{key} is {value!r}: it takes a mapping of settings")
        return merge(old, value, f"{key}.")
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        if value not in arguments:
            raise ConfigError(f"{key} is {value!r}: it is one of {', '.join(map(str, arguments))}")
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in arguments:
            return None
        kind = next(a for a in arguments if a is not type(None))
        return _convert(old, kind, value, key)
    try:
        if origin is tuple:
            return tuple(_convert(None, arguments[0], item, key) for item in value)
        if kind is float and isinstance(value, (int, float, str)):
            return float(value)  # YAML reads 1e-3 as a string
    except (TypeError, ValueError):
        pass
    else:
        if isinstance(value, kind) and isinstance(value, bool) == (kind is bool):
            return value
    raise ConfigError(f"{key} is {value!r}: it takes {getattr(kind, '__name__', kind)}")


def _parse(text: str | bytes, name: str) -> dict[str, Any]:
    """Return the mapping of a YAML text; an empty text is an empty mapping."""
    values = _yaml(text, name)
    if not isinstance(values, dict | None):
        raise ConfigError(f"{name} holds no mapping of settings")
    return values or {}


def _yaml(text: str | bytes, name: str) -> Any:  # noqa: ANN401
    """Return the value of a YAML text."""
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{name} is no YAML: {str(error).splitlines()[0]}") from error
