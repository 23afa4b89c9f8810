"""What fine-tuning may be told: one frozen dataclass, and a YAML file that holds only differences.

A key that does not exist is an error that names its nearest neighbour.
"""

import dataclasses
import difflib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml


class FinetuneConfigError(ValueError):
    """A configuration that cannot be: one line with the key and the remedy."""


@dataclass(frozen=True)
class FinetuneConfig:
    """How encoder and head are trained.

    Args:
        learning_rates: of the encoder, tried one after another; validation chooses.
        head_learning_rate: of the head.
        head: where the training of the head begins. A `probe` that fits its few training clips
            leaves the encoder no error to learn from; `zero` does, and bends it least.
        epochs: passes over the training clips at most; 0 scores the initial state.
        batch_size: clips of a step; the batches of an epoch differ by one clip at most.
        crop_seconds: length of a training clip: a random part of a longer one, a shorter one
            repeated. None takes the task's usual length, or 4 s where lengths vary.
        weight_decay: of AdamW, on matrices and filters only.
        warm_up: share of all steps in which the rates rise from 0; a cosine to 0 follows.
        patience: epochs without a better validation score after which a rate is given up.
        batch_norm: `frozen` keeps the encoder's running statistics, so that training and test
            compute one function and a small batch does no harm; `train` normalises by the batch
            and moves them.
        gain_db: every training clip is scaled by up to so many dB either way.
        noise_snr_db: least signal-to-noise ratio of added white noise, of up to 30 dB more; None
            adds none.
        mixup: parameter of the beta distribution of a mixture's shares (Zhang et al., arXiv
            1710.09412), of waveforms and labels; 0 mixes nothing.

    Raises:
        FinetuneConfigError: a value is out of its range.
    """

    learning_rates: tuple[float, ...] = (1e-4, 1e-3)
    head_learning_rate: float = 1e-3
    head: Literal["probe", "zero"] = "zero"
    epochs: int = 30
    batch_size: int = 32
    crop_seconds: float | None = None
    weight_decay: float = 0.01
    warm_up: float = 0.1
    patience: int = 8
    batch_norm: Literal["frozen", "train"] = "frozen"
    gain_db: float = 6.0
    noise_snr_db: float | None = 20.0
    mixup: float = 0.2

    def __post_init__(self) -> None:
        """Check the ranges."""
        fine = {
            "learning_rates": bool(self.learning_rates) and min(self.learning_rates) > 0,
            "head_learning_rate": self.head_learning_rate > 0,
            "epochs": self.epochs >= 0,
            "batch_size": self.batch_size >= 1,
            "crop_seconds": self.crop_seconds is None or self.crop_seconds > 0,
            "weight_decay": self.weight_decay >= 0,
            "warm_up": 0 <= self.warm_up <= 1,
            "patience": self.patience >= 1,
            "batch_norm": self.batch_norm in ("frozen", "train"),
            "head": self.head in ("probe", "zero"),
            "gain_db": self.gain_db >= 0,
            "mixup": self.mixup >= 0,
        }
        ranges = {
            "warm_up": "from 0 to 1",
            "batch_norm": "frozen or train",
            "head": "probe or zero",
        }
        counts = dict.fromkeys(("epochs", "gain_db", "mixup", "weight_decay"), "0 or more")
        counts |= {"batch_size": "1 or more", "patience": "1 or more"}
        for key, right in fine.items():
            if not right:
                wanted = (ranges | counts).get(key, "above 0")
                raise FinetuneConfigError(f"{key} is {getattr(self, key)}: it must be {wanted}")

    def samples(self, sample_rate: int, usual_seconds: float | None) -> int:
        """Return the length of a training clip.

        Args:
            sample_rate: of the model, in Hz.
            usual_seconds: of the task's clips; None where they vary.
        """
        return max(1, round((self.crop_seconds or usual_seconds or 4.0) * sample_rate))


def read_finetune_config(path: Path | None) -> FinetuneConfig:
    """Return the defaults, changed by what a YAML file names.

    Raises:
        FinetuneConfigError: no such file, no mapping, an unknown key, or a value of another type
            or out of its range.
    """
    if path is None:
        return FinetuneConfig()
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FinetuneConfigError(
            f"{path}: cannot be read ({error.strerror}); give a YAML file of differences"
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise FinetuneConfigError(f"{path}: is no YAML ({reason})") from error
    try:
        return from_values({} if values is None else values)
    except FinetuneConfigError as error:
        raise FinetuneConfigError(f"{path}: {error}") from error


def from_values(values: object) -> FinetuneConfig:
    """Return the defaults, changed by a mapping.

    Raises:
        FinetuneConfigError: see `read_finetune_config`.
    """
    if not isinstance(values, Mapping):
        raise FinetuneConfigError(f"{values!r} is no mapping of settings to values")
    kinds = {field.name: str(field.type) for field in dataclasses.fields(FinetuneConfig)}
    changes = {}
    for key, value in values.items():
        if key not in kinds:
            near = difflib.get_close_matches(str(key), kinds, 1, 0) or [next(iter(kinds))]
            raise FinetuneConfigError(f"{key} is no setting: the nearest is {near[0]}")
        changes[key] = _convert(key, getattr(FinetuneConfig, key), value)
    return FinetuneConfig(**changes)


def _convert(key: str, default: object, value: object) -> Any:  # noqa: ANN401
    """Return a value of YAML as its setting wants it."""
    if key in ("batch_norm", "head") or (value is None and key in ("crop_seconds", "noise_snr_db")):
        return value
    if key == "learning_rates":
        return tuple(_number(key, each) for each in (value if isinstance(value, list) else [value]))
    number = _number(key, value)
    if not isinstance(default, int):
        return number
    if not number.is_integer():
        raise FinetuneConfigError(f"{key} is {value!r}: it takes a whole number")
    return int(number)


def _number(key: str, value: object) -> float:
    """Return a finite number; YAML takes 1e-4, without a dot, for text."""
    try:
        number = float(value) if isinstance(value, int | float | str) else math.nan
    except ValueError:
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise FinetuneConfigError(f"{key} is {value!r}: it takes a number")
    return number
