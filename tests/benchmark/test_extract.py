"""What must not unpack does not: paths that leave the folder, links, devices, damaged archives."""

import hashlib
import tarfile
import zipfile
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
