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

from wavebyol_hear.files.lists import column_paths, listed_paths
from wavebyol_hear.files.stores import is_remote, objects_below

AUDIO_SUFFIXES = frozenset(
    [
        *(".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au"),
        *(".snd", ".caf", ".w64", ".rf64", ".m4a", ".aac", ".wma"),
    ]
)
SUFFIXES = AUDIO_SUFFIXES | {".mp4", ".webm", ".mka", ".wv", ".voc", ".sf", ".mp2"}
"""Of files that are taken for audio where a folder or an archive is named, not the file itself."""
TAR_SUFFIXES = (".tar", ".tar.gz", ".tgz")
TABLE_SUFFIXES = (".parquet", ".arrow")
LIST_SUFFIXES = (".csv", ".tsv")
PART_BYTES = 1 << 30
"""A part ends when its files have this many bytes together: long recordings make many rows."""
WEB = ("http://", "https://")  #: URLs that are read without fsspec


class SourceError(ValueError):
    """A source that cannot be listed: one line with its name and the remedy."""


@dataclass(frozen=True, slots=True)
class Item:
    """One entry of the list."""

    path: str  #: as the user's source leads to it, or a URL
    size: int = 0  #: bytes; -1 where the file is absent, 0 for a URL that was not listed
    mtime_ns: int = 0  #: when the file changed last; a hash of what a store says of that
    error: str = ""  #: why it cannot be read, known before it is opened


@dataclass(frozen=True)
class Part:
    """A fixed slice of the list: some audio files, one tar shard, or some rows of a table."""

    kind: str  #: files, tar or table
    items: tuple[Item, ...]  #: the files, or the one shard or table
    groups: tuple[int, int] = (0, 0)  #: of a table, its first row group and one after the last

    @property
    def digest(self) -> str:
        """A hash of names, sizes and times of change, 16 hexadecimal digits."""
        digest = hashlib.blake2b(f"{self.kind} {self.groups}".encode(), digest_size=8)
        for item in self.items:
            digest.update(os.fsencode(f"{item.size} {item.mtime_ns} {item.path}\0"))
        return digest.hexdigest()


@dataclass
class Listing:
    """How sources are listed."""

    path_column: str = ""  #: of CSV files; "" takes the first of `lists.COLUMNS` that is there
    follow_links: bool = False  #: whether links that lead out of a folder are followed
    part_size: int = 512  #: maximum of files in a part, >= 1
    out: Path | None = None  #: folder of the output, which is not listed
    skipped: int = field(default=0, init=False)  #: files in folders that are no audio by name

    def parts(self, sources: Sequence[str]) -> Generator[Part, None, None]:
        """Yield the parts of sources, in order.

        Args:
            sources: files, folders, `@list.txt`, CSV files, tar shards, with `{000..009}` or
                `{a,b}` for several, Parquet files with an audio column; URLs of files and shards,
                and in object stores of folders and patterns with `*`.

        Raises:
            SourceError: a source does not exist or is none of these.
            TableError: a CSV file is damaged, a Parquet file has no audio column.
            StoreError: a folder in an object store is empty, or no package reads its URL.
            OSError: a list cannot be read, an object store cannot be reached, or refuses.
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
                from wavebyol_hear.files.audio_tables import row_groups

                for groups in row_groups(item.path, self.part_size):
                    yield Part("table", (item,), groups)
        if waiting:
            yield Part("files", tuple(waiting))

    def _items(self, sources: Sequence[str]) -> Iterator[Item]:
        for source in sources:
            if source.startswith("@"):
                yield from map(_item, listed_paths(source[1:]))
            elif os.path.isdir(source):
                yield from self._folder(source)
            elif os.path.lexists(source):
                if source.lower().endswith(LIST_SUFFIXES):
                    for path, error in column_paths(source, self.path_column):
                        yield Item(path, error=error) if error else _item(path)
                else:
                    yield _item(source)
            elif "{" in source or is_remote(source):
                for name in expand_braces(source):
                    yield from _named(name)
            else:
                raise SourceError(f"{source}: no such file or folder; correct the path")

    def _folder(self, top: str) -> Iterator[Item]:
        """Yield the audio files, shards and tables below a folder, sorted by name in each.

        Hidden files and folders, such as the `._a.wav` that a Mac writes next to `a.wav`, are left
        out.
        """
        inside = os.path.realpath(top)
        out = os.path.realpath(self.out) if self.out and not is_remote(self.out) else ""
        waiting = [(top, frozenset([inside]))]
        while waiting:
            folder, above = waiting.pop()
            try:
                with os.scandir(folder) as entries:
                    found = sorted(entries, key=lambda entry: os.fsencode(entry.name))
            except OSError as error:
                yield Item(folder, error=f"this folder cannot be read ({error.strerror})")
                continue
            folders = []
            for entry in found:
                if entry.name.startswith("."):
                    continue
                link = entry.is_symlink()
                if os.path.isdir(entry) if link else entry.is_dir():
                    real = os.path.realpath(entry)
                    # A link to a folder above would go round for ever.
                    if real != out and real not in above and (self.follow_links or not link):
                        folders.append((entry.path, above | {real}))
                elif not entry.name.lower().endswith((*SUFFIXES, *TAR_SUFFIXES, *TABLE_SUFFIXES)):
                    self.skipped += 1
                elif link and not self.follow_links and not lies_in(entry.path, inside):
                    reason = "a link that leads out of the folder; --follow-links reads it"
                    yield Item(entry.path, error=reason)
                else:
                    item = _item(entry.path)
                    if item.error or _has_audio(item.path):
                        yield item
                    else:
                        self.skipped += 1
            waiting += reversed(folders)


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


def _has_audio(path: str) -> bool:
    """Return whether a file with a suffix of ours holds audio: some tables do not."""
    if _kind(path) != "table":
        return True
    from wavebyol_hear.files.audio_tables import has_audio

    return has_audio(path)


def _is_read(path: str) -> bool:
    """Return whether something in an object store is read: audio and shards, by their names."""
    return path.lower().endswith((*SUFFIXES, *TAR_SUFFIXES)) and "*" not in path


def _named(name: str) -> Iterator[Item]:
    """Yield what one name of a pattern stands for: a file, or what is below it in a store.

    A file at a URL is taken not to change.
    """
    if not is_remote(name):
        if not os.path.exists(name):
            raise SourceError(f"{name}: no such file; correct the pattern")
        yield _item(name)
    elif name.startswith(WEB) or _is_read(name):
        if not _is_read(name.partition("?")[0]):
            raise SourceError(
                f"{name}: only tar shards and audio are read by URL; download it first"
            )
        yield Item(name)
    else:
        for path, size, changed in objects_below(name):
            if _is_read(path):
                digest = hashlib.blake2b(changed.encode(), digest_size=7).digest()
                yield Item(path, size, int.from_bytes(digest))


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
        return Item(path, error="not a regular file; drop it from the list")
    return Item(path, status.st_size, status.st_mtime_ns)


def lies_in(path: str, folder: str) -> bool:
    """Return whether a path leads to somewhere below a folder, which is no link itself."""
    return os.path.realpath(path).startswith(os.path.join(folder, ""))
