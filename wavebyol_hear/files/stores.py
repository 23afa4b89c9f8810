"""Object stores beside the disk: `s3://`, `gs://`, and whatever else fsspec reads and writes.

Keys, regions and end points are those of fsspec's packages (s3fs, gcsfs): environment variables,
the files of the vendors' own commands, or ~/.config/fsspec. Stores have no locks, and there an
object is written whole or not at all.
"""

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

from wavebyol_hear.files.extras import require

URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
EXTRAS = {"gs": "gcs", "gcs": "gcs"}  #: extra of setup.cfg by the scheme of a URL; of others `s3`
AT_ONCE = 16  #: requests to a store under way at a time
CHANGED = ("ETag", "etag", "md5Hash", "LastModified", "updated", "mtime", "created")
"""What stores call the content's hash, or when it was written; the first that is there counts."""
CLIENTS = ("aiobotocore", "aiohttp", "azure", "botocore", "gcsfs", "google", "s3fs")
"""Packages whose errors have no base that says what they are."""


class StoreError(ValueError):
    """A URL that no installed package reads, or with nothing there: one line with the remedy."""


def is_remote(path: str | Path) -> bool:
    """Return whether a path is a URL.

    Example:
        >>> is_remote("s3://bucket/a.tar"), is_remote(Path("a.tar"))
        (True, False)
    """
    return URL.match(str(path)) is not None


def location(path: str | Path) -> Path:
    """Return a path on disk, or of an object store one with the methods of `Path`.

    Raises:
        MissingExtraError: the package for this kind of store is not installed.
        StoreError: there is none.

    Example:
        >>> location("a/b"), str(location("memory://bucket") / "a.tar")
        (PosixPath('a/b'), 'memory://bucket/a.tar')
    """
    if isinstance(path, Path) or not is_remote(path):
        return Path(path)
    scheme = str(path).partition(":")[0]
    extra = EXTRAS.get(scheme, "s3")
    upath = require("upath", extra, f"{scheme}://")
    try:
        place = upath.UPath(path, use_listings_cache=False)  # others write there meanwhile
        place.fs  # noqa: B018  (made when it is first asked for)
    except (ImportError, ValueError) as error:
        remedy = f"pip install '.[{extra}]'" if scheme in ("s3", *EXTRAS) else "see"
        raise StoreError(
            f"{path}: cannot be opened ({' '.join(str(error).split())}); {remedy}"
        ) from error
    return cast(Path, place)


def objects_below(url: str) -> Iterator[tuple[str, int, str]]:
    """Yield what is below a folder of a store, or fits a pattern with `*`, but for what is hidden.

    Yields:
        URL, size in bytes, and a text that changes with the content, sorted by URL.

    Raises:
        StoreError: there is nothing.
        OSError: the store cannot be reached, or refuses.
    """
    place: Any = location(url)
    with named_errors(url):
        search = place.fs.glob if "*" in url else place.fs.find
        found = search(place.path, detail=True)
    if not found:
        raise StoreError(f"{url}: there is nothing; correct the URL")
    top = place.path.partition("*")[0]
    for path, about in sorted(found.items()):
        if "/." not in f"/{path.removeprefix(top)}":
            changed = next((about[key] for key in CHANGED if about.get(key)), "")
            yield place.fs.unstrip_protocol(path), about["size"], str(changed)


def scratch(folder: Path) -> Path:
    """Return where to keep what is not finished: the folder, or the system's where it is remote."""
    return Path(tempfile.gettempdir()) if is_remote(folder) else folder


@contextmanager
def uploaded(path: Any) -> Iterator[BinaryIO]:  # noqa: ANN401  (a path of a package without types)
    """Open a file on disk that is put into a store when the block ends without an error."""
    with tempfile.NamedTemporaryFile() as file:
        yield cast(BinaryIO, file)
        file.flush()
        with named_errors(path):
            path.fs.put_file(file.name, path.path)


@contextmanager
def named_errors(place: object) -> Iterator[None]:
    """Turn errors of a store's client into an OSError of one line that says where.

    Raises:
        OSError: the store cannot be reached, or refuses.
    """
    try:
        yield
    except Exception as error:
        reason = f"{type(error).__name__}: {' '.join(str(error).split())}"
        if type(error).__module__.partition(".")[0] in CLIENTS:
            raise OSError(f"{place}: {reason}") from error
        if isinstance(error, FileNotFoundError | PermissionError) and error.errno is None:
            raise type(error)(0, reason, str(place)) from error
        raise


@contextmanager
def opened(path: Path) -> Iterator[Path | BinaryIO]:
    """Yield what pyarrow reads: a path on disk as it is, an object of a store as an open file."""
    if not is_remote(path):
        yield path
        return
    with path.open("rb") as file:
        yield cast(BinaryIO, file)


def names_in(folder: Path) -> set[str]:
    """Return the names in a folder; none where there is no such folder, as stores have none."""
    try:
        return {path.name for path in folder.iterdir()}
    except (FileNotFoundError, NotADirectoryError):
        return set()


def threads_for(folder: Path) -> int:
    """Return how many threads read small things of a folder: each waits long for a store."""
    return AT_ONCE if is_remote(folder) else 0
