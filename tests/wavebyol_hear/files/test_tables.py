"""CSV files of every make are read alike, and unusable ones are named in one line."""

from pathlib import Path

import pytest

from wavebyol_hear.files.tables import TableError, read_table

ROWS = [(2, {"path": "a, b.wav", "label": "dog"}), (3, {"path": "ü.wav", "label": "7"})]
TEXT = 'path{0}label{0}note\n"a, b.wav"{0}dog{0}\nü.wav{0}7{0}x\n'


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_encodings_delimiters_and_line_ends_read_alike(
    tmp_path: Path, delimiter: str, encoding: str, end: str
) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(TEXT.format(delimiter).replace("\n", end).encode(encoding))
    assert list(read_table(path, ("path", "label"))) == ROWS


def test_columns_are_found_without_case_and_in_any_order(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(" Label ,PATH\ncat, a.wav \n\nx,y,z\n")
    with pytest.raises(TableError, match="line 4: 3 values for 2 columns"):
        list(read_table(path, ("path", "label")))
    path.write_text(" Label ,PATH\ncat, a.wav \n\n")
    rows = list(read_table(path, ("path",), ("label", "group")))
    assert rows == [(2, {"path": "a.wav", "label": "cat"})]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"lacks the column path, label \(it has no header\)"),
        (b"file,label\n", r"lacks the column path \(it has file, label\)"),
        (b"path,label\na.wav,\xff\xfe\n", "no text in UTF-8 or UTF-16"),
        (b'path,label\n"a.wav,dog\n', "no CSV table"),
        (b"path,label\na,b,c.wav,dog\n", "line 2: 4 values for 2 columns; quote"),
    ],
)
def test_unusable_tables_are_named(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(content)
    with pytest.raises(TableError, match=message) as caught:
        list(read_table(path, ("path", "label")))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
