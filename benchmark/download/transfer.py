"""One archive over HTTP: a broken transfer resumes, and the bytes are verified."""

import hashlib
import os
import shutil
import time
from pathlib import Path

import requests
from tqdm import tqdm

from benchmark.data.clip import BenchmarkError, Source

ATTEMPTS = 5
WAIT_SECONDS = 2.0
TIMEOUT_SECONDS = 60
BLOCK_BYTES = 1 << 16
"""What comes at a time; a block that is not whole when the connection breaks is lost."""

BUSY = (429, 500, 502, 503, 504)
BROKEN = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)


class DownloadError(BenchmarkError):
    """A transfer that failed or brought the wrong bytes, with what to do about it."""


def fetch(source: Source, folder: Path) -> tuple[Path, str]:
    """Bring an archive into a folder, unless it is there, and verify it.

    Returns the file, and a remark on its checksum, "" where it is the published one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / source.file
    strict = bool(source.checksum) and not source.repacked
    if not path.is_file():
        _transfer(source.url, path, verified=strict)
    algorithm = source.checksum.partition(":")[0] or "sha256"
    with open(path, "rb") as file:
        digest = f"{algorithm}:{hashlib.file_digest(file, algorithm).hexdigest()}"
    if digest == source.checksum:
        return path, ""
    if not source.checksum:
        return path, f"{path.name} has {digest}; no checksum is published to compare it with"
    if source.repacked:
        return path, (
            f"{path.name} has {digest}, not {source.checksum}: its publisher packs it anew at "
            "will, so the checksums of the files in it have to do"
        )
    path.unlink()
    raise DownloadError(
        f"{source.url}: the checksum is not {source.checksum}; the file was removed: run the "
        "command again, and if that does not help the source has changed"
    )


def _transfer(url: str, path: Path, *, verified: bool) -> None:
    """Bring a file in several attempts; its unfinished part stays and is completed the next time.

    Beside `<file>.part`, `<file>.part.is` says which version of the remote file it is of, so that
    two versions are never joined; where a checksum will verify the whole, it may be unknown.
    """
    part, version = (path.with_name(path.name + suffix) for suffix in (".part", ".part.is"))

    def kept() -> int:
        usable = part.is_file() and (verified or version.is_file())
        return part.stat().st_size if usable else 0

    failures = 0
    while True:
        before = kept()
        try:
            _go_on(url, part, version, before)
            break
        except BROKEN as error:
            failures = 1 if kept() > before else failures + 1
            if failures == ATTEMPTS:
                raise DownloadError(
                    f"{url}: no connection or a broken one {ATTEMPTS} times in a row; "
                    f"{kept()} bytes are kept, and the same command goes on"
                ) from error
            time.sleep(WAIT_SECONDS * failures)
        except requests.HTTPError as error:
            raise DownloadError(f"{error}; see whether the source has moved") from error
    version.unlink(missing_ok=True)
    os.replace(part, path)


def _go_on(url: str, part: Path, version: Path, have: int) -> None:
    """Ask for what is missing and append it, or for all where the file has changed."""
    headers = {"Accept-Encoding": "identity"}  # the archive's own bytes, to be hashed
    if have:
        headers["Range"] = f"bytes={have}-"
        if version.is_file():
            headers["If-Range"] = version.read_text()
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as answer:
        if answer.status_code == requests.codes.requested_range_not_satisfiable:
            if answer.headers.get("Content-Range") == f"bytes */{have}":
                return  # it was complete
            part.unlink()
            raise requests.ConnectionError("the server cannot go on; starting anew")
        if answer.status_code in BUSY:
            raise requests.ConnectionError(f"the server says {answer.status_code}")
        answer.raise_for_status()
        if answer.status_code != requests.codes.partial_content:
            have = 0
        left = int(answer.headers.get("Content-Length", 0))
        free = shutil.disk_usage(part.parent).free
        if left > free:
            raise DownloadError(
                f"{url}: {left / 1e9:.1f} GB are to come and {part.parent} has "
                f"{free / 1e9:.1f} GB free; make room or choose another --data-dir"
            )
        # What identifies the remote file: without it a transfer cannot be resumed. A weak ETag
        # does not promise equal bytes (RFC 9110, section 13.1.5).
        tag = answer.headers.get("ETag", "")
        known = answer.headers.get("Last-Modified") if tag.startswith("W/") or not tag else tag
        if known:
            version.write_text(known)
        else:
            version.unlink(missing_ok=True)
        total = have + left if left else None
        look = {"unit": "B", "unit_scale": True, "leave": False, "delay": 1}
        with (
            open(part, "ab" if have else "wb") as file,
            tqdm(desc=part.stem, total=total, initial=have, **look) as bar,
        ):
            for block in answer.iter_content(BLOCK_BYTES):
                file.write(block)
                bar.update(len(block))
