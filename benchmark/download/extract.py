"""Archives unpacked with suspicion: plain files and folders below one folder, nothing else.

`zipfile` and `tarfile` read neither ZIP in parts nor notice a tar that is damaged in the middle.
"""

import bisect
import bz2
import contextlib
import gzip
import io
import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from tqdm import tqdm

from benchmark.data.clip import BenchmarkError

DAMAGED = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, lzma.LZMAError, zlib.error),
    *(EOFError, NotImplementedError),
)
OPENERS: dict[str, Callable[[Any], Any]]
OPENERS = {".gz": gzip.open, ".tgz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}
BAR: dict[str, Any] = {"leave": False, "delay": 1}


class ExtractError(BenchmarkError):
    """An archive that is damaged or must not be unpacked, with what to do about it."""


def check_member(archive: Path, name: str, is_plain: bool) -> None:
    """Raise unless a member is a plain file or folder and stays in its place on every system."""
    path = PurePosixPath(name)
    outside = path.is_absolute() or ".." in path.parts or any(sign in name for sign in "\\:\0")
    if outside or not is_plain:
        what = "leads out of the folder" if outside else "is a link or a device"
        raise ExtractError(
            f"{archive}: the member {name!r} {what}, which no data set needs; nothing of it is "
            "used, report it to the publisher"
        )


def unpack_zip(parts: Sequence[Path], folder: Path) -> None:
    """Unpack a ZIP archive of one file or several; every member's checksum is verified."""
    with open_zip(parts) as archive:
        members = archive.infolist()
        for member in members:
            mode = stat.S_IFMT(member.external_attr >> 16)  # 0 where it was not made on Unix
            is_plain = mode in (0, stat.S_IFREG, stat.S_IFDIR)
            check_member(parts[0], member.filename, is_plain)
        total = sum(member.file_size for member in members)
        free = shutil.disk_usage(folder).free
        if total > free:  # no fault of the archive's, which stays
            raise BenchmarkError(
                f"{parts[0]}: unpacks to {total / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB "
                "free; make room and run the command again"
            )
        title = f"unpacking {parts[-1].name}"
        with tqdm(desc=title, total=total, unit="B", unit_scale=True, **BAR) as bar:
            for member in members:
                archive.extract(member, folder)
                bar.update(member.file_size)


def unpack_tar(path: Path, folder: Path) -> None:
    """Unpack a tar archive, compressed or not, in one pass; the compression's checksum is verified.

    What follows the mark of the end is an error: part of the archive was filled with zeros.
    """
    title, size = f"unpacking {path.name}", path.stat().st_size
    with (
        open(path, "rb") as file,
        tqdm.wrapattr(file, "read", desc=title, total=size, **BAR) as counted,
        OPENERS.get(path.suffix.lower(), contextlib.nullcontext)(counted) as content,
        tarfile.open(fileobj=content, mode="r|") as archive,
    ):
        for member in archive:
            check_member(path, member.name, member.isreg() or member.isdir())
            archive.extract(member, folder, set_attrs=False, filter="data")
        while rest := archive.fileobj.read(1 << 20):  # to the end, where the checksum is
            if any(rest):
                raise tarfile.ReadError("it goes on after its end")


def archives(paths: Sequence[Path]) -> list[list[Path]]:
    """Return the files of each archive: the parts of a split ZIP belong together."""
    groups: dict[str, list[Path]] = {}
    for path in paths:
        split = path.suffix.lower() == ".zip" or path.suffix.lower()[:2] == ".z"
        groups.setdefault(path.stem if split else path.name, []).append(path)
    return list(groups.values())


def unpack(parts: Sequence[Path], folder: Path) -> None:
    """Unpack one archive."""
    folder.mkdir(parents=True, exist_ok=True)
    kind = "".join(parts[-1].suffixes[-2:]).lower()
    try:
        if parts[0].suffix.lower()[:2] == ".z":
            unpack_zip(parts, folder)
        elif kind.endswith((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")):
            unpack_tar(parts[0], folder)
        else:
            raise ExtractError(f"{parts[0]}: neither .zip nor .tar; unpack it by hand")
    except DAMAGED as error:
        remedy = "delete it and run the command again"
        if len(parts) > 1:
            whole = parts[0].with_name(f"{parts[0].stem}.zip")
            remedy += f", or join it by hand: zip -s 0 {whole} --out whole.zip"
        raise ExtractError(f"{parts[0]}: cannot be unpacked ({error}); {remedy}") from error


class _JoinedFiles(io.RawIOBase):
    """The files of a ZIP in parts, in order, end to end, as one that can be read and searched."""

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__()
        self.files: list[BinaryIO] = [open(path, "rb") for path in paths]  # noqa: SIM115
        self.starts = [0, *accumulate(path.stat().st_size for path in paths)]
        self.at = 0

    def readable(self) -> bool:
        return True

    seekable = readable

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.at = offset + (0, self.at, self.starts[-1])[whence]
        if self.at < 0:
            raise OSError(f"position {self.at} is before the beginning")
        return self.at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if self.at >= self.starts[-1]:
            return 0
        number = bisect.bisect_right(self.starts, self.at) - 1
        limit = self.starts[number + 1] - self.at
        file = self.files[number]
        file.seek(self.at - self.starts[number])
        count = file.readinto(memoryview(buffer)[:limit])  # type: ignore[attr-defined]
        self.at += count
        return int(count)

    def close(self) -> None:
        for file in self.files:
            file.close()
        super().close()


def open_zip(parts: Sequence[Path]) -> zipfile.ZipFile:
    """Open a ZIP archive of one file or more: .z01, .z02, ..., and .zip, which is the last.

    `zipfile` takes a member's position for one in the whole, but it is one in the part that the
    member begins in (APPNOTE.TXT, 4.4.11 and 4.4.16).
    """
    by_suffix = {part.suffix.lower(): part for part in parts}
    wanted = [f".z{number:02d}" for number in range(1, len(parts))] + [".zip"]
    absent = [suffix for suffix in wanted if suffix not in by_suffix]
    if absent:
        raise zipfile.BadZipFile(f"the part {parts[0].stem}{absent[0]} is missing")
    joined = _JoinedFiles([by_suffix[suffix] for suffix in wanted])
    try:
        archive = zipfile.ZipFile(io.BufferedReader(joined, 1 << 20))
    except BaseException:
        joined.close()
        raise
    # zipfile met the directory later than it says, by the parts before the one it begins in,
    # and took that for something put before the archive: it moved every member by as much.
    moved = joined.starts[bisect.bisect_right(joined.starts, archive.start_dir) - 1]
    for member in archive.infolist():
        if member.volume >= len(parts):
            archive.close()
            raise zipfile.BadZipFile(f"{member.filename} is in part {member.volume + 1}")
        member.header_offset += joined.starts[member.volume] - moved
        # Later Pythons check that members do not overlap, by the positions from before.
        if hasattr(member, "_end_offset"):
            member._end_offset = None
    return archive
