"""Tensors in safetensors format, in bytes that depend on nothing but their content."""

import json
from collections.abc import Mapping

from safetensors.torch import save
from torch import Tensor

LENGTH_BYTES, ALIGNMENT = 8, 8


def to_bytes(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> bytes:
    """Return a safetensors file; equal content gives equal bytes.

    The library writes metadata in an order that changes from call to call; here it is sorted.

    Args:
        tensors: by name, contiguous and on the CPU.
        metadata: texts of the header.

    Example:
        >>> import torch
        >>> data = to_bytes({"x": torch.zeros(2)}, {"b": "2", "a": "1"})
        >>> data[8:43]
        b'{"__metadata__":{"a":"1","b":"2"},"'
    """
    data = save(dict(tensors), metadata=dict(metadata))
    end = LENGTH_BYTES + int.from_bytes(data[:LENGTH_BYTES], "little")
    header = json.loads(data[LENGTH_BYTES:end])
    header = {"__metadata__": dict(sorted(metadata.items()))} | {
        name: entry for name, entry in header.items() if name != "__metadata__"
    }
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % ALIGNMENT)
    return len(text).to_bytes(LENGTH_BYTES, "little") + text + data[end:]
