"""Embeddings on disk: numbered Parquet parts that appear whole, read back as index and array.

A folder holds `part-<number>-<digest>.parquet` files, or `embeddings.npy` beside `index.parquet`.
The schema's metadata says which model made the embeddings and how.
"""

import hashlib
import json
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from wavebyol_hear.files.atomic import atomic_write
from wavebyol_hear.files.read_ahead import ahead
from wavebyol_hear.files.stores import (
    is_remote,
    location,
    named_errors,
    names_in,
    opened,
    threads_for,
)

METADATA = b"wavebyol"
"""Key of the schema's metadata: JSON with format, model, weights hash and options."""
FORMAT = "wavebyol-embeddings/1"
LIST = b"wavebyol_parts"
"""Key of the metadata of `index.parquet`: JSON, the names of the parts that were merged."""
EMBEDDING = "embedding"
INDEX_COLUMNS = pa.schema(
    [
        pa.field("path", pa.string(), nullable=False),
        pa.field("start", pa.float64(), nullable=False),
        pa.field("end", pa.float64(), nullable=False),
        pa.field("duration", pa.float64(), nullable=False),
        pa.field("sample_rate", pa.int32(), nullable=False),
    ]
)
"""What the file is, the seconds that a row embeds, and the file's own seconds and rate in Hz."""
PART_NAME = re.compile(r"part-(\d{6,})-([0-9a-f]{16})\.parquet")
EMBEDDINGS, INDEX, ERRORS = "embeddings.npy", "index.parquet", "errors.parquet"
CACHE = ".embeddings-{}.npy"
"""Copy of the parts' embeddings in one array, named by a digest of the parts."""
BLOCK_BYTES = 1 << 24


class EmbeddingsError(ValueError):
    """A folder that holds no embeddings that can be read: one line with the remedy."""


def embedding_schema(size: int, dtype: str, metadata: Mapping[str, Any]) -> pa.Schema:
    """Return the schema of a table of embeddings.

    Args:
        size: numbers of an embedding, >= 1.
        dtype: of these, `float32` or `float16`.
        metadata: model, weights hash and options; anything JSON holds.
    """
    kind = pa.list_(pa.from_numpy_dtype(np.dtype(dtype)), size)
    field = pa.field(EMBEDDING, kind, nullable=False)
    text = json.dumps({"format": FORMAT} | dict(metadata), sort_keys=True)
    return INDEX_COLUMNS.append(field).with_metadata({METADATA: text.encode()})


def read_metadata(schema: pa.Schema) -> dict[str, Any]:
    """Return what a schema says of the model and the options; {} where it says nothing."""
    text = (schema.metadata or {}).get(METADATA)
    return dict(json.loads(text)) if text else {}


@contextmanager
def part_writer(
    path: Path, schema: pa.Schema, metadata: Mapping[str, str]
) -> Iterator[Callable[[Mapping[str, Any], np.ndarray], None]]:
    """Write a Parquet file that appears whole, or not at all, when the block ends.

    The metadata is of the file, beside the schema's.

    Yields:
        A function that appends a row group: it takes the columns of `INDEX_COLUMNS` by name and the
        embeddings.

    Shape:
        each column [n], embeddings [n, size].
    """
    kind = schema.field(EMBEDDING).type

    def write(index: Mapping[str, Any], embeddings: np.ndarray) -> None:
        flat = pa.array(np.ascontiguousarray(embeddings).reshape(-1), kind.value_type)
        columns = [pa.array(index[f.name], f.type) for f in INDEX_COLUMNS]
        columns.append(pa.FixedSizeListArray.from_arrays(flat, type=kind))
        writer.write_batch(pa.RecordBatch.from_arrays(columns, schema=schema))

    # Embeddings are close to random numbers: they gain nothing by compression or a dictionary.
    plain = {f"{EMBEDDING}.list.element": "none"}
    with (
        atomic_write(path) as file,
        pq.ParquetWriter(
            file,
            schema,
            compression=dict.fromkeys(INDEX_COLUMNS.names, "zstd") | plain,
            use_dictionary=["path"],
            write_statistics=["path", "start"],
        ) as writer,
    ):
        yield write
        writer.add_key_value_metadata(metadata)


def part_paths(folder: Path) -> list[Path]:
    """Return the parts in a folder by number.

    Raises:
        EmbeddingsError: two parts have one number or one is missing: the run is not finished.
    """
    matches = filter(None, map(PART_NAME.fullmatch, names_in(folder)))
    numbered = sorted((int(match[1]), match[0]) for match in matches)
    if [number for number, _ in numbered] != list(range(len(numbered))):
        raise EmbeddingsError(
            f"{folder}: is not finished, parts are missing or outdated; run the same "
            "wavebyol embed command again"
        )
    return [folder / name for _, name in numbered]


def load(folder: str | Path) -> tuple[pa.Table, np.ndarray]:
    """Read embeddings that `wavebyol embed --out DIR` wrote.

    The array is mapped from disk, whichever the format: of Parquet parts, the first call writes it
    once to a hidden file in the folder (as large as the parts); where that cannot be written, the
    array is held in memory. Of an object store each call fetches all to a temporary file.

    Returns:
        The index, a pyarrow table with the columns `path`, `start`, `end`, `duration` and
        `sample_rate`, and the array, read-only; row i of one belongs to row i of the other. The
        table's schema has the metadata, see `read_metadata`.

    Shape:
        N rows, array float32 or float16 [N, D].

    Raises:
        EmbeddingsError: the folder holds no embeddings, or not yet all.
        OSError: an object store cannot be reached, or refuses.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> schema = embedding_schema(2, "float32", {"model": "wavebyol_hear"})
        >>> row = {"path": ["a.wav"], "start": [0.0], "end": [1.5], "duration": [1.5]}
        >>> with part_writer(folder / f"part-000000-{0:016x}.parquet", schema, {}) as write:
        ...     write(row | {"sample_rate": [16000]}, np.ones((1, 2), np.float32))
        >>> index, array = load(folder)
        >>> index["path"].to_pylist(), array.tolist()
        (['a.wav'], [[1.0, 1.0]])
    """
    folder = location(folder)
    with named_errors(folder):
        if (folder / EMBEDDINGS).is_file() and (folder / INDEX).is_file():
            index, array = pq.read_table(folder / INDEX), _mapped(folder / EMBEDDINGS)
            if index.num_rows != len(array):
                raise EmbeddingsError(f"{folder}: is not finished; run wavebyol embed again")
            return index, array
        paths = part_paths(folder)
        if not paths:
            raise EmbeddingsError(f"{folder}: holds no embeddings; make them with wavebyol embed")
        try:
            index = pa.concat_tables(list(ahead(_index, paths, threads_for(folder))))
            return index, _array(folder, paths, index.num_rows)
        except pa.ArrowInvalid as error:
            raise EmbeddingsError(f"{folder}: a part is damaged ({error}); embed again") from error


def _index(path: Path) -> pa.Table:
    """Return the index columns of a part."""
    with opened(path) as file:
        return pq.read_table(file, columns=INDEX_COLUMNS.names)


def blocks(paths: Sequence[Path]) -> Iterator[np.ndarray]:
    """Yield the embeddings of Parquet parts in blocks of rows, [n, D] each."""
    for path in paths:
        with opened(path) as source, pq.ParquetFile(source, pre_buffer=False) as file:
            kind = file.schema_arrow.field(EMBEDDING).type
            step = max(1, BLOCK_BYTES // (4 * kind.list_size))
            for batch in file.iter_batches(step, columns=[EMBEDDING]):
                values = batch.column(0).flatten().to_numpy(zero_copy_only=False)
                yield values.reshape(-1, kind.list_size)


def write_array(path: Path, paths: Sequence[Path], rows: int) -> None:
    """Write the embeddings of Parquet parts to one .npy file that appears whole."""
    with opened(paths[0]) as source:
        kind = pq.read_schema(source).field(EMBEDDING).type
    dtype = np.dtype(kind.value_type.to_pandas_dtype())
    with atomic_write(path) as file:
        head = {"descr": dtype.str, "fortran_order": False, "shape": (rows, kind.list_size)}
        np.lib.format.write_array_header_1_0(file, head)
        for block in blocks(paths):
            file.write(block.astype(dtype, copy=False).data)


def merge(folder: Path, paths: Sequence[Path]) -> None:
    """Turn the parts in a folder into one array and its index, and remove them.

    The index notes the parts' names last, see `merged_list`: a run that was stopped before that
    merges again.
    """
    index = pa.concat_tables([_index(path) for path in paths])
    write_array(folder / EMBEDDINGS, paths, index.num_rows)
    names = json.dumps([path.name for path in paths]).encode()
    with atomic_write(folder / INDEX) as file:
        pq.write_table(index.replace_schema_metadata(index.schema.metadata | {LIST: names}), file)
    for path in paths:
        path.unlink()


def merged_list(folder: Path) -> list[str] | None:
    """Return the names of the parts that `merge` turned into one array; None where it did not."""
    if is_remote(folder):  # is refused there
        return None
    try:
        metadata = pq.read_schema(folder / INDEX).metadata or {}
        return list(json.loads(metadata[LIST])) if (folder / EMBEDDINGS).exists() else None
    except (OSError, pa.ArrowException, KeyError):
        return None


def _array(folder: Path, paths: Sequence[Path], rows: int) -> np.ndarray:
    """Return the embeddings of parts, from the copy beside them, or in memory."""
    if is_remote(folder):
        with tempfile.TemporaryDirectory() as own:
            write_array(Path(own, EMBEDDINGS), paths, rows)
            return _mapped(Path(own, EMBEDDINGS))
    names = json.dumps([[path.name, path.stat().st_size] for path in paths])
    cache = folder / CACHE.format(hashlib.blake2b(names.encode(), digest_size=8).hexdigest())
    if not cache.is_file():
        try:
            write_array(cache, paths, rows)
        except OSError:  # read-only or full
            array = np.concatenate(list(blocks(paths)))
            array.flags.writeable = False
            return array
        for old in folder.glob(CACHE.format("*")):
            if old != cache:
                old.unlink(missing_ok=True)
    return _mapped(cache)


def _mapped(path: Path) -> np.ndarray:
    array: np.ndarray = np.load(path, mmap_mode="r")
    return array
