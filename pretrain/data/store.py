"""A store: every clip decoded once to 16 kHz mono int16, in one memory-mapped file.

`python -m pretrain.store` makes one; see its help.
"""

import csv
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from pretrain.data.store_build import FORMAT, SAMPLE_RATE


class StoreError(ValueError):
    """A store that is missing, unfinished or damaged, with what to do about it."""


@dataclass(frozen=True)
class Store:
    """Decoded clips, end to end in one array.

    Args:
        samples: all samples, int16 at 16 kHz, memory-mapped.
        starts: each clip's first sample.
        lengths: each clip's number of samples, at least 1.
        clip_ids: the clips' names in their sources.
        kinds, sources, licences, labels: what the sources say of each clip; "" where they do not.
        hash: of the index and all samples; two stores with one hash hold the same.

    Shape:
        samples [N], starts [C] int64, lengths [C] int32; the others C long.
    """

    samples: Tensor
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
        except ValueError as error:
            raise StoreError(f"{seal}: no JSON ({error}); delete the folder and rebuild") from error
        if about.get("format") != FORMAT or about.get("sample_rate") != SAMPLE_RATE:
            raise StoreError(f"{seal}: format {about.get('format')!r}, not {FORMAT!r}; rebuild it")
        with (folder / "index.csv").open(newline="", encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines))
        path, total = folder / "samples.i16", int(about["samples"])
        size = path.stat().st_size if path.is_file() else 0
        if len(rows) != about["clips"] or size != 2 * total:
            raise StoreError(
                f"{folder}: {len(rows)} clips in the index and {size} bytes of samples, but "
                f"store.json says {about['clips']} and {2 * total}; delete the folder and rebuild"
            )
        return cls(
            # Private mapping: read on demand, shared by all processes, and never written back
            samples=torch.from_file(str(path), shared=False, size=total, dtype=torch.int16),
            starts=torch.from_numpy(np.array([int(row["start"]) for row in rows], np.int64)),
            lengths=torch.from_numpy(np.array([int(row["length"]) for row in rows], np.int32)),
            clip_ids=tuple(row["clip_id"] for row in rows),
            kinds=tuple(row["kind"] for row in rows),
            sources=tuple(row["source"] for row in rows),
            licences=tuple(row["licence"] for row in rows),
            labels=tuple(row["labels"] for row in rows),
            hash=str(about["hash"]),
        )

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.clip_ids)

    def clip(self, number: int) -> Tensor:
        """Return one clip's samples, int16.

        Shape:
            returns [n].
        """
        start = int(self.starts[number])
        return self.samples[start : start + int(self.lengths[number])]

