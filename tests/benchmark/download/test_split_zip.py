"""A ZIP in parts, as FSD50K's, is put together from its parts."""

import hashlib
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark.download import __main__ as download
from benchmark.download.extract import ExtractError, unpack
from tests.benchmark.file_server import Server, md5, zip_of


def split_zip(whole: bytes, cuts: list[int]) -> list[bytes]:
    """Cut a ZIP into parts and give each member and the directory its part and place there.

    The fields are those of APPNOTE.TXT, 4.3.12 and 4.3.16.
    """
    data = bytearray(whole)
    ends = [*cuts, len(data)]

    def part_of(place: int) -> tuple[int, int]:
        number = sum(place >= cut for cut in cuts)
        return number, place - (0 if number == 0 else cuts[number - 1])

    tail = data.rindex(b"PK\5\6")
    directory = int.from_bytes(data[tail + 16 : tail + 20], "little")
    at = directory
    while data[at : at + 4] == b"PK\1\2":
        number, place = part_of(int.from_bytes(data[at + 42 : at + 46], "little"))
        data[at + 34 : at + 36] = number.to_bytes(2, "little")
        data[at + 42 : at + 46] = place.to_bytes(4, "little")
        at += 46 + sum(int.from_bytes(data[at + i : at + i + 2], "little") for i in (28, 30, 32))
    number, place = part_of(directory)
    data[tail + 4 : tail + 6] = len(cuts).to_bytes(2, "little")
    data[tail + 6 : tail + 8] = number.to_bytes(2, "little")
    data[tail + 16 : tail + 20] = place.to_bytes(4, "little")
    return [bytes(data[a:b]) for a, b in zip([0, *cuts], ends, strict=True)]


@pytest.mark.parametrize("in_directory", [False, True])
def test_fsd50k_comes_in_parts(in_directory: bool, server: Server, tmp_path: Path) -> None:
    audio = tmp_path / "made/FSD50K.dev_audio"
    audio.mkdir(parents=True)
    for number in range(20):
        noise = hashlib.shake_128(b"%d" % number).digest(5000 + number)
        (audio / f"{number}.wav").write_bytes(noise)
    whole = zip_of(tmp_path / "made")
    directory = whole.index(b"PK\1\2")
    cuts = [30_000, directory + 100 if in_directory else 70_000]  # inside members and directory
    for suffix, part in zip(("z01", "z02", "zip"), split_zip(whole, cuts), strict=True):
        server.files[f"FSD50K.dev_audio.{suffix}"] = part
    sources = tuple(server.source(name, md5(part)) for name, part in server.files.items())
    corpus = replace(download.FSD50K, sources=sources)
    download.bring(corpus, tmp_path / "data")
    brought = tmp_path / "data/fsd50k/FSD50K.dev_audio"
    assert {p.name: p.read_bytes() for p in brought.iterdir()} == {
        p.name: p.read_bytes() for p in audio.iterdir()
    }


def test_a_part_that_is_missing_is_named(tmp_path: Path) -> None:
    parts = [tmp_path / "a.z02", tmp_path / "a.zip"]
    for part in parts:
        part.write_bytes(b"PK")
    with pytest.raises(ExtractError, match=r"the part a\.z01 is missing.*zip -s 0"):
        unpack(parts, tmp_path / "out")
