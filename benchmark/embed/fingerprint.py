"""Content hashes of what embeddings depend on: the model's weights and code, the sound files."""

import hashlib
import json
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from types import ModuleType

import torch
from torch import Tensor, nn
from tqdm import tqdm

from benchmark.data.clip import Clip
from benchmark.embed.cache import CacheError, write_beside
from wavebyol_hear.files.ahead import ahead

HASH_BYTES = 16
HASHING_THREADS = 4


def source_files(module: ModuleType) -> list[Path]:
    """Return the Python files a HEAR module consists of.

    These are all files of its package where it is one, and those of the modules of the same
    top-level package that it takes functions or classes from, and so on. Other packages are not
    looked into; their versions belong to the provenance of a result.

    Args:
        module: imported.
    """
    top = module.__name__.partition(".")[0]
    found: dict[str, ModuleType] = {}
    waiting = [module]
    while waiting:
        current = waiting.pop()
        if current.__name__ in found:
            continue
        found[current.__name__] = current
        for value in vars(current).values():
            is_module = isinstance(value, ModuleType)
            origin = value.__name__ if is_module else getattr(value, "__module__", None)
            # Some foreign objects answer any attribute with something that is no name.
            if isinstance(origin, str) and origin.partition(".")[0] == top:
                waiting.extend([sys.modules[origin]] if origin in sys.modules else [])
    files = {Path(m.__file__) for m in found.values() if m.__file__}
    for folder in getattr(module, "__path__", ()):
        files.update(Path(folder).rglob("*.py"))
    return sorted(files)


def weights_fingerprint(module: ModuleType, model: nn.Module, weights: str) -> str:
    """Return a hash of what makes the embeddings: the loaded tensors, the weights file, the code.

    The tensors are hashed as loaded, so untrained seeded weights have a hash too; the file as
    well, as it may bring numbers that the module keeps outside its tensors.

    Args:
        module: the HEAR module.
        model: as its `load_model` returned it, before it is moved.
        weights: path of the weights file, "" for none.
    """
    digest = hashlib.blake2b(digest_size=HASH_BYTES)
    for name, value in sorted(model.state_dict().items()):
        if isinstance(value, Tensor):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
            digest.update(flat.numpy().data)
        else:
            digest.update(f"{name} {value!r}".encode())
    for file in source_files(module):
        digest.update(f"{file.name} {file_hash(file)}".encode())
    digest.update(file_hash(weights).encode() if weights else b"")
    return digest.hexdigest()


def file_hash(path: str | Path) -> str:
    """Return the hash of a file's bytes, or "unreadable" where it cannot be read."""
    try:
        with open(path, "rb") as content:
            return hashlib.file_digest(
                content, lambda: hashlib.blake2b(digest_size=HASH_BYTES)
            ).hexdigest()
    except OSError:
        return "unreadable"


def file_stamp(path: str) -> str:
    """Return size and times of a file; they change with its content, as Git relies on too.

    The change time is part of it, so a file put in another's place with its size and modification
    time is noticed.
    """
    try:
        stat = os.stat(path)
    except OSError:
        return "absent"
    return f"{stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"


def recall(memory: Path) -> dict[str, list[str]]:
    """Return stamp and hash by path as kept before, or nothing where that is absent or damaged."""
    try:
        kept = json.loads(memory.read_text())
    except (OSError, ValueError):
        return {}
    if not isinstance(kept, dict):
        return {}
    return {p: v for p, v in kept.items() if isinstance(v, list) and len(v) == 2}


def _lines(known: Mapping[str, list[str]]) -> Iterator[str]:
    """Yield the lines of a JSON object: written whole it would take more memory than all else."""
    for number, (path, kept) in enumerate(known.items()):
        yield f"{',' if number else '{'}\n{json.dumps(path)}: {json.dumps(kept)}"
    yield "\n}\n"


def content_hashes(clips: Sequence[Clip], root: Path, memory: Path) -> list[str]:
    """Return the content hash of each clip's file, reading only files that changed since last.

    Args:
        clips: of a task.
        root: their paths are relative to it.
        memory: a JSON file that keeps path, stamp and hash from run to run; made anew when
            absent or damaged.

    Raises:
        CacheError: the JSON file cannot be written.
    """
    known = recall(memory)
    # Plain strings: 300,000 Path objects would take longer than asking the disk. And only
    # those of changed files are held, as with their stamps they would double what is known.
    base = root.absolute()
    stale = {}
    for clip in clips:
        path = f"{base}/{clip.path}"
        stamp = file_stamp(path)
        if known.get(path, [""])[0] != stamp:
            stale[path] = stamp
    if stale:
        # Hashing releases the interpreter lock.
        with closing(ahead(file_hash, stale, HASHING_THREADS)) as hashes:
            look = tqdm(
                hashes,
                desc="hashing sound",
                total=len(stale),
                unit="file",
                leave=False,
                delay=1,
            )
            for (path, stamp), value in zip(stale.items(), look, strict=True):
                known[path] = [stamp, value]
        try:
            memory.parent.mkdir(parents=True, exist_ok=True)
            write_beside(memory, _lines(known))
        except OSError as error:
            raise CacheError(
                f"{memory.parent}: the cache cannot be written ({error}); choose another "
                "--cache-dir"
            ) from error
    return [known[f"{base}/{clip.path}"][1] for clip in clips]


def sound_fingerprint(clips: Sequence[Clip], hashes: Sequence[str]) -> str:
    """Return the hash of a list of sound files: their paths below the root and their contents.

    Labels and splits are left out, so two protocols on the same sound share their embeddings.

    Args:
        clips: of a task, in order.
        hashes: of their files, see `content_hashes`.
    """
    return _hash_of(f"{c.path}\t{value}" for c, value in zip(clips, hashes, strict=True))


def data_fingerprint(clips: Sequence[Clip], hashes: Sequence[str]) -> str:
    """Return the hash of all a score rests on: sound, labels, splits and groups, in order.

    It is the same on every machine that holds the same data.

    Args:
        clips: of a task, in order.
        hashes: of their files, see `content_hashes`.
    """
    return _hash_of(
        "\t".join((c.clip_id, c.label, c.split, c.group, value))
        for c, value in zip(clips, hashes, strict=True)
    )


def _hash_of(lines: Iterable[str]) -> str:
    """Return the hash of lines with line ends between them, never all in memory."""
    digest = hashlib.blake2b(digest_size=HASH_BYTES)
    for number, line in enumerate(lines):
        digest.update(f"\n{line}".encode() if number else line.encode())
    return digest.hexdigest()
