"""Whether what a JSON file holds is of an annotated type: lists, dicts, unions and TypedDicts."""

import math
import types
from collections.abc import Iterator
from typing import Annotated, Any, get_args, get_origin, get_type_hints, is_typeddict


def misfits(value: Any, kind: Any, where: str) -> Iterator[str]:  # noqa: ANN401
    """Yield what of a JSON value is not of a type.

    Args:
        value: as `json` reads it; a float must be finite, an int may stand for it.
        kind: `str`, `int`, `bool`, `float`, `None`, `Any`, lists, dicts and unions of these, or a
            TypedDict, which may hold more than it names; of `Annotated` types the last.
        where: the value's name.

    Example:
        >>> list(misfits({"a": [1.5, "2"]}, dict[str, list[float]], "metrics"))
        ['metrics.a[1] is str, not float']
    """
    origin, parts = get_origin(kind), get_args(kind)
    if origin is Annotated:
        yield from misfits(value, parts[-1], where)
    elif origin is types.UnionType:
        faults = [next(misfits(value, part, where), "") for part in parts]
        if all(faults):
            yield max(faults, key=len)
    elif is_typeddict(kind) and isinstance(value, dict):
        if absent := kind.__required_keys__ - value.keys():
            yield f"{where} lacks {', '.join(sorted(absent))}"
        for name, part in get_type_hints(kind).items():
            if name in value:
                yield from misfits(value[name], part, f"{where}.{name}")
    elif origin is dict and isinstance(value, dict):
        for name, one in value.items():
            yield from misfits(one, parts[1], f"{where}.{name}")
    elif origin is list and isinstance(value, list):
        # Predictions are long, and are checked as arrays.
        for i, one in enumerate(value if parts[0] is not Any else ()):
            yield from misfits(one, parts[0], f"{where}[{i}]")
    else:
        fits = kind is Any or type(value) is kind
        if kind is float:
            fits = type(value) in (int, float) and math.isfinite(value)
        if not fits:
            wanted = "dict" if is_typeddict(kind) else (origin or kind).__name__
            yield f"{where} is {type(value).__name__}, not {wanted}"
