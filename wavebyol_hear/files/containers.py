"""What a part of the list holds, one audio file after the other: files, tar members, table rows.

What does not lie in a file of its own is read from an open one by place: nothing is unpacked under
a name that an archive chooses.
"""

import contextlib
import gzip
import os
import shutil
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from wavebyol_hear.files.audio_tables import audio_rows
from wavebyol_hear.files.decode import Blob, Source
from wavebyol_hear.files.read_ahead import Unavailable, ahead
from wavebyol_hear.files.sources import SUFFIXES, WEB, Part, lies_in
from wavebyol_hear.files.stores import AT_ONCE, is_remote, location, named_errors

DOWNLOAD_SECONDS = 60.0
RETRY_SECONDS = (1.0, 5.0)


@dataclass(frozen=True, slots=True)
class Clip:
    """One audio file: what it is called in the output, and where it is or why it is not."""

    name: str
    source: Source | None
    error: str = ""


class Contents:
    """The audio files of a part; the files that they lie in are open until it is closed.

    What must be downloaded or unpacked goes into the folder, under no name.
    """

    def __init__(self, part: Part, folder: Path) -> None:
        self.folder = folder
        self._open = contextlib.ExitStack()
        read = {"files": self._files, "tar": self._tar, "table": self._table}[part.kind]
        self.clips = list(read(part))

    def close(self) -> None:
        """Close what is open."""
        self._open.close()

    def _files(self, part: Part) -> Iterator[Clip]:
        """Yield files of their own; those at URLs are copied to one file on disk."""
        urls = [item.path for item in part.items if is_remote(item.path) and not item.error]
        fetched, copies = ahead(self._fetched, urls, AT_ONCE), self._temporary()
        for item in part.items:
            if item.error:
                yield Clip(item.path, None, item.error)
            elif not is_remote(item.path):
                yield Clip(item.path, item.path)
            else:
                file = next(fetched)
                if isinstance(file, Clip):
                    yield file
                    continue
                start = copies.tell()
                with file:
                    shutil.copyfileobj(file, copies)
                copies.flush()
                yield Clip(item.path, Blob(copies.fileno(), start, copies.tell() - start))

    def _fetched(self, url: str) -> BinaryIO | Clip:
        """Return the content of a URL in a file without a name, or why there is none."""
        file = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115
        try:
            _download(url, file)
        except OSError as error:
            file.close()
            return _unreadable(url, error)
        file.seek(0)
        return file

    def _tar(self, part: Part) -> Iterator[Clip]:
        """Yield the audio members of a tar shard, in its order."""
        shard = part.items[0].path
        try:
            file = self._tar_file(shard)
            with tarfile.open(fileobj=file, mode="r:") as archive:
                for member in archive:
                    if member.isreg() and member.name.lower().endswith(tuple(SUFFIXES)):
                        blob = Blob(file.fileno(), member.offset_data, member.size)
                        yield Clip(f"{shard}::{member.name}", blob)
                    archive.members = []  # type: ignore[attr-defined]  # else it keeps them all
        except (tarfile.TarError, EOFError, OSError) as error:
            yield _unreadable(shard, error)

    def _tar_file(self, shard: str) -> BinaryIO:
        """Return an open tar without compression: the shard itself, or a copy."""
        if is_remote(shard):
            file = self._temporary()
            _download(shard, file)
        else:
            file = self._open.enter_context(open(shard, "rb"))  # noqa: SIM115
        file.seek(0)
        if file.read(2) == b"\x1f\x8b":
            file.seek(0)
            packed, file = file, self._temporary()
            with gzip.open(packed) as content:
                shutil.copyfileobj(content, file)
            file.flush()
        file.seek(0)
        return file

    def _table(self, part: Part) -> Iterator[Clip]:
        """Yield the rows of a table, their bytes copied to disk."""
        table = part.items[0].path
        file, end = self._temporary(), 0
        try:
            for name, data, path in audio_rows(table, part.groups):
                if data is not None:
                    file.write(data)
                    yield Clip(name, Blob(file.fileno(), end, len(data)))
                    end += len(data)
                else:
                    yield _beside(name, table, path)
        except (OSError, pa.ArrowException) as error:
            yield _unreadable(table, error)
        file.flush()

    def _temporary(self) -> BinaryIO:
        return self._open.enter_context(tempfile.TemporaryFile(dir=self.folder))


def _beside(name: str, table: str, path: str) -> Clip:
    """Return the file that a row without bytes names, if it lies in the table's folder."""
    folder = os.path.realpath(os.path.dirname(table))
    file = os.path.join(folder, path)
    if path and lies_in(file, folder):
        return Clip(name, file)
    return Clip(name, None, "the row holds no bytes and no path below the table's folder")


def _unreadable(name: str, error: Exception) -> Clip:
    """Return an entry for a shard or table that cannot be read, or not to its end."""
    reason = " ".join(str(getattr(error, "strerror", None) or error).split())
    text = f"cannot be read, or not to its end ({reason}); fetch it again"
    return Clip(name, None, Unavailable(text) if _may_pass(error) else text)


def _may_pass(error: Exception) -> bool:
    """Return whether another try may succeed."""
    if isinstance(error, urllib.error.HTTPError):
        return error.code >= 500
    return isinstance(error, OSError) and not isinstance(error, FileNotFoundError)


def _download(url: str, file: BinaryIO) -> None:
    """Write what a URL holds to a file, in three tries.

    Raises:
        OSError: it cannot be fetched.
    """
    for wait in (*RETRY_SECONDS, None):
        try:
            file.seek(0)
            file.truncate()
            promised = None
            if url.startswith(WEB):
                with urllib.request.urlopen(url, timeout=DOWNLOAD_SECONDS) as response:
                    promised = response.headers.get("Content-Length")
                    shutil.copyfileobj(response, file)
            else:
                with named_errors(url), location(url).open("rb") as content:
                    shutil.copyfileobj(content, file)
            file.flush()
            if promised is not None and file.tell() != int(promised):
                raise OSError(f"{file.tell()} of {promised} bytes came")
            return
        except OSError as error:
            if wait is None or isinstance(error, PermissionError) or not _may_pass(error):
                raise
            time.sleep(wait)
