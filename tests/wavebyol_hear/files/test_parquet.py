"""Embeddings in Parquet parts: what is written is read back, and what is unfinished is said."""

import os
from pathlib import Path

import numpy as np
import pytest

pa = pytest.importorskip("pyarrow")

from wavebyol_hear import files  # noqa: E402
from wavebyol_hear.files import parquet  # noqa: E402

SIZE = 5


def write_part(folder: Path, number: int, first: int, rows: int, dtype: str) -> np.ndarray:
    embeddings = np.random.default_rng(number).normal(size=(rows, SIZE)).astype(dtype)
    schema = parquet.embedding_schema(SIZE, dtype, {"model": "m", "options": {"window": 2.5}})
    path = folder / f"part-{number:06d}-{number:016x}.parquet"
    with parquet.part_writer(path, schema, {"errors": "[]"}) as write:
        for begin in range(0, rows, 2):
            block = embeddings[begin : begin + 2]
            n = len(block)
            index = {
                "path": [f"clip {first + begin + i}\n.wav" for i in range(n)],
                "start": np.full(n, 0.5),
                "end": np.full(n, 3.0),
                "duration": np.full(n, 4.0),
                "sample_rate": np.full(n, 48_000),
            }
            write(index, block)
    return embeddings


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_what_is_written_is_read_back(tmp_path: Path, dtype: str) -> None:
    written = [write_part(tmp_path, 0, 0, 3, dtype), write_part(tmp_path, 1, 3, 4, dtype)]
    for _ in range(2):  # the second time from the copy beside
        index, array = files.load(tmp_path)
        assert isinstance(array, np.memmap)
        assert array.dtype == dtype
        assert np.array_equal(array, np.concatenate(written))
        assert index["path"].to_pylist() == [f"clip {i}\n.wav" for i in range(7)]
        assert index["start"].to_pylist() == [0.5] * 7
        assert index.column_names == ["path", "start", "end", "duration", "sample_rate"]
        assert parquet.read_metadata(index.schema) == {
            "format": parquet.FORMAT,
            "model": "m",
            "options": {"window": 2.5},
        }
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 0


def test_a_new_part_is_noticed_and_the_old_copy_goes(tmp_path: Path) -> None:
    first = write_part(tmp_path, 0, 0, 3, "float32")
    files.load(tmp_path)
    second = write_part(tmp_path, 1, 3, 1, "float32")
    assert np.array_equal(files.load(tmp_path)[1], np.concatenate([first, second]))
    assert len(list(tmp_path.glob(".embeddings-*.npy"))) == 1


def test_a_folder_that_cannot_be_written_is_read_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = write_part(tmp_path, 0, 0, 3, "float32")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", str(tmp_path))

    monkeypatch.setattr(parquet, "write_array", refuse)
    array = files.load(tmp_path)[1]
    assert np.array_equal(array, written)
    assert not array.flags.writeable
    assert len(os.listdir(tmp_path)) == 1


def test_unfinished_damaged_and_empty_folders_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(parquet.EmbeddingsError, match="holds no embeddings") as caught:
        files.load(tmp_path)
    assert str(tmp_path) in str(caught.value)
    write_part(tmp_path, 1, 0, 3, "float32")
    with pytest.raises(parquet.EmbeddingsError, match="not finished"):
        files.load(tmp_path)
    write_part(tmp_path, 0, 0, 3, "float32")
    write_part(tmp_path, 1, 0, 3, "float32").tofile(tmp_path / "x")
    (tmp_path / f"part-000001-{9:016x}.parquet").write_bytes(b"")
    with pytest.raises(parquet.EmbeddingsError, match="outdated"):
        files.load(tmp_path)
    (tmp_path / f"part-000001-{9:016x}.parquet").unlink()
    (tmp_path / f"part-000001-{1:016x}.parquet").write_bytes(b"PAR1")
    with pytest.raises(parquet.EmbeddingsError, match="damaged"):
        files.load(tmp_path)


def test_nothing_is_left_of_a_part_that_broke_off(tmp_path: Path) -> None:
    schema = parquet.embedding_schema(SIZE, "float32", {})
    path = tmp_path / f"part-000000-{0:016x}.parquet"
    with pytest.raises(KeyboardInterrupt), parquet.part_writer(path, schema, {}):
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []
