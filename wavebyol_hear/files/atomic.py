"""Files that appear whole or not at all, hashes of files, and locks between processes."""

import contextlib
import errno
import hashlib
import json
import logging
import os
import secrets
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from wavebyol_hear.files.stores import is_remote, uploaded

PART = ".part"  #: how the name of a half-written file ends
HASH_BYTES = 16

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def atomic_write(path: str | Path, *, fsync: bool = False) -> Iterator[BinaryIO]:
    """Open a file beside `path` and rename it to `path` when the block ends without an error.

    Readers see the old file or the new one, never half of it. The file beside is created
    exclusively under a name of its own, so two writers never share one and a planted link is not
    followed; a link at `path` itself is replaced, not followed. If the block raises, also by an
    interrupt, the file beside is removed and `path` stays as it was. In an object store, which
    shows an object once it is complete, the file is put when the block ends.

    Args:
        path: of the file; its folder must exist. A pipe, a device or a folder is never replaced.
        fsync: whether the content is brought to the disk before the name, so that a crash of the
            machine, too, leaves a whole file; takes milliseconds.

    Yields:
        The open file, readable and seekable; its `name` is for writers that want a path.

    Raises:
        OSError: the file cannot be written or renamed.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "numbers"
        >>> with atomic_write(path) as file:
        ...     _ = file.write(b"1 2 3")
        >>> path.read_bytes()
        b'1 2 3'
    """
    if is_remote(path):
        with uploaded(path) as file:
            yield file
        return
    path = Path(path)
    if path.exists() and not path.is_file():
        raise FileExistsError(errno.EEXIST, "exists and is not a regular file", str(path))
    # A name has at most 255 bytes: of a long one only the start is kept.
    beside = path.with_name(f"{path.name[:50]}.{os.getpid()}.{secrets.token_hex(4)}{PART}")
    try:
        file = open(str(beside), "x+b")  # noqa: SIM115
    except OSError as error:
        raise type(error)(error.errno, error.strerror, str(path)) from error
    try:
        with file:
            yield file
            file.flush()
            if fsync:
                os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    if fsync:
        with contextlib.suppress(OSError):  # not every system brings a folder's names to the disk
            descriptor = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def check_writable(path: str | Path) -> None:
    """Raise OSError where `atomic_write` could not write a file; nothing is left behind."""
    with contextlib.suppress(InterruptedError), atomic_write(path):
        raise InterruptedError


def write_text(path: str | Path, text: str, *, fsync: bool = False) -> None:
    """Write a text in UTF-8, whole or not at all; arguments and errors as of `atomic_write`."""
    with atomic_write(path, fsync=fsync) as file:
        file.write(text.encode())


def read_object(path: Path) -> dict[str, Any]:
    """Return the object of a JSON file that can be made again; {} where it is absent or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def regular(path: str, flags: int) -> int:
    """Open a regular file: what `open(path, opener=regular)` calls.

    A pipe would be waited for, and a device may never end.

    Raises:
        OSError: it is none, or cannot be opened.

    Example:
        >>> open(os.devnull, opener=regular)
        Traceback (most recent call last):
        OSError: [Errno 22] not a regular file: '/dev/null'
    """
    descriptor = os.open(path, flags | getattr(os, "O_NONBLOCK", 0))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(errno.EINVAL, "not a regular file", path)
    return descriptor


def file_hash(path: str | Path) -> str:
    """Return the BLAKE2b hash of a file's bytes, 16 bytes in hexadecimal.

    Raises:
        OSError: the file cannot be read.
    """
    with open(path, "rb", opener=regular) as file:
        return hashlib.file_digest(
            file, lambda: hashlib.blake2b(digest_size=HASH_BYTES)
        ).hexdigest()


class LockedError(RuntimeError):
    """Another process holds a lock: one line that names it and the remedy."""


@contextlib.contextmanager
def lock(path: str | Path, what: str, remedy: str, *, timeout: float = 0.0) -> Iterator[None]:
    """Hold an advisory lock between processes, on a file that says who holds it and that stays.

    The system releases it however the process ends, so there is nothing to clean up after a kill.
    Where the file system has no locks, a warning is logged and the block runs; in an object store,
    which never has any, it runs.

    Args:
        path: of the lock file; its folder must exist.
        what: is locked, for messages.
        remedy: end of the message, such as "choose another --out".
        timeout: seconds to wait for whoever holds the lock, >= 0.

    Raises:
        LockedError: another process holds the lock, still after `timeout`.
        OSError: the file cannot be made.
    """
    if is_remote(path):
        yield
        return
    import fcntl  # absent on Windows, where the rest of the package runs

    # Opened without truncating: what another process wrote is read for the message.
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0)
    with open(os.open(path, flags, 0o666), "r+b", buffering=0) as file:
        end, told = time.monotonic() + timeout, False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= end:
                    holder = file.read(200).decode(errors="replace") or "another process"
                    raise LockedError(
                        f"{what} is in use by {holder} ({path} is locked): wait for it or {remedy}"
                    ) from None
                if not told:
                    logger.warning("%s is in use by another process: waiting for it", what)
                    told = True
                time.sleep(0.1)
            except OSError as error:
                logger.warning("%s: %s cannot be locked (%s)", what, path, error)
                break
        with contextlib.suppress(OSError):  # such as a full disk
            file.truncate()
            file.write(f"process {os.getpid()} on {socket.gethostname()}".encode())
        try:
            yield
        finally:
            # Closing is not enough while a forked child has the file open, too.
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_UN)
