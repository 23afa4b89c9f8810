"""One archive over HTTP through pooch, which verifies it; pooch cannot resume, so this does."""

import os
import shutil
import time
from pathlib import Path

import pooch
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


class Resuming:
    """A downloader for pooch whose unfinished file stays and is completed the next time.

    Args:
        part: the unfinished file; `<part>.is` says which version of the remote file it is of, so
            that two versions are never joined.
        verified: whether a checksum would tell if they were, so that the version may be unknown.
    """

    def __init__(self, part: Path, verified: bool) -> None:
        self.part = part
        self.verified = verified
        self.version = part.with_name(f"{part.name}.is")

    def __call__(self, url: str, output_file: str, _: object) -> None:
        """Bring `url` to `output_file`."""
        failures = 0
        while True:
            before = self._kept()
            try:
                self._go_on(url)
                break
            except BROKEN as error:
                failures = 1 if self._kept() > before else failures + 1
                if failures == ATTEMPTS:
                    raise DownloadError(
                        f"{url}: no connection or a broken one {ATTEMPTS} times in a row; "
                        f"{self._kept()} bytes are kept, and the same command goes on"
                    ) from error
                time.sleep(WAIT_SECONDS * failures)
            except requests.HTTPError as error:
                raise DownloadError(f"{error}; see whether the source has moved") from error
        self.version.unlink(missing_ok=True)
        os.replace(self.part, output_file)

    def _kept(self) -> int:
        """Return how many bytes are there to go on from."""
        usable = self.part.is_file() and (self.verified or self.version.is_file())
        return self.part.stat().st_size if usable else 0

    def _go_on(self, url: str) -> None:
        """Ask for what is missing and append it, or for all where the file has changed."""
        have = self._kept()
        headers = {"Accept-Encoding": "identity"}  # the archive's own bytes, to be hashed
        if have:
            headers["Range"] = f"bytes={have}-"
            if self.version.is_file():
                headers["If-Range"] = self.version.read_text()
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_SECONDS) as answer:
            if answer.status_code == requests.codes.requested_range_not_satisfiable:
                if answer.headers.get("Content-Range") == f"bytes */{have}":
                    return  # it was complete
                self.part.unlink()
                raise requests.ConnectionError("the server cannot go on; starting anew")
            if answer.status_code in BUSY:
                raise requests.ConnectionError(f"the server says {answer.status_code}")
            answer.raise_for_status()
            if answer.status_code != requests.codes.partial_content:
                have = 0
            left = int(answer.headers.get("Content-Length", 0))
            free = shutil.disk_usage(self.part.parent).free
            if left > free:
                raise DownloadError(
                    f"{url}: {left / 1e9:.1f} GB are to come and {self.part.parent} has "
                    f"{free / 1e9:.1f} GB free; make room or choose another --data-dir"
                )
            # What identifies the remote file: without it a transfer cannot be resumed. A weak ETag
            # does not promise equal bytes (RFC 9110, section 13.1.5).
            tag = answer.headers.get("ETag", "")
            known = answer.headers.get("Last-Modified") if tag.startswith("W/") or not tag else tag
            if known:
                self.version.write_text(known)
            else:
                self.version.unlink(missing_ok=True)
            progress = {"total": have + left if left else None, "initial": have}
            look = {"unit": "B", "unit_scale": True, "leave": False, "delay": 1}
            with (
                open(self.part, "ab" if have else "wb") as file,
                tqdm(desc=url.rpartition("/")[2], **progress, **look) as bar,
            ):
                for block in answer.iter_content(BLOCK_BYTES):
                    file.write(block)
                    bar.update(len(block))


def fetch(source: Source, folder: Path) -> tuple[Path, str]:
    """Bring an archive into a folder, unless it is there, and verify it.

    Returns the file, and a remark on its checksum, "" where it is the published one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pooch.get_logger().setLevel("WARNING")  # the bars say it
    strict = source.checksum if source.checksum and not source.repacked else None
    downloader = Resuming(folder / f"{source.file}.part", verified=bool(strict))
    try:
        name = pooch.retrieve(source.url, strict, source.file, folder, downloader=downloader)
    except DownloadError:
        raise
    except ValueError as error:  # how pooch reports a wrong checksum
        raise DownloadError(
            f"{source.url}: the checksum is not {source.checksum}; the file was removed: run the "
            "command again, and if that does not help the source has changed"
        ) from error
    path, remark = Path(name), ""
    algorithm = source.checksum.partition(":")[0] or "sha256"
    digest = "" if strict else f"{algorithm}:{pooch.file_hash(name, alg=algorithm)}"
    if not source.checksum:
        remark = f"{path.name} has {digest}; no checksum is published to compare it with"
    elif digest and digest != source.checksum:
        remark = (
            f"{path.name} has {digest}, not {source.checksum}: its publisher packs it anew at "
            "will, so the checksums of the files in it have to do"
        )
    return path, remark
