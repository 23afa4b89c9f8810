"""A ZIP archive in several files (.z01, .z02, ..., .zip), read as one and without joining them."""

import bisect
import io
import zipfile
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO


class JoinedFiles(io.RawIOBase):
    """Files end to end, as one that can be read and searched.

    Args:
        paths: in order, at least one.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        super().__init__()
        self.files: list[BinaryIO] = [open(path, "rb") for path in paths]  # noqa: SIM115
        self.starts = [0, *accumulate(path.stat().st_size for path in paths)]
        self.at = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a byte of the whole, and return its place."""
        self.at = (
            offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.at, io.SEEK_END: self.starts[-1]}[whence]
        )
        if self.at < 0:
            raise OSError(f"place {self.at} is before the beginning")
        return self.at

    def tell(self) -> int:
        """Return the place of the next byte."""
        return self.at

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Fill a buffer up to its end or that of one file; return the number of bytes."""
        if self.at >= self.starts[-1]:
            return 0
        number = bisect.bisect_right(self.starts, self.at) - 1
        most = self.starts[number + 1] - self.at
        file = self.files[number]
        file.seek(self.at - self.starts[number])
        count = file.readinto(memoryview(buffer)[:most])  # type: ignore[attr-defined]
        self.at += count
        return int(count)

    def close(self) -> None:
        """Close all files."""
        for file in self.files:
            file.close()
        super().close()


def in_order(parts: Sequence[Path]) -> list[Path]:
    """Return the files of one archive in order: .z01, .z02, ..., and .zip, which is the last.

    Raises:
        zipfile.BadZipFile: one is missing.
    """
    by_suffix = {part.suffix.lower(): part for part in parts}
    wanted = [f".z{number:02d}" for number in range(1, len(parts))] + [".zip"]
    absent = [suffix for suffix in wanted if suffix not in by_suffix]
    if absent:
        raise zipfile.BadZipFile(f"the part {parts[0].stem}{absent[0]} is missing")
    return [by_suffix[suffix] for suffix in wanted]


def open_zip(parts: Sequence[Path]) -> zipfile.ZipFile:
    """Open a ZIP archive of one file or more.

    `zipfile` takes a member's place for one in the whole, but it is one in the part that the
    member begins in (APPNOTE.TXT, 4.4.11 and 4.4.16).

    Args:
        parts: the files, in any order.

    Raises:
        zipfile.BadZipFile: a part is missing or damaged, or the archive is split in the ZIP64
            manner, which `zipfile` cannot read.
    """
    ordered = in_order(parts)
    joined = JoinedFiles(ordered)
    try:
        archive = zipfile.ZipFile(io.BufferedReader(joined, 1 << 20))
    except BaseException:
        joined.close()
        raise
    # zipfile found the directory later than it says, by the parts before the one it begins in,
    # and took that for something put before the archive: it moved every member by as much.
    moved = joined.starts[bisect.bisect_right(joined.starts, archive.start_dir) - 1]
    for member in archive.infolist():
        if member.volume >= len(ordered):
            archive.close()
            raise zipfile.BadZipFile(f"{member.filename} is in part {member.volume + 1}")
        member.header_offset += joined.starts[member.volume] - moved
        # Later Pythons check that members do not overlap, by the places from before.
        if hasattr(member, "_end_offset"):
            member._end_offset = None
    return archive
