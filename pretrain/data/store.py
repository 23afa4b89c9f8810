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

from pretrain.data.store_build import COLUMNS, FORMAT, SAMPLE_RATE
from wavebyol_hear.files.atomic import regular

__all__ = ["SAMPLE_RATE", "Store", "StoreError"]


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
        kinds, sources, licences, labels: what the sources say of each clip; "" where they do not.
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
    sources: tuple[str, ...]
    licences: tuple[str, ...]
    labels: tuple[str, ...]
    hash: str

    @classmethod
    def open(cls, folder: str | Path) -> "Store":
        """Open a finished store.

        Raises:
            StoreError: if the folder holds none, or its files do not fit each other.
        """
        folder = Path(folder)
        seal = folder / "store.json"
        if not seal.is_file():
            raise StoreError(
                f"{folder}: no finished store; make one with "
                f"`python -m pretrain.store SOURCE... --out {folder}`"
            )
        try:
            about = json.loads(seal.read_text())
        except (ValueError, RecursionError) as error:
            raise StoreError(f"{seal}: no JSON ({error}); delete the folder and rebuild") from error
        if not isinstance(about, dict) or about.get("format") != FORMAT:
            raise StoreError(f"{seal}: is not of format {FORMAT!r}; delete the folder and rebuild")
        try:
            with open(folder / "index.csv", newline="", encoding="utf-8", opener=regular) as lines:
                rows = list(csv.DictReader(lines))
            starts = np.array([int(row["start"]) for row in rows], np.int64)
            lengths = np.array([int(row["length"]) for row in rows], np.int32)
            clips, total = int(about["clips"]), int(about["samples"])
            files = [(str(n), int(k)) for n, k in about.get("files", [("samples.i16", total)])]
            texts = {name: tuple(str(row[name]) for row in rows) for name in COLUMNS[3:]}
        except (OSError, ValueError, KeyError, TypeError, OverflowError, csv.Error) as error:
            raise StoreError(
                f"{folder}: index.csv or store.json is damaged ({type(error).__name__}: {error}); "
                "delete the folder and rebuild"
            ) from error
        paths = [folder / name for name, _ in files]
        for path, (_, count) in zip(paths, files, strict=True):
            size = path.stat().st_size if path.is_file() else 0
            if size != 2 * count or not count:
                raise StoreError(
                    f"{path}: {size} bytes, but store.json says {2 * count}; delete the folder and "
                    "rebuild"
                )
        file_ends = np.cumsum([count for _, count in files], dtype=np.int64)
        held = sum(count for _, count in files)
        if len(rows) != clips or held != total:
            raise StoreError(
                f"{folder}: {len(rows)} clips in the index and {held} samples in files, but "
                f"store.json says {clips} and {total}; delete the folder and rebuild"
            )
        ends = np.cumsum(lengths, dtype=np.int64)
        file_of = np.searchsorted(file_ends, starts, side="right").clip(0, len(files) - 1)
        end_to_end = (starts == ends - lengths).all() and (lengths > 0).all()
        if not clips or not end_to_end or ends[-1] != total or (ends > file_ends[file_of]).any():
            raise StoreError(
                f"{folder}: the clips in index.csv do not lie end to end in its samples; "
                "delete the folder and rebuild"
            )
        starts -= (file_ends - [count for _, count in files])[file_of]
        return cls(
            # Private mapping: read on demand, shared by all processes, and never written back
            files=tuple(
                torch.from_file(str(path), shared=False, size=count, dtype=torch.int16)
                for path, (_, count) in zip(paths, files, strict=True)
            ),
            file_of=torch.from_numpy(file_of),
            starts=torch.from_numpy(starts),
            lengths=torch.from_numpy(lengths),
            clip_ids=tuple(row["clip_id"] for row in rows),
            kinds=texts["kind"],
            sources=texts["source"],
            licences=texts["licence"],
            labels=texts["labels"],
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
        about = json.loads((folder / "store.json").read_text())
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
                    "what was sealed; delete the folder and rebuild"
                )
            digest.update(str(expected).encode())
        if digest.hexdigest() != store.hash:
            raise StoreError(
                f"{folder}: index.csv is not what was sealed; delete the folder and rebuild"
            )

    @classmethod
    def join(cls, stores: Sequence["Store"]) -> "Store":
        """Return several stores as one, whose clips are theirs in order.

        Its hash is that of a single store itself, or of all hashes in order.
        """
        if len(stores) == 1:
            return stores[0]
        first = np.cumsum([0, *(len(store.files) for store in stores)])
        hashes = "\n".join(store.hash for store in stores)
        texts = {
            name: tuple(chain.from_iterable(getattr(store, name) for store in stores))
            for name in ("clip_ids", "kinds", "sources", "licences", "labels")
        }
        return cls(
            files=tuple(chain.from_iterable(store.files for store in stores)),
            file_of=torch.cat([s.file_of + int(n) for s, n in zip(stores, first, strict=False)]),
            starts=torch.cat([store.starts for store in stores]),
            lengths=torch.cat([store.lengths for store in stores]),
            hash=hashlib.sha256(hashes.encode()).hexdigest(),
            **texts,
        )

    @property
    def samples(self) -> Tensor:
        """The samples of a store of one file.

        Raises:
            ValueError: it has several.
        """
        if len(self.files) > 1:
            raise ValueError(f"a store of {len(self.files)} files: their samples lie apart")
        return self.files[0]

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
