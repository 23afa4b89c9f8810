"""Tables with an audio column, as Hugging Face datasets are stored: Parquet, and Arrow streams.

A column of audio is a struct with `bytes` and `path`, or plain binary.
"""

from collections.abc import Iterator
from itertools import chain

import pyarrow as pa
import pyarrow.parquet as pq

from wavebyol_hear.files.tables import TableError

NAMES = ("audio", "flac", "wav", "mp3", "ogg")
"""Columns that are taken for audio where they are plain binary."""
ROWS_AT_ONCE = 16
GROUP_BYTES = 1 << 28


def has_audio(path: str) -> bool:
    """Return whether a table has an audio column; a damaged one counts, to be named as an error."""
    try:
        return _column(_schema(path)) is not None
    except (pa.ArrowException, OSError):
        return True


def row_groups(path: str, rows: int) -> Iterator[tuple[int, int]]:
    """Yield runs of row groups, first and one after the last, of about `rows` rows each.

    A run ends as well before it has more than 256 MB; a damaged table is one run.

    Raises:
        TableError: the table has no audio column.
    """
    try:
        schema = _schema(path)
    except (pa.ArrowException, OSError):
        yield 0, 0
        return
    if _column(schema) is None:
        raise TableError(
            f"{path}: has no audio column (a struct of bytes and path); it has "
            f"{', '.join(schema.names)[:80]}"
        )
    if not _is_parquet(path):
        yield 0, 0
        return
    metadata = pq.read_metadata(path)
    first, count, size = 0, 0, 0
    for group in range(metadata.num_row_groups):
        here = metadata.row_group(group)
        if count and (count + here.num_rows > rows or size + here.total_byte_size > GROUP_BYTES):
            yield first, group
            first, count, size = group, 0, 0
        count += here.num_rows
        size += here.total_byte_size
    if count:
        yield first, metadata.num_row_groups


def audio_rows(path: str, groups: tuple[int, int]) -> Iterator[tuple[str, bytes | None, str]]:
    """Yield name, bytes (None where there are none) and path (or "") of the rows of a run.

    The name is `<table>::<path of the audio, else row number>`.

    Raises:
        OSError, pyarrow.ArrowException: the table is damaged.
    """
    column = str(_column(_schema(path)))
    if _is_parquet(path):
        file = pq.ParquetFile(path, pre_buffer=False)
        row = sum(file.metadata.row_group(group).num_rows for group in range(groups[0]))
        batches = file.iter_batches(ROWS_AT_ONCE, row_groups=[*range(*groups)], columns=[column])
    else:
        row, batches = 0, _stream(path, column)
    for value in chain.from_iterable(batch.column(0) for batch in batches):
        audio = value.as_py()
        data, inner = audio, ""
        if isinstance(audio, dict):
            data, inner = audio.get("bytes"), audio.get("path") or ""
        yield f"{path}::{inner or row}", data, inner
        row += 1


def _is_parquet(path: str) -> bool:
    return path.lower().endswith(".parquet")


def _stream(path: str, column: str) -> Iterator[pa.RecordBatch]:
    """Yield a column of an Arrow stream, as `Dataset.save_to_disk` writes it."""
    with pa.memory_map(path) as source, pa.ipc.open_stream(source) as reader:
        for batch in reader:
            yield batch.select([column])


def _schema(path: str) -> pa.Schema:
    if _is_parquet(path):
        return pq.read_schema(path)
    with pa.memory_map(path) as source, pa.ipc.open_stream(source) as reader:
        return reader.schema


def _column(schema: pa.Schema) -> str | None:
    for field in schema:
        if pa.types.is_struct(field.type) and field.type.get_field_index("bytes") >= 0:
            return str(field.name)
    for field in schema:
        binary = pa.types.is_binary(field.type) or pa.types.is_large_binary(field.type)
        if field.name in NAMES and binary:
            return str(field.name)
    return None
