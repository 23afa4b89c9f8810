"""The pretraining store as `python -m pretrain.store` writes it, read one clip at a time.

A folder with samples.i16 (little-endian int16 at 16 kHz, all clips end to end), index.csv (clip_id,
start, length, kind, source, licence, labels; start and length in samples) and store.json, which
seals a finished store. The benchmark does not import what it judges, so it has this reader.
"""

import csv
import json
from pathlib import Path

import numpy as np

FORMAT = "wavebyol-store/1"


class StoreError(ValueError):
    """A store that is missing, unfinished or damaged, with what to do about it."""


class StoreReader:
    """A finished store.

    Args:
        folder: of the store.

    Raises:
        StoreError: it holds no finished store of this format, or its files do not fit each other.
    """

    def __init__(self, folder: Path) -> None:
        self.samples = folder / "samples.i16"
        try:
            about = json.loads((folder / "store.json").read_text(encoding="utf-8"))
            with open(folder / "index.csv", newline="", encoding="utf-8") as lines:
                rows = list(csv.DictReader(lines))
            size = self.samples.stat().st_size
        except (OSError, ValueError) as error:
            raise StoreError(
                f"{folder}: no finished store ({error}); make one with "
                f"python -m pretrain.store SOURCE... --out {folder}"
            ) from error
        expected = {"format": FORMAT, "clips": len(rows), "samples": size // 2}
        found = {name: about.get(name) for name in expected}
        if found != expected or not rows:
            raise StoreError(f"{folder}: store.json says {found}, not {expected}; rebuild it")
        self.clip_ids = [line["clip_id"] for line in rows]
        self.sources = [line["source"] for line in rows]
        self.starts = np.array([int(line["start"]) for line in rows])
        self.lengths = np.array([int(line["length"]) for line in rows])

    def __len__(self) -> int:
        """Return the number of clips."""
        return len(self.clip_ids)

    def read(self, number: int) -> np.ndarray:
        """Return a clip's samples at 16 kHz, full scale 1.

        Shape:
            returns float32 `[n]`.
        """
        # Not memory-mapped: a search through all of it would count as memory in use.
        raw = np.fromfile(
            self.samples, "<i2", int(self.lengths[number]), offset=2 * int(self.starts[number])
        )
        return raw.astype(np.float32) / 32768
