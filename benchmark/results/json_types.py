"""Validation of JSON values against type annotations, or against a structure of types."""

import sys
import types
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin


def misfits(value: Any, kind: Any, where: str) -> Iterator[str]:  # noqa: ANN401
    """Yield the mismatches between a JSON value and a type.

    Args:
        value: as `json` reads it; a float must be finite, an int may stand for it.
        kind: `str`, `int`, `bool`, `float`, `None`, `Any`, lists, dicts and unions of these; or
            `{"a": str, "b?": [float]}`, where "?" marks what may be absent and "*" stands for any
            other name; or both, the second for values that are not None, as `Annotated`.
        where: the value's name.

    Example:
        >>> list(misfits({"a": [1.5, "2"]}, {"a": list[float], "b?": int}, "metrics"))
        ['metrics.a[1] is str, not float']
    """
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        for part in parts if value is not None else parts[:1]:
            yield from misfits(value, part, where)
        return
    if origin is types.UnionType:
        faults = [next(misfits(value, part, where), "") for part in parts]
        if all(faults):
            yield max(faults, key=len)
        return
    if origin in (list, dict):
        kind = [parts[0]] if origin is list else {"*": parts[1]}
    if isinstance(kind, dict) and isinstance(value, dict):
        if absent := {name for name in kind if name[-1] not in "?*"} - value.keys():
            yield f"{where} lacks {', '.join(sorted(absent))}"
        for name, one in value.items():
            part = next((kind[key] for key in (name, f"{name}?", "*") if key in kind), Any)
            yield from misfits(one, part, f"{where}.{name}")
    elif isinstance(kind, list) and isinstance(value, list):
        # Predictions are long, and are checked as arrays.
        for i, one in enumerate(value if kind[0] is not Any else ()):
            yield from misfits(one, kind[0], f"{where}[{i}]")
    else:
        fits = kind is Any or type(value) is kind
        if kind is float:
            fits = type(value) in (int, float) and abs(value) <= sys.float_info.max  # not NaN
        elif kind is int and fits:
            fits = abs(value) < 1 << 63
        if not fits:
            wanted = type(kind) if isinstance(kind, list | dict) else kind
            large = " too large" if type(value) is int and kind in (int, float) else ""
            yield f"{where} is {type(value).__name__}{large}, not {wanted.__name__}"
