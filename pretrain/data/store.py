"""A store: every clip decoded once to 16 kHz mono int16, in memory-mapped files.

`python -m pretrain.store` makes one; see its help.
"""

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pretrain.data.store_build import FORMAT, SAMPLE_RATE
from wavebyol_hear.files.atomic import regular

__all__ = ["SAMPLE_RATE", "Store", "StoreError"]

REBUILD = "delete the folder and rebuild"


class StoreError(ValueError):
    """A store that is missing, unfinished or damaged, with what to do about it."""


@dataclass(frozen=True)
class Store:
    """Decoded clips, end to end in one array or several.

    Args:
        files: all samples, int16 at 16 kHz, memory-mapped, one array per file.
        file_of: each clip's file.
        starts: each clip's first sample, in its file.
        lengths: each clip's number of samples, at least 1.
        clip_ids: the clips' names in their sources.
        kinds: what the sources say that they are; "" where they do not. `index.csv` has more.
        hash: of the index and all samples; two stores with one hash hold the same.

    Shape:
        files [N] each, file_of and starts [C] int64, lengths [C] int32; the others C long.
    """

    files: tuple[Tensor, ...]
    file_of: Tensor
    starts: Tensor
    lengths: Tensor
    clip_ids: tuple[str, ...]
    kinds: tuple[str, ...]
    hash: str

    @classmethod
    def open(cls, folder: str | Path) -> "Store":
        """Open a finished store.

        Raises:
            StoreError: if the folder holds none, or its files do not fit each other.
        """
        folder = Path(folder)
        about = _read_seal(folder)
        try:
            with open(folder / "index.csv", newline="", encoding="utf-8", opener=regular) as lines:
                rows = list(csv.DictReader(lines))
            starts = np.array([int(row["start"]) for row in rows], np.int64)
            lengths = np.array([int(row["length"]) for row in rows], np.int32)
            clip_ids, kinds = (
                tuple(str(row[name]) for row in rows) for name in ("clip_id", "kind")
            )
            clips, total = int(about["clips"]), int(about["samples"])
            files = [(str(n), int(k)) for n, k in about.get("files", [("samples.i16", total)])]
        except (OSError, ValueError, KeyError, TypeError, OverflowError, csv.Error) as error:
            reason = f"{type(error).__name__}: {error}"
            raise StoreError(
                f"{folder}: index.csv or store.json is damaged ({reason}); {REBUILD}"
            ) from error
        samples = tuple(_mapped(folder / name, count) for name, count in files)
        counts = np.array([count for _, count in files], dtype=np.int64)
        if len(rows) != clips or counts.sum() != total:
            raise StoreError(
                f"{folder}: {len(rows)} clips in the index and {counts.sum()} samples in files, "
                f"but store.json says {clips} and {total}; {REBUILD}"
            )
        ends, file_ends = np.cumsum(lengths, dtype=np.int64), counts.cumsum()
        file_of = np.searchsorted(file_ends, starts, side="right").clip(0, len(files) - 1)
        end_to_end = (starts == ends - lengths).all() and (lengths > 0).all()
        if not clips or not end_to_end or ends[-1] != total or (ends > file_ends[file_of]).any():
            raise StoreError(
                f"{folder}: the clips in index.csv do not lie end to end in its samples; {REBUILD}"
            )
        return cls(
            files=samples,
            file_of=torch.from_numpy(file_of),
            starts=torch.from_numpy(starts - (file_ends - counts)[file_of]),
            lengths=torch.from_numpy(lengths),
            clip_ids=clip_ids,
            kinds=kinds,
            hash=str(about.get("hash", "")),
        )

    @staticmethod
    def verify(folder: str | Path) -> None:
        """Read a finished store once and compare it with its hash.

        Raises:
            StoreError: index or samples are not what was sealed, or `open` would raise.
        """
        folder = Path(folder)
        store = Store.open(folder)
        about = _read_seal(folder)
        if about.get("parts") is None:
            raise StoreError(f"{folder}: made by an earlier version, which kept no hashes of parts")
        try:
            parts = [(int(length), str(expected)) for length, expected in about["parts"]]
        except (TypeError, ValueError):
            parts = []
        total = sum(map(len, store.files))
        if min(parts, default=(-1,))[0] < 0 or sum(length for length, _ in parts) != total:
            raise StoreError(f"{folder}/store.json: its parts are damaged; delete the folder")
        digest = hashlib.sha256((folder / "index.csv").read_bytes())
        number = begin = 0
        for length, expected in parts:
            if length and begin == len(store.files[number]):
                number, begin = number + 1, 0
            samples = store.files[number][begin : begin + length].numpy()
            begin += length
            if hashlib.sha256(samples).hexdigest() != expected:  # type: ignore[arg-type]
                raise StoreError(
                    f"{folder}: samples from {begin - length} to {begin} of file {number} are not "
                    f"what was sealed; {REBUILD}"
                )
            digest.update(str(expected).encode())
        if digest.hexdigest() != store.hash:
            raise StoreError(f"{folder}: index.csv is not what was sealed; {REBUILD}")

    @classmethod
    def join(cls, stores: Sequence["Store"]) -> "Store":
        """Return several stores as one, whose clips are theirs in order.

        Its hash is that of a single store itself, or of all hashes in order.
        """
        if len(stores) == 1:
            return stores[0]
        first = np.cumsum([0, *(len(store.files) for store in stores)])
        hashes = "\n".join(store.hash for store in stores)
        return cls(
            files=tuple(chain.from_iterable(store.files for store in stores)),
            file_of=torch.cat([s.file_of + int(n) for s, n in zip(stores, first, strict=False)]),
            starts=torch.cat([store.starts for store in stores]),
            lengths=torch.cat([store.lengths for store in stores]),
            clip_ids=tuple(chain.from_iterable(store.clip_ids for store in stores)),
            kinds=tuple(chain.from_iterable(store.kinds for store in stores)),
            hash=hashlib.sha256(hashes.encode()).hexdigest(),
        )

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.clip_ids)

    def describe(self) -> dict[str, Any]:
        """Return what a weights file says of the data that it was trained on."""
        return {
            "data_hash": self.hash,
            "data_clips": len(self),
            "data_hours": round(float(self.lengths.sum()) / SAMPLE_RATE / 3600, 2),
            "data_kinds": dict(Counter(self.kinds)),
        }

    def clip(self, number: int) -> Tensor:
        """Return one clip's samples, int16.

        Shape:
            returns [n].
        """
        start = int(self.starts[number])
        samples = self.files[int(self.file_of[number])]
        return samples[start : start + int(self.lengths[number])]


def _read_seal(folder: Path) -> dict[str, Any]:
    """Return what `store.json` says; errors as of `Store.open`."""
    seal = folder / "store.json"
    if not seal.is_file():
        raise StoreError(
            f"{folder}: no finished store; make one with "
            f"`python -m pretrain.store SOURCE... --out {folder}`"
        )
    try:
        about = json.loads(seal.read_text())
    except (ValueError, RecursionError) as error:
        raise StoreError(f"{seal}: no JSON ({error}); {REBUILD}") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise StoreError(f"{seal}: is not of format {FORMAT!r}; {REBUILD}")
    return about


def _mapped(path: Path, count: int) -> Tensor:
    """Return a file of so many samples, read on demand and never written back."""
    size = path.stat().st_size if path.is_file() else 0
    if size != 2 * count or not count:
        raise StoreError(f"{path}: {size} bytes, but store.json says {2 * count}; {REBUILD}")
    return torch.from_file(str(path), shared=False, size=count, dtype=torch.int16)
