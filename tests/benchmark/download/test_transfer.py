"""A file comes from a server on loopback: resumed, verified, and never two versions joined."""

import shutil
from pathlib import Path

import pytest

from benchmark.download import transfer
from benchmark.download.transfer import BLOCK_BYTES, DownloadError, fetch
from tests.benchmark.file_server import Server, md5


def test_a_broken_transfer_goes_on(server: Server, tmp_path: Path) -> None:
    content = bytes(range(256)) * 4000
    server.files["a.zip"] = content
    server.breaks = [5 * BLOCK_BYTES, 3 * BLOCK_BYTES + 100]
    path, remark = fetch(server.source("a.zip", md5(content)), tmp_path)
    assert path.read_bytes() == content
    assert remark == ""
    assert server.served == len(content) + 100  # none came twice but those of a broken block
    wanted = [f"bytes={blocks * BLOCK_BYTES}-" for blocks in (5, 8)]
    assert [asked for _, asked in server.asked] == [None, *wanted]


@pytest.mark.parametrize("known", [True, False])
def test_the_next_command_goes_on_too(known: bool, server: Server, tmp_path: Path) -> None:
    content = bytes(range(256)) * 4000
    server.files["a.zip"] = content
    source = server.source("a.zip", md5(content) if known else "")
    server.breaks = [4 * BLOCK_BYTES, 0, 0, 0, 0, 0]
    with pytest.raises(DownloadError, match="262144 bytes are kept"):
        fetch(source, tmp_path)
    server.breaks.clear()
    path, _ = fetch(source, tmp_path)
    assert path.read_bytes() == content
    assert server.served == len(content)
    assert [file.name for file in tmp_path.iterdir()] == ["a.zip"]


def test_two_versions_of_a_file_are_never_joined(server: Server, tmp_path: Path) -> None:
    server.files["a.zip"] = b"old" * 1000
    server.breaks = [500, 0, 0, 0, 0, 0]
    with pytest.raises(DownloadError):
        fetch(server.source("a.zip"), tmp_path)
    server.files["a.zip"] = b"new" * 1000
    server.breaks.clear()
    path, _ = fetch(server.source("a.zip"), tmp_path)
    assert path.read_bytes() == b"new" * 1000


def test_without_checksum_and_version_a_transfer_starts_anew(
    server: Server, tmp_path: Path
) -> None:
    server.tags = False
    server.files["a.zip"] = b"abc" * 1000
    server.breaks = [500]
    path, _ = fetch(server.source("a.zip"), tmp_path)
    assert path.read_bytes() == b"abc" * 1000
    assert server.asked == [("a.zip", None)] * 2


def test_a_transfer_cut_off_after_its_last_byte_is_done(server: Server, tmp_path: Path) -> None:
    content = b"abc" * 1000
    server.files["a.zip"] = content
    (tmp_path / "a.zip.part").write_bytes(content)
    path, _ = fetch(server.source("a.zip", md5(content)), tmp_path)
    assert path.read_bytes() == content
    assert server.served == 0


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.files["a.zip"], server.busy = b"abc", 2
    path, _ = fetch(server.source("a.zip", md5(b"abc")), tmp_path)
    assert path.read_bytes() == b"abc"
    assert len(server.asked) == 3


def test_a_missing_archive_is_named(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"404.*absent\.zip"):
        fetch(server.source("absent.zip"), tmp_path)


def test_a_full_disk_is_told_before_the_transfer(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["a.zip"] = b"abc" * 1000
    usage = shutil.disk_usage(tmp_path)._replace(free=2999)
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DownloadError, match="make room"):
        fetch(server.source("a.zip"), tmp_path)
