"""One loader for every configuration: frozen dataclasses, YAML files of differences, `--set`.

The defaults of a dataclass are its settings; a file or an assignment names only what differs.
Whatever is wrong is one line that says where it stands, which key it is and what to give.
"""

import dataclasses
import difflib
import math
import reprlib
import types
import typing
from collections.abc import Iterable, Mapping
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any, Literal, TypeVar

Record = TypeVar("Record")
Presets = Mapping[type, Mapping[str, Any]]
"""By dataclass, what a setting of that type may name: {Encoder: {"small": Encoder(8)}}."""

_NAMES = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


class SettingsError(ValueError):
    """A setting that cannot be used: one line with the file, the key and the remedy."""


def load_settings(
    defaults: Record,
    *files: Path | Traversable,
    sets: Iterable[str] = (),
    presets: Presets | None = None,
) -> Record:
    """Return the defaults, changed by YAML files in turn, then by `a.b=value` assignments.

    Args:
        defaults: a frozen dataclass, whose settings may be dataclasses themselves.
        files: YAML mappings of differences; an empty file changes nothing.
        sets: assignments such as `optim.lr=1e-3`, their values in YAML.
        presets: values that a setting may name in place of a mapping; a mapping may name one as
            its `preset` and list differences from it.

    Raises:
        SettingsError: a file that cannot be read or holds no mapping, an unknown key, or a value of
            the wrong type, shape or range.
    """
    changes = [(f"{file}: ", _read(file)) for file in files]
    changes += [("--set ", _assigned(assignment)) for assignment in sets]
    record = defaults
    for source, values in changes:
        try:
            record = merge(record, values, presets or {})
        except SettingsError as error:
            raise SettingsError(f"{source}{error}") from error
    return record


def merge(
    record: Record,
    values: Mapping[Any, Any],
    presets: Presets = types.MappingProxyType({}),
    key: str = "",
) -> Record:
    """Return a dataclass with the values of a nested mapping put in.

    Args:
        record: a frozen dataclass.
        values: its settings by name.
        presets: see `load_settings`.
        key: dotted name of the record itself with a dot behind it, or empty.

    Raises:
        SettingsError: an unknown key, or a value of the wrong type, shape or range.

    Example:
        >>> @dataclasses.dataclass(frozen=True)
        ... class Optim:
        ...     lr: float = 0.1
        >>> merge(Optim(), {"lr": "1e-3"})
        Optim(lr=0.001)
        >>> merge(Optim(), {"rl": 1})
        Traceback (most recent call last):
        wavebyol_hear.files.settings.SettingsError: rl is not a setting: the nearest is lr
    """
    kinds = typing.get_type_hints(type(record))
    changes = {}
    for name, value in values.items():
        if name not in kinds:
            near = difflib.get_close_matches(str(name), kinds, 1, 0)[0]
            raise SettingsError(f"{key}{name} is not a setting: the nearest is {key}{near}")
        old = getattr(record, name)
        try:
            changes[name] = _convert(old, kinds[name], value, presets, f"{key}{name}")
        except _WrongTypeError as error:
            raise SettingsError(f"{key}{name} is {_shown(value)}: it takes {error}") from error
    try:
        return dataclasses.replace(record, **changes)  # type: ignore[type-var]
    except (TypeError, ValueError) as error:
        if str(error).partition(" ")[0] in kinds or not key:
            raise SettingsError(f"{key}{error}") from error
        raise SettingsError(f"{key[:-1]}: {error}") from error


def check_range(
    record: object,
    *names: str,
    minimum: float = -math.inf,
    maximum: float = math.inf,
    above: float = -math.inf,
) -> None:
    """Raise ValueError where a number of a record, or one of a tuple's, is out of its range.

    Args:
        record: a dataclass, in its `__post_init__`.
        names: of the settings; None passes.
        minimum: smallest value allowed.
        maximum: largest value allowed.
        above: largest value that is too small.
    """
    if above > -math.inf:
        wanted = f"more than {above:g}" + (f", at most {maximum:g}" if maximum < math.inf else "")
    elif maximum < math.inf:
        wanted = f"{minimum:g} to {maximum:g}"
    else:
        wanted = f"{minimum:g} or more"
    for name in names:
        value = getattr(record, name)
        for each in value if isinstance(value, tuple) else (value,):
            if each is not None and not (minimum <= each <= maximum and each > above):
                raise ValueError(f"{name} is {value}: give {wanted}")


class _WrongTypeError(TypeError):
    """A value of another type; the message is what the setting takes."""


def _convert(old: Any, kind: Any, value: Any, presets: Presets, key: str) -> Any:  # noqa: ANN401
    """Return a value of YAML as its setting's type; `old` is the value that it replaces."""
    if type(old) in presets:
        return _from_preset(old, value, presets, key)
    if dataclasses.is_dataclass(old) and not isinstance(old, type):
        if not isinstance(value, Mapping):
            raise _WrongTypeError("a mapping of settings")
        return merge(old, value, presets, f"{key}.")
    origin, args = typing.get_origin(kind), typing.get_args(kind)
    if origin is Literal:
        if not isinstance(value, str) or value not in args:
            raise SettingsError(f"{key} is {_shown(value)}: it is one of {', '.join(args)}")
        return value
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        kind = next(arg for arg in args if arg is not type(None))
        return _convert(old, kind, value, presets, key)
    if origin is tuple:
        return _tuple(args, value)
    return _scalar(kind, value)


def _from_preset(old: Any, value: object, presets: Presets, key: str) -> Any:  # noqa: ANN401
    """Return the preset that a value names, with the differences that it lists."""
    known = presets[type(old)]
    if not isinstance(value, str | Mapping):
        raise _WrongTypeError("a preset's name or a mapping")
    changes = {"preset": value} if isinstance(value, str) else dict(value)
    if "preset" in changes:
        name = changes.pop("preset")
        if not isinstance(name, str) or name not in known:
            raise SettingsError(f"{key}: no preset {_shown(name)}; it is one of {', '.join(known)}")
        old = known[name]
    return merge(old, changes, presets, f"{key}.")


def _tuple(kinds: tuple[Any, ...], value: object) -> tuple[Any, ...]:
    """Return a list of YAML as a tuple; one item may stand for a tuple of any length."""
    item, any_length = kinds[0], kinds[-1] is Ellipsis
    count = "" if any_length else f"{len(kinds)} "
    wanted = f"a list of {count}{_NAMES.get(item, str(item)).removeprefix('a ')}s"
    if any_length and not isinstance(value, list | tuple):
        value = [value]
    if not isinstance(value, list | tuple) or (not any_length and len(value) != len(kinds)):
        raise _WrongTypeError(wanted)
    try:
        return tuple(_scalar(item, each) for each in value)
    except _WrongTypeError as error:
        raise _WrongTypeError(wanted) from error


def _scalar(kind: type, value: Any) -> Any:  # noqa: ANN401
    """Return a number, text or truth value; YAML takes 1e-3, without a dot, for text."""
    wrong = _WrongTypeError(_NAMES.get(kind, str(kind)))
    if isinstance(value, bool) and kind is not bool:
        raise wrong
    if isinstance(value, kind) and kind is not float:
        return value
    if kind not in (int, float) or not isinstance(value, int | float | str):
        raise wrong
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise wrong from None
    if not math.isfinite(number) or (kind is int and not number.is_integer()):
        raise wrong
    return kind(number)


def _shown(value: object) -> str:
    """Return a value as an error shows it: a few lines of YAML can unfold to gigabytes."""
    return reprlib.repr(value)[:100]


def _assigned(assignment: str) -> dict[str, Any]:
    """Return the nested mapping that `a.b=value` stands for."""
    key, equals, text = assignment.partition("=")
    if not equals:
        raise SettingsError(f"--set {assignment} has no '=': write --set optim.lr=1e-3")
    *above, last = key.split(".")
    values = {last: _parse(text, f"--set {assignment}")}
    for part in reversed(above):
        values = {part: values}
    return values


def _read(file: Path | Traversable) -> dict[Any, Any]:
    """Return the mapping in a YAML file; an empty file is an empty mapping."""
    if not file.is_file():  # a pipe would be waited for
        raise SettingsError(f"{file} is not a file: give a YAML file of differences")
    try:
        values = _parse(file.read_bytes(), str(file))
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror}") from error
    if not isinstance(values, dict | None):
        raise SettingsError(f"{file} holds no mapping of settings")
    return values or {}


def _parse(text: str | bytes, source: str) -> Any:  # noqa: ANN401
    try:
        import yaml
    except ImportError as error:
        raise SettingsError(
            f"{source}: settings need PyYAML: pip install pyyaml (the extras `benchmark` and "
            "`pretrain` have it)"
        ) from error
    try:
        return yaml.safe_load(text)
    except RecursionError as error:
        raise SettingsError(f"{source} is not a YAML file of settings: nested too deep") from error
    except (yaml.YAMLError, ValueError) as error:  # the latter for a date that is none
        reason = " ".join(str(error).split())[:200]
        raise SettingsError(f"{source} is not YAML: {reason}") from error
