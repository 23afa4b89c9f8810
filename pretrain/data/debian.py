"""The pinned list of Debian packages whose sound makes the open corpus, and how one is fetched."""

import csv
import fnmatch
import hashlib
import os
import shutil
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from pretrain.data.deb import PackageError
from wavebyol_hear.files.atomic import regular

LIST = Path(__file__).with_name("debian_bookworm.csv")
KINDS = ("everyday", "speech", "music")
MIRRORS = (
    "http://deb.debian.org/debian",
    # What a point release has replaced is kept for good in the archive's snapshots.
    "http://snapshot.debian.org/archive/debian/20250520T000000Z",
)
AUDIO_SUFFIXES = (
    *(".wav", ".ogg", ".oga", ".opus", ".flac", ".mp3", ".au", ".aif", ".aiff"),
    *(".gsm", ".ulaw", ".alaw", ".sln", ".sln16"),  # raw, as telephony has them
)
_TRIES = 3
_TIMEOUT_S = 60.0
_BLOCK = 1 << 20


@dataclass(frozen=True)
class Package:
    """One line of the list.

    Args:
        name: of the binary package.
        version: Debian version.
        filename: below the mirror's root, `pool/...`.
        sha256: of the .deb, in hexadecimal.
        size: of the .deb, in bytes.
        licence: of its sound, as in `debian/copyright`.
        rules: (kind, glob) pairs; the first glob that matches a file's path gives its kind. A
            file that none matches, or whose kind is "-", is left out.
        cap: seconds of one file that are taken, from its middle.
    """

    name: str
    version: str
    filename: str
    sha256: str
    size: int
    licence: str
    rules: tuple[tuple[str, str], ...]
    cap: float

    def kind_of(self, path: str) -> str:
        """Return the kind of a file of this package, empty if the file is not wanted."""
        if not path.lower().endswith(AUDIO_SUFFIXES):
            return ""
        kinds = (kind for kind, glob in self.rules if fnmatch.fnmatchcase(path, glob))
        return next(kinds, "-").removeprefix("-")


def read_list(path: Path = LIST) -> list[Package]:
    """Read a list of packages.

    Args:
        path: a CSV with the columns package, version, filename, sha256, size, licence, kinds, cap;
            `kinds` holds `kind=glob` entries, separated by spaces, such as
            `speech=*_desc* everyday=*`.

    Raises:
        PackageError: naming the line that is malformed.
        OSError: the list cannot be read.
    """
    packages = []
    with open(path, newline="", encoding="utf-8", opener=regular) as lines:
        for row in csv.DictReader(lines):
            try:
                entries = (entry.partition("=") for entry in row["kinds"].split())
                rules = tuple((kind, glob) for kind, _, glob in entries)
                package = Package(
                    row["package"], row["version"], row["filename"], row["sha256"],
                    int(row["size"]), row["licence"], rules, float(row["cap"]),
                )  # fmt: skip
            except (KeyError, TypeError, ValueError) as error:
                raise PackageError(f"{path.name}: malformed line {row}: {error}") from None
            unknown = {kind for kind, glob in rules if kind not in (*KINDS, "-") or not glob}
            if unknown or not rules:
                raise PackageError(
                    f"{path.name}: {package.name}: kinds {row['kinds']!r} are not kind=glob with "
                    f"a kind of {', '.join(KINDS)} or -"
                )
            packages.append(package)
    return packages


def fetch(package: Package, folder: Path, mirror: str | None = None) -> Path:
    """Return the package's .deb in `folder`, fetched unless it is there, its checksum verified.

    Args:
        package: what to fetch.
        folder: where it is kept; must exist. A download that was cut off goes on where it was.
        mirror: root of a mirror of Debian's archive, as a URL (http, https, file) or a folder.
            Without one, `apt-get download` is tried where there is apt, then `MIRRORS`.

    Raises:
        PackageError: if it cannot be had, or what came has another checksum.
        OSError: it cannot be written.
    """
    target = folder / f"{package.name}_{package.sha256[:12]}.deb"
    if target.is_file() and _sha256(target) == package.sha256:
        return target
    if mirror is None and shutil.which("apt-get") and _apt_get(package, target):
        return target
    reasons = []
    for root in (mirror,) if mirror else MIRRORS:
        try:
            _download(package, root, target)
            return target
        except (PackageError, urllib.error.URLError, ValueError, TimeoutError) as error:
            reasons.append(f"{root}: {error}")
    raise PackageError(f"{package.name} {package.version}: {'; '.join(reasons)}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _apt_get(package: Package, target: Path) -> bool:
    """Download by apt, which knows this machine's mirrors and proxies; say whether that worked."""
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        # apt drops to a user of its own, who must be able to write here
        os.chmod(folder, 0o777)
        command = ["apt-get", "-qq", "download", f"{package.name}={package.version}"]
        result = subprocess.run(command, cwd=folder, capture_output=True, check=False)
        debs = list(Path(folder).glob("*.deb"))
        if result.returncode or len(debs) != 1 or _sha256(debs[0]) != package.sha256:
            return False
        debs[0].replace(target)
    return True


def _download(package: Package, root: str, target: Path) -> None:
    """Download over HTTP(S) or from a folder, into a .part file that a later try continues."""
    if "://" not in root:
        root = Path(root).resolve().as_uri()
    url = f"{root.rstrip('/')}/{urllib.parse.quote(package.filename, safe='/~+')}"
    part = target.with_suffix(".part")
    for attempt in range(1, _TRIES + 1):
        there = part.stat().st_size if part.is_file() else 0
        if there < package.size:
            try:
                _append(url, part, there, package.size)
            except (OSError, ValueError) as error:
                lasting = isinstance(error, urllib.error.HTTPError) and error.code in (403, 404)
                if lasting or attempt == _TRIES:
                    raise PackageError(f"{url}: {error}") from None
                time.sleep(attempt)
                continue
        if part.stat().st_size < package.size:
            continue  # the connection ended early; the next try appends the rest
        if _sha256(part) == package.sha256:
            part.replace(target)
            return
        part.unlink()
    raise PackageError(f"{url}: {_TRIES} tries gave no file with SHA-256 {package.sha256[:12]}...")


def _append(url: str, part: Path, there: int, size: int) -> None:
    """Append to a part file what is still missing, never more than the package's size."""
    request = urllib.request.Request(url, headers={"Range": f"bytes={there}-"} if there else {})
    with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:
        # a server without ranges, or a file: URL, sends all from the start
        resumed = there and answer.status == 206
        with part.open("ab" if resumed else "wb") as file:
            left = size - (there if resumed else 0)
            while left > 0 and (block := answer.read(min(_BLOCK, left))):
                left -= file.write(block)
