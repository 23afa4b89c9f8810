"""Made-up sources of a store, and its building without worker processes."""

import csv
import io
import tarfile
from pathlib import Path

import numpy as np
import soundfile

from pretrain.data.store import Store
from pretrain.data.store_build import build, decode_part
from pretrain.data.store_sources import parts_of


def sound(seed: int, samples: int, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (samples, channels)).astype(np.float32)


def wav(wave: np.ndarray, rate: int = 16_000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


def build_here(sources: list[str], out: Path) -> Store:
    """Build without worker processes: decode the parts here, and let `build` go on from there."""
    (out / "parts").mkdir(parents=True)
    for i, part in enumerate(part for source in sources for part in parts_of(source)):
        decode_part(part, out / "parts" / f"{i:06d}.json")
    build(sources, out, workers=1)
    return Store.open(out)


def column(store: Path, name: str) -> list[str]:
    """Return what a store's index says of every clip."""
    with (store / "index.csv").open(newline="") as lines:
        return [row[name] for row in csv.DictReader(lines)]
