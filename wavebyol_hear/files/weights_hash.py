"""A content hash of what makes embeddings: a model's tensors, its weights file and its code."""

import hashlib
import sys
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from wavebyol_hear.files.atomic import HASH_BYTES, file_hash


def source_files(module: ModuleType) -> list[Path]:
    """Return the Python files a HEAR module consists of.

    These are all files of its package where it is one, and those of the modules of the same
    top-level package that it takes functions or classes from, and so on. Other packages are not
    looked into; their versions belong to the provenance of a result.
    """
    top = module.__name__.partition(".")[0]
    seen: dict[str, ModuleType] = {}
    waiting = [module]
    while waiting:
        current = waiting.pop()
        if current.__name__ in seen:
            continue
        seen[current.__name__] = current
        for value in vars(current).values():
            is_module = isinstance(value, ModuleType)
            origin = value.__name__ if is_module else getattr(value, "__module__", None)
            # Some foreign objects answer any attribute with something that is no name.
            if isinstance(origin, str) and origin.partition(".")[0] == top:
                waiting.extend([sys.modules[origin]] if origin in sys.modules else [])
    files = {Path(m.__file__) for m in seen.values() if m.__file__}
    for folder in getattr(module, "__path__", ()):
        files.update(Path(folder).rglob("*.py"))
    return sorted(file for file in files if file.is_file())


def weights_fingerprint(module: ModuleType, model: nn.Module, weights: str) -> str:
    """Return a hash of what makes the embeddings: the loaded tensors, the weights file, the code.

    The tensors are hashed as loaded, so untrained seeded weights have a hash too; the file as
    well, as it may bring numbers that the module keeps outside its tensors. What a module reads
    besides is known by `HearModel.noise_embedding` only.
    """
    digest = _tensors_digest(model)
    for file in source_files(module):
        digest.update(f"{file.name} {file_hash(file)}".encode())
    digest.update((file_hash(weights) if Path(weights).is_file() else weights).encode())
    return digest.hexdigest()


def tensors_hash(model: nn.Module) -> str:
    """Return a hash of a model's tensors alone, which stays while the code around them changes."""
    return _tensors_digest(model).hexdigest()


def _tensors_digest(model: nn.Module) -> hashlib.blake2b:
    """Hash names, types, shapes and values of a model's tensors."""
    digest = hashlib.blake2b(digest_size=HASH_BYTES)
    for name, value in sorted(model.state_dict().items()):
        if not isinstance(value, Tensor):
            digest.update(f"{name} {value!r}".encode())
        elif is_lazy(value) or value.is_meta:
            digest.update(f"{name} without values".encode())
        else:
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            plain = value.detach()
            dense = plain if value.layout == torch.strided else plain.to_dense()
            digest.update(dense.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return digest
