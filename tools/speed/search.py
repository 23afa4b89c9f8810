"""How fast `wavebyol search` looks through a million vectors on disk."""

import functools
import tempfile
from pathlib import Path

import numpy as np

from tools.speed.clock import Figure, Plan, interleaved
from tools.speed.encoder import SpeedError
from wavebyol_hear.files.search import nearest

ROWS, SIZE, TOP = 1_000_000, 512, 10
SECONDS = 5.0  # allowed
BLOCK = 10_000


def search(plan: Plan) -> list[Figure]:
    """Return the seconds of one search in random vectors, mapped from a file just written.

    Raises:
        SpeedError: the rows found are not those of the highest similarities.
    """
    rows = 20_000 if plan.small else ROWS
    figures = []
    for dtype, limit in (("float32", SECONDS), ("float16", None)):
        with tempfile.TemporaryDirectory() as folder:
            array = _vectors(Path(folder) / "vectors.npy", rows, dtype)
            query = np.asarray(array[rows // 2], np.float32) + 0.1
            best = _plain(array, query)
            if nearest(array, query, TOP)[0].tolist() != best:
                raise SpeedError(f"search: {dtype} finds other rows than the highest similarities")
            call = functools.partial(nearest, array, query, TOP)
            seconds = interleaved({dtype: call}, 1 if plan.small else plan.runs)[dtype]
        what = f"{rows:,} vectors of {SIZE}, {dtype}, mapped"
        figures.append(Figure("search", what, seconds, "s", target=limit, at_most=True))
    return figures


def _vectors(path: Path, rows: int, dtype: str) -> np.ndarray:
    """Write random vectors and return them, mapped."""
    random = np.random.default_rng(0)
    shape = (rows, SIZE)
    written = np.lib.format.open_memmap(path, "w+", dtype=np.dtype(dtype), shape=shape)
    for start in range(0, rows, BLOCK):
        block = random.standard_normal((min(BLOCK, rows - start), SIZE), np.float32)
        written[start : start + BLOCK] = block
    written.flush()
    mapped: np.ndarray = np.load(path, mmap_mode="r")
    return mapped


def _plain(array: np.ndarray, query: np.ndarray) -> list[int]:
    """Return the rows of the highest cosine similarities, by sorting those of all rows."""
    cosines = np.concatenate(
        [
            block @ query / np.linalg.norm(block, axis=1)
            for block in (
                np.asarray(array[start : start + BLOCK], np.float64)
                for start in range(0, len(array), BLOCK)
            )
        ]
    )
    best: list[int] = np.argsort(-cosines, kind="stable")[:TOP].tolist()
    return best
