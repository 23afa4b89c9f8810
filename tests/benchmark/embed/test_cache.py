"""The array on disk: filled in any order, refuses a full disk, finds what was tampered with."""

import os
import shutil
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from benchmark.embed.cache import CacheError, EmbeddingArray, cache_folder


def test_rows_come_back_in_place_whatever_the_order(tmp_path: Path) -> None:
    values = np.random.default_rng(0).standard_normal((7, 5)).astype(np.float32)
    array = EmbeddingArray(tmp_path, 7, 5)
    for row in (3, 0, 6):
        array.write(row, values[row])
    array.save()
    later = EmbeddingArray(tmp_path, 7, 5)
    assert later.todo().tolist() == [1, 2, 4, 5]
    for row in later.todo():
        later.write(row, values[row])
    embeddings, rows = later.finished()
    np.testing.assert_array_equal(embeddings, values)
    assert rows.tolist() == list(range(7))


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="no /proc tells the memory")
def test_rows_leave_the_memory_while_written_and_are_read_again(tmp_path: Path) -> None:
    def resident() -> int:
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    array, values = EmbeddingArray(tmp_path, 40, 1 << 18), np.arange(1 << 18, dtype=np.float32)
    before = resident()
    for row in range(40):
        array.write(row, values)
        assert resident() - before < 25 << 20  # of 40 MiB when all are written
    array.save()
    assert resident() - before < 10 << 20
    np.testing.assert_array_equal(array.embeddings[39], values)


@pytest.mark.parametrize("name", ["embeddings.npy", "marks.npy"])
def test_a_changed_bit_of_a_header_costs_the_array_and_no_more(tmp_path: Path, name: str) -> None:
    for bit in range(8 * 10, 8 * 128, 7):
        folder = tmp_path / f"{bit}"
        EmbeddingArray(folder, 2, 3).save()
        content = bytearray((folder / name).read_bytes())
        content[bit // 8] ^= 1 << bit % 8
        (folder / name).write_bytes(content)
        assert EmbeddingArray(folder, 2, 3).todo().tolist() == [0, 1]


def test_a_row_of_zeros_is_done_like_any_other(tmp_path: Path) -> None:
    array = EmbeddingArray(tmp_path, 2, 3)
    array.write(1, np.zeros(3, dtype=np.float32))
    array.save()
    assert EmbeddingArray(tmp_path, 2, 3).todo().tolist() == [0]


def test_rows_in_error_are_left_out_and_not_tried_again(tmp_path: Path) -> None:
    array = EmbeddingArray(tmp_path, 4, 2)
    array.progress.errors[2] = "bad"
    for row in (0, 1, 3):
        array.write(row, np.full(2, row, dtype=np.float32))
    array.save()
    later = EmbeddingArray(tmp_path, 4, 2)
    assert later.todo().tolist() == []
    embeddings, rows = later.finished()
    assert rows.tolist() == [0, 1, 3]
    assert embeddings[:, 0].tolist() == [0, 1, 3]
    assert isinstance(embeddings, np.memmap)
    assert not list(tmp_path.glob("embeddings-done*"))  # the copy has no name any more


def test_the_result_cannot_be_written_to(tmp_path: Path) -> None:
    array = EmbeddingArray(tmp_path, 1, 2)
    array.write(0, np.ones(2, dtype=np.float32))
    embeddings, _ = array.finished()
    with pytest.raises(ValueError, match="read-only"):
        embeddings[0, 0] = 5


def test_another_shape_starts_anew(tmp_path: Path) -> None:
    array = EmbeddingArray(tmp_path, 3, 2)
    array.write(0, np.ones(2, dtype=np.float32))
    assert EmbeddingArray(tmp_path, 3, 4).todo().tolist() == [0, 1, 2]


def test_a_full_disk_is_named_before_the_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: usage(10, 10, 1000))
    with pytest.raises(CacheError, match=r"needs .* GB where 0\.0 GB are free"):
        EmbeddingArray(tmp_path, 1000, 1000)


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CacheError, match="choose another --cache-dir"):
        EmbeddingArray(tmp_path / "file" / "cache", 1, 1)


def test_every_part_of_the_key_counts(tmp_path: Path) -> None:
    base = {"weights": "w", "sound": "s", "rate": 16000, "options": {"device": "cpu"}}
    folders = [cache_folder(tmp_path, "m", "t", **base), cache_folder(tmp_path, "m2", "t", **base)]
    folders += [cache_folder(tmp_path, "m", "t2", **base)]
    for part, other in (("weights", "x"), ("sound", "x"), ("rate", 8000), ("options", {})):
        folders.append(cache_folder(tmp_path, "m", "t", **(base | {part: other})))
    assert len(set(folders)) == len(folders)
    assert cache_folder(tmp_path, "m", "t", **base) == folders[0]


def test_three_hundred_thousand_rows_are_verified_in_constant_memory(tmp_path: Path) -> None:
    import time
    import zlib

    array = EmbeddingArray(tmp_path, 305979, 8)
    array.embeddings[:] = 1.0
    array.marks[:] = (1 << 32) | zlib.crc32(np.ones(8, dtype=np.float32).tobytes())
    array.marks[77] = 5
    array.save()
    start = time.process_time()
    assert EmbeddingArray(tmp_path, 305979, 8).todo().tolist() == [77]
    assert time.process_time() - start < 5
