"""The configuration of a run: frozen dataclasses, YAML files that hold only differences, `--set`.

The defaults of the classes are the preset `default`; a preset or a file of the user names only
what differs from them. A key that does not exist is an error that names its nearest neighbour.
"""

import dataclasses
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml

from pretrain.augment.layer import AugmentConfig
from pretrain.merge import ConfigError, merge
from wavebyol_hear.encoder import PRESETS, EncoderConfig


def _within(record: object, most: float = math.inf, **bounds: float) -> None:
    """Raise ValueError where a setting is below its bound, above the most, or no number."""
    for name, least in bounds.items():
        value = getattr(record, name)
        if not least <= value <= most:
            reach = "or more" if math.isinf(most) else f"to {most:g}"
            raise ValueError(f"{name} is {value}: give {least:g} {reach}")


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

    def __post_init__(self) -> None:
        """Check the ranges."""
        _within(self, 1, tau=0, tau_final=0)


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
        _within(self, lr=0, weight_decay=0, batch=2, steps=0, warmup=0, clip_norm=0)
        _within(self, 1, decay=0)


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
        _within(self, log_every=1, save_minutes=0, probe_every=1)


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
