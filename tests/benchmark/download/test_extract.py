"""What must not unpack does not: paths that leave the folder, links, devices, damaged archives."""

import bz2
import gzip
import hashlib
import io
import lzma
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark.download.extract import ExtractError, unpack
from tests.benchmark.file_server import tar_of, zip_of


def write_zip(path: Path, name: str, mode: int) -> None:
    member = zipfile.ZipInfo(name)
    member.external_attr = mode << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("good.wav", b"good")
        archive.writestr(member, b"/etc/passwd")


def write_tar(path: Path, name: str, kind: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, "/etc/passwd"
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("good.wav"))
        archive.addfile(member)


@pytest.mark.parametrize(
    "name", ["../evil", "/tmp/evil", "a/../../evil", "a\\..\\evil", "C:/evil", "a/.."]
)
@pytest.mark.parametrize("suffix", ["zip", "tar.gz"])
def test_a_path_that_leaves_the_folder_is_refused(name: str, suffix: str, tmp_path: Path) -> None:
    archive = tmp_path / f"a.{suffix}"
    if suffix == "zip":
        write_zip(archive, name, 0o100644)
    else:
        write_tar(archive, name, tarfile.REGTYPE)
    with pytest.raises(ExtractError, match="leads out of the folder"):
        unpack([archive], tmp_path / "out/inner")
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_in_a_tar_are_refused(kind: bytes, tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar.gz", "odd", kind)
    with pytest.raises(ExtractError, match="'odd' is a link or a device"):
        unpack([tmp_path / "a.tar.gz"], tmp_path / "out")
    assert not (tmp_path / "out/odd").exists()


@pytest.mark.parametrize("mode", [0o120777, 0o020666, 0o010644])
def test_links_and_devices_in_a_zip_are_refused(mode: int, tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", "odd", mode)
    with pytest.raises(ExtractError, match="'odd' is a link or a device"):
        unpack([tmp_path / "a.zip"], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("suffix", ["zip", "tar.gz"])
def test_a_damaged_archive_is_named(suffix: str, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made/a.wav").write_bytes(hashlib.shake_128(b"a").digest(50_000))
    content = zip_of(tmp_path / "made") if suffix == "zip" else tar_of(tmp_path / "made")
    archive = tmp_path / f"a.{suffix}"
    archive.write_bytes(content[:20_000])
    with pytest.raises(ExtractError, match="cannot be unpacked"):
        unpack([archive], tmp_path / "out")


def packed(tmp_path: Path) -> bytes:
    (tmp_path / "made").mkdir()
    for name in "abcd":
        (tmp_path / "made" / f"{name}.wav").write_bytes(hashlib.shake_128(b"x").digest(5_000))
    return tar_of(tmp_path / "made")


@pytest.mark.parametrize("suffix", ["tar.gz", "tgz"])
def test_a_wrong_checksum_of_the_compression_is_named(tmp_path: Path, suffix: str) -> None:
    archive = tmp_path / f"a.{suffix}"
    archive.write_bytes(packed(tmp_path)[:-8] + bytes(8))
    with pytest.raises(ExtractError, match="cannot be unpacked"):
        unpack([archive], tmp_path / "out")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, bytes])
def test_a_tar_with_a_hole_of_zeros_is_named_and_a_whole_one_is_unpacked(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    raw = bytearray(gzip.decompress(packed(tmp_path)))
    suffix = {gzip.compress: "tar.gz", bz2.compress: "tar.bz2", lzma.compress: "tar.xz"}
    archive = tmp_path / f"a.{suffix.get(pack, 'tar')}"
    archive.write_bytes(pack(bytes(raw)))
    unpack([archive], tmp_path / "whole")
    names = sorted(path.name for path in (tmp_path / "whole").iterdir())
    assert names == ["a.wav", "b.wav", "c.wav", "d.wav"]
    with tarfile.open(fileobj=io.BytesIO(raw)) as opened:
        at = [member for member in opened if member.isreg()][2].offset
    raw[at : at + 1024] = bytes(1024)
    archive.write_bytes(pack(bytes(raw)))
    with pytest.raises(ExtractError, match="it goes on after its end"):
        unpack([archive], tmp_path / "out")
