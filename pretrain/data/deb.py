"""Audio out of Debian packages, read as archives: nothing is installed, run or unpacked.

A .deb is an `ar` archive that holds `data.tar.xz` (or .gz, .bz2); games also keep their sound in a
.zip or .pk3 inside it. Only regular files of a bounded size are read, into memory; links, devices
and directories are passed over, so no path of an archive ever reaches the disk.
"""

import io
import shutil
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, BinaryIO, cast

MAX_FILE = 256 << 20  # bytes of one audio file; music of ten minutes as WAV has about 100 MiB
MAX_ZIP = 4 << 30  # bytes of one archive inside a package
ZIP_SUFFIXES = (".zip", ".pk3", ".pk4", ".wz")
_AR_MAGIC = b"!<arch>\n"
_AR_HEADER = 60


class PackageError(ValueError):
    """A package that cannot be fetched or read, in one line."""


class _Slice:
    """A window of an open file, so that tarfile sees data.tar alone."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file, self.left = file, size

    def read(self, size: int) -> bytes:
        block = self.file.read(min(size, self.left))
        self.left -= len(block)
        return block


@contextmanager
def _data_tar(deb: Path) -> Iterator[tarfile.TarFile]:
    """Open the data.tar of a package as a stream."""
    with deb.open("rb") as file:
        if file.read(len(_AR_MAGIC)) != _AR_MAGIC:
            raise PackageError(f"{deb.name}: not an ar archive, so no Debian package")
        while len(header := file.read(_AR_HEADER)) == _AR_HEADER:
            name = header[:16].decode("ascii", "replace").strip().rstrip("/")
            try:
                size = int(header[48:58])
            except ValueError:
                raise PackageError(f"{deb.name}: broken ar header {header!r}") from None
            if name.startswith("data.tar"):
                data = cast(IO[bytes], _Slice(file, size))
                with tarfile.open(fileobj=data, mode="r|*") as tar:
                    yield tar
                return
            file.seek(size + size % 2, io.SEEK_CUR)
    raise PackageError(f"{deb.name}: has no data.tar")


def files(deb: Path, wanted: Callable[[str], bool]) -> Iterator[tuple[str, bytes]]:
    """Yield path and bytes of every wanted regular file of a package, in the archive's order.

    A file in an archive within has the path `archive.zip/path`.

    Args:
        deb: the package.
        wanted: says of a path, without a leading `./`, whether its bytes are.

    Raises:
        PackageError: if the package is damaged; what was yielded before is sound.
    """
    try:
        with _data_tar(deb) as tar:
            for member in tar:
                path = member.name.encode(errors="replace").decode().removeprefix("./").lstrip("/")
                nested = path.lower().endswith(ZIP_SUFFIXES)
                if not member.isreg() or member.size > (MAX_ZIP if nested else MAX_FILE):
                    continue
                if not (nested or wanted(path)):
                    continue
                file = cast(IO[bytes], tar.extractfile(member))
                if not nested:
                    yield path, file.read()
                    continue
                with tempfile.TemporaryFile() as unnamed:  # some games' archives have over 1 GiB
                    shutil.copyfileobj(file, unnamed)
                    yield from _zip_files(path, unnamed, wanted)
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise PackageError(f"{deb.name}: damaged: {error}") from None


def _zip_files(
    path: str, file: IO[bytes], wanted: Callable[[str], bool]
) -> Iterator[tuple[str, bytes]]:
    """Yield the wanted files of an archive within a package; a damaged archive yields none."""
    try:
        archive = zipfile.ZipFile(file)
    except (zipfile.BadZipFile, OSError):
        return
    for entry in archive.infolist():
        inner = f"{path}/{entry.filename}"
        if entry.is_dir() or entry.file_size > MAX_FILE or not wanted(inner):
            continue
        try:
            yield inner, archive.read(entry)
        except (zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError, EOFError):
            continue
