"""Putting nested values, as YAML reads them, into frozen dataclasses: strictly, key by key."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, TypeVar

from wavebyol_hear.encoder import PRESETS, EncoderConfig

Record = TypeVar("Record")


class ConfigError(ValueError):
    """A configuration that cannot be: one line with the key and the remedy."""


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
