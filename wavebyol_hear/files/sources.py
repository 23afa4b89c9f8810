"""What a user points at, listed as parts: files, folders, lists, tar shards and tables with audio.

The list is made lazily and in the same order every time, so a part, a fixed slice of it, is the
same on every machine and in every run as long as the files are.
"""

import hashlib
import os
import re
import stat
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from wavebyol_hear.files.labels import AUDIO_SUFFIXES
from wavebyol_hear.files.stores import is_remote, location, named_errors
from wavebyol_hear.files.tables import TableError, read_table

SUFFIXES = AUDIO_SUFFIXES | {".mp4", ".webm", ".mka", ".wv", ".voc", ".sf", ".mp2"}
"""Of files that are taken for audio where a folder or an archive is named, not the file itself."""
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")
TABLE_SUFFIXES = (".parquet", ".arrow")
LIST_SUFFIXES = (".csv", ".tsv")
PATH_COLUMNS = ("path", "file", "filename", "file_name", "filepath", "file_path", "audio", "wav")
PART_BYTES = 1 << 30
"""A part ends when its files have this many bytes together: long recordings make many rows."""
WEB = ("http://", "https://")
"""URLs that are read without fsspec."""
CHANGED = ("ETag", "etag", "md5Hash", "LastModified", "updated", "mtime", "created")
"""What stores call the content's hash, or when it was written; the first that is there counts."""


class SourceError(ValueError):
    """A source that cannot be listed: one line with its name and the remedy."""


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of the list.

    Attributes:
        path: as the user's source leads to it, or a URL.
        size: bytes; -1 where the file is absent, 0 for a URL that was not listed.
        mtime_ns: when the file changed last; a hash of what a store says of that.
        error: why it cannot be read, known before it is opened.
    """

    path: str
    size: int = 0
    mtime_ns: int = 0
    error: str = ""


@dataclass(frozen=True)
class Part:
    """A fixed slice of the list: some audio files, one tar shard, or some rows of a table.

    Attributes:
        kind: `files`, `tar` or `table`.
        items: the files, or the one shard or table.
        groups: of a table, its first row group and the one after the last.
    """

    kind: str
    items: tuple[Item, ...]
    groups: tuple[int, int] = (0, 0)

    @property
    def digest(self) -> str:
        """A hash of names, sizes and times of change, 16 hexadecimal digits."""
        digest = hashlib.blake2b(f"{self.kind} {self.groups}".encode(), digest_size=8)
        for item in self.items:
            text = f"{item.size} {item.mtime_ns} {item.path}\0"
            digest.update(os.fsencode(text))
        return digest.hexdigest()


@dataclass
class Listing:
    """How sources are listed.

    Attributes:
        path_column: of CSV files; "" takes the first of `PATH_COLUMNS` that is there.
        follow_links: whether links that lead out of a folder are followed.
        part_size: maximum of files in a part, >= 1.
        out: folder of the output, which is not listed; None for none.
        skipped: files in folders that have no suffix of audio, counted.
    """

    path_column: str = ""
    follow_links: bool = False
    part_size: int = 512
    out: Path | None = None
    skipped: int = field(default=0, init=False)

    def parts(self, sources: Sequence[str]) -> Generator[Part, None, None]:
        """Yield the parts of sources, in order.

        Args:
            sources: files, folders, `@list.txt`, CSV files, tar shards, with `{000..009}` or
                `{a,b}` for several, Parquet files with an audio column; URLs of files and shards,
                and in object stores of folders and patterns with `*`.

        Raises:
            SourceError: a source does not exist or is none of these.
            OSError: an object store cannot be reached, or refuses.
        """
        waiting: list[Item] = []
        size = 0
        for item in self._items(sources):
            kind = "files" if item.error else _kind(item.path)
            if kind != "files" or len(waiting) == self.part_size or size > PART_BYTES:
                if waiting:
                    yield Part("files", tuple(waiting))
                waiting, size = [], 0
            if kind == "files":
                waiting.append(item)
                size += max(0, item.size)
            elif kind == "tar":
                yield Part("tar", (item,))
            else:
                yield from self._table_parts(item)
        if waiting:
            yield Part("files", tuple(waiting))

    def _items(self, sources: Sequence[str]) -> Iterator[Item]:
        """Yield all entries of all sources."""
        for source in sources:
            if source.startswith("@"):
                yield from self._listed(source[1:])
            elif os.path.isdir(source):
                yield from self._folder(source)
            elif os.path.lexists(source):
                if source.lower().endswith(LIST_SUFFIXES):
                    yield from self._csv(source)
                else:
                    yield _item(source)
            elif "{" in source or is_remote(source):
                for name in expand_braces(source):
                    if not is_remote(name):
                        yield _shard(name)
                    elif name.startswith(WEB) or _is_read(name):
                        yield _by_url(name)
                    else:
                        yield from _stored(name)
            else:
                raise SourceError(f"{source}: no such file or folder; correct the path")

    def _folder(self, top: str) -> Iterator[Item]:
        """Yield the audio files, shards and tables below a folder, sorted by name in each.

        Hidden files and folders, such as the `._a.wav` that a Mac writes next to `a.wav`, are left
        out.
        """
        inside = os.path.realpath(top)
        out = os.path.realpath(self.out) if self.out and not is_remote(self.out) else ""
        waiting: list[tuple[str, frozenset[tuple[int, int] | None]]]
        waiting = [(top, frozenset([_identity(top)]))]
        while waiting:
            folder, above = waiting.pop()
            try:
                with os.scandir(folder) as entries:
                    shown = (entry for entry in entries if not entry.name.startswith("."))
                    found = sorted(shown, key=lambda entry: os.fsencode(entry.name))
            except OSError as error:
                yield Item(folder, error=f"this folder cannot be read ({error.strerror})")
                continue
            folders = []
            for entry in found:
                link = entry.is_symlink()
                if _is_folder(entry):
                    if os.path.realpath(entry.path) == out or (link and not self.follow_links):
                        continue
                    identity = _identity(entry.path)
                    # A link to a folder above would go round for ever.
                    if identity is not None and identity not in above:
                        folders.append((entry.path, above | {identity}))
                elif not entry.name.lower().endswith((*SUFFIXES, *TAR_SUFFIXES, *TABLE_SUFFIXES)):
                    self.skipped += 1
                elif link and not self.follow_links and not _within(entry.path, inside):
                    reason = "a link that leads out of the folder; --follow-links reads it"
                    yield Item(entry.path, error=reason)
                else:
                    yield from self._file(entry.path)
            waiting += reversed(folders)

    def _file(self, path: str) -> Iterator[Item]:
        """Yield a file of a folder; of tables those with an audio column."""
        item = _item(path)
        if path.lower().endswith(TABLE_SUFFIXES) and not item.error:
            from wavebyol_hear.files.audio_tables import has_audio

            if not has_audio(path):
                self.skipped += 1
                return
        yield item

    def _listed(self, path: str) -> Iterator[Item]:
        """Yield the files of a list, one on each line, or between NULs as `find -print0` writes."""
        try:
            with open(path, "rb") as file:
                nul = b"\0" in file.peek(1 << 16)
                for line in _split(file, b"\0" if nul else b"\n"):
                    text = line if nul else line.removesuffix(b"\r")
                    if text:
                        yield _item(_resolved(path, os.fsdecode(text)))
        except OSError as error:
            raise SourceError(f"@{path}: cannot be read ({error.strerror})") from error

    def _csv(self, path: str) -> Iterator[Item]:
        """Yield the files of the path column of a CSV file."""
        try:
            names = [self.path_column] if self.path_column else list(PATH_COLUMNS)
            column = _first_column(path, names)
            for line, row in read_table(path, (column,)):
                if row[column]:
                    yield _item(_resolved(path, row[column]))
                else:
                    yield Item(path, error=f"line {line} has no {column}")
        except TableError as error:
            raise SourceError(str(error)) from error
        except OSError as error:
            raise SourceError(f"{path}: cannot be read ({error.strerror})") from error

    def _table_parts(self, item: Item) -> Iterator[Part]:
        """Yield the row groups of a table with an audio column, some at a time."""
        from wavebyol_hear.files.audio_tables import row_groups

        try:
            for first, last in row_groups(item.path, self.part_size):
                yield Part("table", (item,), (first, last))
        except TableError as error:
            raise SourceError(str(error)) from error


def expand_braces(pattern: str) -> Iterator[str]:
    """Yield the names that a pattern with `{000..012}` or `{a,b}` stands for, in order.

    Example:
        >>> list(expand_braces("a-{08..10}.tar"))
        ['a-08.tar', 'a-09.tar', 'a-10.tar']
        >>> list(expand_braces("{x,y}/{1..2}"))
        ['x/1', 'x/2', 'y/1', 'y/2']
    """
    match = re.search(r"\{([^{}]*)\}", pattern)
    inner = match[1] if match else ""
    numbers = re.fullmatch(r"(\d+)\.\.(\d+)", inner)
    if match is None or not (numbers or "," in inner):
        yield pattern
        return
    choices: Iterable[str] = inner.split(",")
    if numbers:
        first, last = int(numbers[1]), int(numbers[2])
        width = len(numbers[1]) if numbers[1].startswith("0") else 0
        choices = (f"{n:0{width}d}" for n in range(first, last + 1))
    for choice in choices:
        yield from expand_braces(pattern[: match.start()] + choice + pattern[match.end() :])


def _kind(path: str) -> str:
    """Return how a file is read: by its suffix, since it may not be here yet."""
    name = path.partition("?")[0].lower() if is_remote(path) else path.lower()
    if name.endswith(TAR_SUFFIXES):
        return "tar"
    return "table" if name.endswith(TABLE_SUFFIXES) else "files"


def _is_read(path: str) -> bool:
    """Return whether something in an object store is read: audio and shards, by their names."""
    return path.lower().endswith((*SUFFIXES, *TAR_SUFFIXES)) and "*" not in path


def _by_url(name: str) -> Item:
    """Return a shard or an audio file at a URL, which is taken not to change."""
    if not _is_read(name.partition("?")[0]):
        raise SourceError(f"{name}: only tar shards and audio are read by URL; download it first")
    return Item(name)


def _stored(url: str) -> Iterator[Item]:
    """Yield the audio files and shards below a folder of an object store, or of a pattern."""
    place: Any = location(url)
    with named_errors(url):
        search = place.fs.glob if "*" in url else place.fs.find
        found = search(place.path, detail=True)
    if not found:
        raise SourceError(f"{url}: there is nothing; correct the URL")
    top = place.path.partition("*")[0]
    for path in sorted(found):
        about, name = found[path], place.fs.unstrip_protocol(path)
        if "/." in f"/{path.removeprefix(top)}":
            continue  # hidden
        changed = next((about[key] for key in CHANGED if about.get(key)), "")
        digest = hashlib.blake2b(str(changed).encode(), digest_size=7).digest()
        if _is_read(name):
            yield Item(name, about["size"], int.from_bytes(digest))


def _shard(name: str) -> Item:
    """Return a shard of a pattern, which is a tar."""
    if not os.path.exists(name):
        raise SourceError(f"{name}: no such file; correct the pattern")
    return _item(name)


def _item(path: str) -> Item:
    """Return a file with its size and time; one that is absent is an entry, too."""
    if is_remote(path):
        table = _kind(path) == "table"
        return Item(path, error="tables are read from disk only; download it" if table else "")
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return Item(path, -1)
    if not stat.S_ISREG(status.st_mode):  # a pipe or a device, which could wait for ever
        return Item(path, error="no regular file; drop it from the list")
    return Item(path, status.st_size, status.st_mtime_ns)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    """Return whether an entry is a folder, or a link to one; no for a link that goes round."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _identity(path: str) -> tuple[int, int] | None:
    """Return what a folder is, however it is reached; None where it is gone."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _within(path: str, folder: str) -> bool:
    """Return whether a link leads to somewhere below a folder."""
    return os.path.realpath(path).startswith(os.path.join(folder, ""))


def _resolved(table: str, text: str) -> str:
    """Return a path of a list: a URL, relative to the list's folder, or to the current one."""
    if is_remote(text):
        return text
    beside = os.path.join(os.path.dirname(table), text)
    return beside if os.path.lexists(beside) or not os.path.lexists(text) else text


def _first_column(path: str, names: Sequence[str]) -> str:
    """Return the first of some columns that a CSV file has."""
    for name in names:
        try:
            next(read_table(path, (name.lower(),)), None)
        except TableError as error:
            if "lacks the column" not in str(error) or name == names[-1]:
                remedy = "; name the column of the paths with --path-column"
                raise TableError(f"{error}{remedy}") from error
        else:
            return name.lower()
    raise AssertionError


def _split(file: Iterable[bytes], separator: bytes) -> Iterator[bytes]:
    """Yield the pieces of a file between separators."""
    rest = b""
    for block in file:
        *whole, rest = (rest + block).split(separator)
        yield from whole
    yield rest
