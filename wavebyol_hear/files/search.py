"""The files that sound most like one: `wavebyol search DIR query.wav`.

The search is exact: every row's cosine similarity is computed, block by block from the mapped
array, so memory stays small whatever the number of rows.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

from wavebyol_hear.audio import read_audio
from wavebyol_hear.files.command import printable
from wavebyol_hear.files.extras import require
from wavebyol_hear.files.model_spec import HearError

BLOCK_BYTES = 1 << 22
"""Of embeddings that are compared at once: they stay in the cache while their norms are taken."""


def nearest(array: np.ndarray, query: np.ndarray, top: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of highest cosine similarity with a query, the highest first.

    A row of zeros has similarity 0. Of rows that are equally similar the first come first.

    Args:
        array: embeddings, float32 or float16, possibly mapped from disk.
        query: an embedding.
        top: how many rows, >= 1.

    Shape:
        array [N, D], query [D] -> int64 [min(top, N)], float32 [min(top, N)].

    Example:
        >>> rows, similarities = nearest(np.eye(3, dtype=np.float32), np.array([0.0, 2, 1]), 2)
        >>> rows.tolist(), [f"{value:.2f}" for value in similarities]
        ([1, 2], ['0.89', '0.45'])
    """
    if query.shape != array.shape[1:]:
        raise ValueError(f"query is {list(query.shape)}: the array is {list(array.shape)}")
    if top < 1:
        raise ValueError(f"top is {top}: give 1 or more")
    unit = query.astype(np.float64)
    unit = (unit / (np.linalg.norm(unit) or 1.0)).astype(np.float32)
    step = max(1, BLOCK_BYTES // (4 * array.shape[1]))
    rows, best = np.empty(0, np.int64), np.empty(0, np.float32)
    for start in range(0, len(array), step):
        block = np.asarray(array[start : start + step], dtype=np.float32)
        norms = np.sqrt(np.einsum("nd,nd->n", block, block))
        similarities = block @ unit / np.where(norms > 0, norms, 1)
        if len(best) == top:  # most blocks have nothing to add
            higher = np.flatnonzero(similarities > best[-1])
        else:
            higher = np.arange(len(similarities))
        rows = np.concatenate([rows, start + higher])
        best = np.concatenate([best, similarities[higher]])
        order = np.argsort(-best, kind="stable")[:top]
        rows, best = rows[order], best[order]
    return rows, best


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what `wavebyol search` takes."""
    parser.add_argument("folder", metavar="DIR", help="output folder of `wavebyol embed`")
    parser.add_argument("query", metavar="QUERY", help="audio file to compare with")
    parser.add_argument(
        "--top", type=int, default=10, metavar="N", help="results to print (default: 10)"
    )
    parser.add_argument("--device", default="cpu", help="device for the query (default: cpu)")
    parser.add_argument("--json", action="store_true", help="print one JSON object per line")


def run(args: argparse.Namespace) -> int:
    """Print the rows of a folder that are most similar to a file; return the exit status.

    Raises:
        HearError: the folder's model cannot be loaded or does not fit its rows.
        AudioError: the query cannot be used.
        EmbeddingsError: the folder holds no embeddings.
        MissingExtraError: the extra `files` is not installed.
    """
    require("pyarrow", "files", "wavebyol search")
    from wavebyol_hear.files.parquet import load, read_metadata

    if args.top < 1:
        raise HearError(f"--top {args.top}: give 1 or more")
    index, array = load(args.folder)
    metadata = read_metadata(index.schema)
    query = _embed(args.query, args.folder, metadata, array.shape[1], args.device)
    found = zip(*nearest(array, query, args.top), strict=True)
    for rank, (row, similarity) in enumerate(found, start=1):
        values = {name: index[name][int(row)].as_py() for name in ("path", "start", "end")}
        if args.json:
            line = json.dumps({"rank": rank, "similarity": round(float(similarity), 6)} | values)
        else:
            span = f"{values['start']:.2f}-{values['end']:.2f} s"
            line = f"{rank:>3}  {similarity:+.4f}  {printable(values['path'])}  {span}"
        sys.stdout.write(f"{line}\n")
    return 0


def _embed(query: str, folder: str, metadata: dict[str, Any], size: int, device: str) -> np.ndarray:
    """Return the embedding of a query by the model of a folder, [size]."""
    from wavebyol_hear.files.hear_module import load as load_model
    from wavebyol_hear.files.weights_hash import tensors_hash

    if not metadata.get("model"):
        raise HearError(f"{folder}: does not say by which model; embed again with wavebyol embed")
    spec, options = str(metadata["model"]), metadata.get("options", {})
    if options.get("timestamps"):
        raise HearError(f"{folder}: holds instants, not clips; embed without --timestamps")
    precision = metadata.get("precision")  # "as loaded" of modules that do not say
    known = precision if precision in ("fp32", "bf16") else "fp32"
    model = load_model(spec, device, precision=known)
    if model.size != size:
        raise HearError(
            f"{folder}: rows have {size} numbers, {spec} gives {model.size}; embed again"
        )
    if metadata.get("weights_hash") != tensors_hash(model.model):
        sys.stderr.write(
            f"warning: {folder} was embedded by other weights than {spec} has now: similarities "
            "mean little; embed again\n"
        )
    wave = read_audio(Path(query), model.sample_rate)
    embedding: np.ndarray = model.scenes(wave[None])[0]
    return embedding
