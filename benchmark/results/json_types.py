"""Whether what a JSON file holds is of an annotated type: lists, dicts, unions and TypedDicts."""

import math
import types
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin, get_type_hints, is_typeddict


def misfit(value: object, kind: object, where: str) -> str | None:
    """Return what of a JSON value is not of a type, or None where all is.

    Args:
        value: as `json` reads it; a float must be finite, an int may stand for it.
        kind: `str`, `int`, `bool`, `float`, `None`, `Any`, lists, dicts and unions of these, or a
            TypedDict, which may hold more than it names; of `Annotated` types the last.
        where: the value's name.

    Example:
        >>> misfit({"a": [1.5, "2"]}, dict[str, list[float]], "metrics")
        'metrics.a[1] is str, not float'
    """
    origin, parts = get_origin(kind), get_args(kind)
    if kind is Any:
        return None
    if origin is Annotated:
        return misfit(value, parts[-1], where)
    if origin is types.UnionType:
        faults = [misfit(value, part, where) for part in parts]
        return None if None in faults else max(filter(None, faults), key=len)
    if is_typeddict(kind):
        origin = dict
    if origin in (list, dict):
        if not isinstance(value, origin):
            return f"{where} is {type(value).__name__}, not {origin.__name__}"
        return next(filter(None, _inside(value, kind, where)), None)
    fits = type(value) is kind or (value is None and kind is type(None))
    if kind is float:
        fits = type(value) in (int, float) and math.isfinite(value)  # type: ignore[arg-type]
    return None if fits else f"{where} is {type(value).__name__}, not {kind.__name__}"  # type: ignore[attr-defined]


def _inside(value: Any, kind: Any, where: str) -> Iterator[str | None]:  # noqa: ANN401
    """Yield the misfits of the parts of a list or dict."""
    parts = get_args(kind)
    if isinstance(value, list):
        if parts[0] is not Any:  # predictions are long, and are checked as arrays
            yield from (misfit(x, parts[0], f"{where}[{i}]") for i, x in enumerate(value))
    elif is_typeddict(kind):
        absent = kind.__required_keys__ - set(value)
        yield f"{where} lacks {', '.join(sorted(absent))}" if absent else None
        hints = get_type_hints(kind)
        yield from (misfit(value[k], hints[k], f"{where}.{k}") for k in hints if k in value)
    else:
        yield from (misfit(x, parts[1], f"{where}.{k}") for k, x in value.items())
