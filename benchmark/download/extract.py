"""Archives unpacked with suspicion: plain files and folders below one folder, nothing else."""

import shutil
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import IO

from tqdm import tqdm

from benchmark.download.split_zip import open_zip

DAMAGED = (EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error, NotImplementedError)


class ExtractError(ValueError):
    """An archive that is damaged or must not be unpacked, with what to do about it."""


def place(archive: Path, folder: Path, name: str) -> Path:
    """Return where a member belongs.

    Args:
        archive: for the error.
        folder: that nothing may leave.
        name: of the member as the archive has it.

    Raises:
        ExtractError: the name leads out of the folder, or would on another system.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or any(sign in name for sign in "\\:\0"):
        raise ExtractError(
            f"{archive}: the member {name!r} leads out of the folder; nothing of it is used, "
            "report it to the publisher"
        )
    return folder / path


def write(content: IO[bytes], path: Path) -> None:
    """Write a member's content; its owner, mode and time are not taken over."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        shutil.copyfileobj(content, file, 1 << 20)


def refuse_special(archive: Path, name: str) -> ExtractError:
    """Return the error of a member that is neither file nor folder."""
    return ExtractError(
        f"{archive}: the member {name!r} is a link or a device, which no data set needs; nothing "
        "of it is used, report it to the publisher"
    )


def unpack_zip(parts: Sequence[Path], folder: Path) -> None:
    """Unpack a ZIP archive of one file or several; every member's checksum is verified."""
    with open_zip(parts) as archive:
        members = archive.infolist()
        for member in members:
            place(parts[0], folder, member.filename)
            mode = stat.S_IFMT(member.external_attr >> 16)  # 0 where it was not made on Unix
            if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise refuse_special(parts[0], member.filename)
        total = sum(member.file_size for member in members)
        free = shutil.disk_usage(folder).free
        if total > free:
            raise ExtractError(
                f"{parts[0]}: unpacks to {total / 1e9:.1f} GB and {folder} has {free / 1e9:.1f} GB "
                "free; make room and run the command again"
            )
        with tqdm(
            desc=f"unpacking {parts[-1].name}",
            total=total,
            unit="B",
            unit_scale=True,
            leave=False,
            delay=1,
        ) as bar:
            for member in members:
                path = place(parts[0], folder, member.filename)
                if member.is_dir():
                    path.mkdir(parents=True, exist_ok=True)
                    continue
                with archive.open(member) as content:
                    write(content, path)
                bar.update(member.file_size)


def unpack_tar(path: Path, folder: Path) -> None:
    """Unpack a tar archive, compressed or not, in one pass."""
    with (
        open(path, "rb") as file,
        tqdm.wrapattr(
            file,
            "read",
            total=path.stat().st_size,
            desc=f"unpacking {path.name}",
            leave=False,
            delay=1,
        ) as counted,
        tarfile.open(fileobj=counted, mode="r|*") as archive,
    ):
        for member in archive:
            target = place(path, folder, member.name)
            if member.isdir():
                target.mkdir(parents=True, exist_ok=True)
                continue
            content = archive.extractfile(member) if member.isreg() else None
            if content is None:
                raise refuse_special(path, member.name)
            write(content, target)


def archives(paths: Sequence[Path]) -> list[list[Path]]:
    """Return the files of each archive: the parts of a split ZIP belong together."""
    groups: dict[str, list[Path]] = {}
    for path in paths:
        split = path.suffix.lower() == ".zip" or path.suffix.lower()[:2] == ".z"
        groups.setdefault(path.stem if split else path.name, []).append(path)
    return list(groups.values())


def unpack(parts: Sequence[Path], folder: Path) -> None:
    """Unpack one archive.

    Args:
        parts: its file, or the parts of a split ZIP.
        folder: to unpack into; made if absent. What an error leaves there is to be thrown away.

    Raises:
        ExtractError: the archive is damaged or of an unknown kind, or a member is a link, a
            device, or leads out of the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kind = "".join(parts[-1].suffixes[-2:]).lower()
    try:
        if parts[0].suffix.lower()[:2] == ".z":
            unpack_zip(parts, folder)
        elif kind.endswith((".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")):
            unpack_tar(parts[0], folder)
        else:
            raise ExtractError(f"{parts[0]}: neither .zip nor .tar; unpack it by hand")
    except DAMAGED as error:
        remedy = "delete it and run the command again"
        if len(parts) > 1:
            whole = parts[0].with_name(f"{parts[0].stem}.zip")
            remedy += f", or join it by hand: zip -s 0 {whole} --out whole.zip"
        raise ExtractError(f"{parts[0]}: cannot be unpacked ({error}); {remedy}") from error
