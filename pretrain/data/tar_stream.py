"""The samples of a WebDataset tar shard, from a path, a URL or a command, read strictly.

tarfile takes a shard that was cut off, or whose headers are damaged, for one that ends there.
"""

import bz2
import gzip
import io
import lzma
import re
import tarfile
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import groupby
from pathlib import Path
from typing import Any, Self

from wavebyol_hear.files.command import readable
from wavebyol_hear.files.stores import location, named_errors

URL_SCHEMES = ("http://", "https://", "ftp://")
COMMAND = "pipe:"
"""Begins a command that webdataset starts; taken from what the user types only."""
# How a packed shard begins, and who unpacks it: tarfile's own ways check no CRC.
PACKED: dict[bytes, Callable[[Any], Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ": lzma.open,
}


class _StrictTarInfo(tarfile.TarInfo):
    """A header of a tar whose end is marked: tarfile takes a cut or damaged one for the end."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> Self:
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            raise
        except tarfile.EmptyHeaderError as error:  # type: ignore[attr-defined]
            raise tarfile.ReadError("cut off: the archive's end is not marked") from error
        except tarfile.HeaderError as error:
            raise tarfile.ReadError(f"damaged: {error}") from error


class _Checked(io.RawIOBase):
    """A stream that is as long as it says it is.

    Args:
        source: has `read`.
        size: bytes that it promised; None where it promised nothing.
    """

    def __init__(self, source: Any, size: int | None) -> None:  # noqa: ANN401
        self.source, self.size, self.count = source, size, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401
        data = self.source.read(len(buffer))
        buffer[: len(data)] = data
        self.count += len(data)
        if not data and self.size is not None and self.count < self.size:
            raise OSError(f"ended after {self.count} of {self.size} bytes")
        return len(data)

    def close(self) -> None:
        self.source.close()
        super().close()


def tar_samples(tar: str, remote: bool) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield key and {ending: bytes} of each sample of a shard, packed or not, to its end.

    Args:
        tar: path, URL or command.
        remote: whether it is a URL or a command, as the user typed it.

    Raises:
        OSError: it cannot be opened, or is shorter than it says.
        EOFError, lzma.LZMAError, tarfile.TarError, zlib.error: it is cut off or damaged.
    """
    with closing(_open_stream(tar, remote)) as stream:
        magic = stream.peek(6)
        packed = next((way for start, way in PACKED.items() if magic.startswith(start)), None)
        content: Any = packed(stream) if packed else stream
        with tarfile.open(fileobj=content, mode="r|", tarinfo=_StrictTarInfo) as archive:
            entries = filter(None, (_entry(archive, member) for member in archive))
            for key, group in groupby(entries, key=lambda entry: entry[0]):
                yield key, {ending: data for _, ending, data in group}
        while content.read(1 << 20):
            pass


def _open_stream(tar: str, remote: bool) -> io.BufferedReader:
    """Open a shard. A path is opened here: no shell ever sees the name of a file."""
    if not remote:
        return Path(tar).open("rb")
    if tar.startswith(URL_SCHEMES):
        response = urllib.request.urlopen(tar, timeout=60)
        length = response.headers.get("Content-Length", "")
        size = int(length) if length.isdigit() else None
        return io.BufferedReader(_Checked(response, size), 1 << 20)
    if tar.startswith(COMMAND):
        import webdataset

        return io.BufferedReader(_Checked(webdataset.gopen(tar), None), 1 << 20)
    with named_errors(tar):
        file: Any = location(tar).open("rb")
    return io.BufferedReader(_Checked(file, file.size), 1 << 20)


def _entry(archive: tarfile.TarFile, member: tarfile.TarInfo) -> tuple[str, str, bytes] | None:
    """Return key, ending and bytes of a file in a shard, None for all else."""
    name = re.match(r"((?:.*/|)[^.]+)[.]([^/]*)$", member.name)
    file = archive.extractfile(member) if member.isreg() and name else None
    if name is None or file is None:
        return None
    return readable(name[1]), name[2].lower(), file.read()
