"""Tables and lists of an archive: what is not text is named with its file."""

from pathlib import Path

import pytest

from benchmark.data.archive_layout import read_lines, read_table
from benchmark.data.clip import TaskDataError

PACKED = b"\x1f\x8b\x08\x00\xaa\xff packed"


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(PACKED)
    with pytest.raises(TaskDataError, match=r"table\.csv: no text in UTF-8 .*fetch the file again"):
        list(read_table(path, ("a",)))
    with pytest.raises(TaskDataError, match=r"table\.csv: no text in UTF-8"):
        read_lines(path)


def test_a_table_broken_off_or_spoilt_in_the_middle_is_named_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_text("a,b\n1,2\n3\n")
    with pytest.raises(TaskDataError, match="line 3: 1 values for 2 columns"):
        list(read_table(path, ("a", "b")))
    path.write_bytes(b"a,b\n1,2\n" + 9000 * b"1,2\n" + PACKED)
    with pytest.raises(TaskDataError, match="no text in UTF-8"):
        list(read_table(path, ("a", "b")))


def test_a_byte_order_mark_and_blank_lines_are_no_content(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("\ufeffa,b\n\n 1,2 \n", encoding="utf-8")
    assert read_lines(path) == ["a,b", "1,2"]
    assert [row for _, row in read_table(path, ("a",))] == [{"a": "1"}]
