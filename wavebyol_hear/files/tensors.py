"""Tensors in safetensors format, in bytes that depend on nothing but their content."""

import json
from collections.abc import Iterator, Mapping, Sequence

from safetensors.torch import save
from torch import Tensor

LENGTH_BYTES, ALIGNMENT = 8, 8


def to_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return a safetensors file; equal content gives equal bytes.

    The library writes metadata in an order that changes from call to call; here it is sorted.
    Tensors must be contiguous and on the CPU.

    Example:
        >>> import torch
        >>> data = to_bytes({"x": torch.zeros(2)}, {"b": "2", "a": "1"})
        >>> data[8:43]
        b'{"__metadata__":{"a":"1","b":"2"},"'
    """
    data = save(dict(tensors), metadata=dict(metadata))
    end = LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "little")
    header = json.loads(data[LENGTH_BYTES:end])
    header.pop("__metadata__", None)
    header = {"__metadata__": dict(sorted(metadata.items()))} | header
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return len(text).to_bytes(LENGTH_BYTES, "little") + text + data[end:]


def parts_by_name(
    tensors: Mapping[str, Tensor], prefix: str, parts: Sequence[str]
) -> Iterator[tuple[str, list[Tensor]]]:
    """Yield name and parts of each thing whose tensors are called `<prefix><name>.<part>`.

    Raises:
        ValueError: one lacks a part.
    """
    own = [key.removeprefix(prefix) for key in tensors if key.startswith(prefix)]
    for name in sorted({key.rpartition(".")[0] for key in own}):
        present = [part for part in parts if f"{prefix}{name}.{part}" in tensors]
        if len(present) < len(parts):
            raise ValueError(f"the {prefix[:-1]} {name!r} lacks a part: it has {', '.join(parts)}")
        yield name, [tensors[f"{prefix}{name}.{part}"] for part in parts]
