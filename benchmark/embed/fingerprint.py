"""Content hashes of audio files, and what else embeddings depend on."""

import errno
import hashlib
import json
import logging
import os
import stat
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
import torch
from tqdm import tqdm

from benchmark.data.clip import Clip
from benchmark.embed.cache import CacheError
from wavebyol_hear.files.atomic import HASH_BYTES, atomic_write, file_hash, read_object
from wavebyol_hear.files.read_ahead import ahead

HASHING_THREADS = 4
ABSENT = "absent"
UNAVAILABLE = ""
"""Stands for the hash of a file that could not be read because of a temporary failure."""
CONTENT_ERRORS = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG)
RETRY_SECONDS = (0.05, 0.5)

logger = logging.getLogger(__name__)


def library_versions() -> dict[str, str]:
    """Return the versions of what decodes, resamples and computes embeddings."""
    return {
        "torch": torch.__version__,
        "libsndfile": soundfile.__libsndfile_version__,
        "soxr": soxr.__version__,
        "numpy": np.__version__,
    }


def file_stamp(path: str) -> int:
    """Return 63 bits of size and times of a file, 0 where there is none.

    They change with its content, as Git relies on too. The change time is part of them, so a file
    that replaces another with its size and modification time is noticed.
    """
    try:
        status = os.stat(path)
    except OSError:
        return 0
    text = f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def clip_hash(path: str) -> str:
    """Return the hash of an audio file's bytes, `ABSENT`, or `UNAVAILABLE`.

    After temporary failures (too many open files, an input/output error, a stale handle of a
    network disk) it tries again. Pipes and devices are never opened.
    """
    for wait in (*RETRY_SECONDS, None):
        try:
            if not stat.S_ISREG(os.stat(path).st_mode):
                return "no regular file"
            return file_hash(path)
        except OSError as error:
            if error.errno in CONTENT_ERRORS:
                return ABSENT
            if wait is None:
                logger.warning("%s: cannot be read now (%s)", path, error.strerror)
                return UNAVAILABLE
            time.sleep(wait)
    raise AssertionError


def _keep(memory: Path, known: Mapping[str, list[Any]]) -> None:
    """Write the known hashes, line by line, which needs less memory than one JSON text."""
    try:
        memory.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(memory) as file:
            for number, (path, kept) in enumerate(known.items()):
                start = "," if number else "{"
                file.write(f"{start}\n{json.dumps(path)}: {json.dumps(kept)}".encode())
            file.write(b"\n}\n")
    except OSError as error:
        if any(memory.parent.glob("*/embeddings.npy")):  # a cache that may only be read
            logger.warning("%s: cannot be written (%s)", memory, error)
            return
        raise CacheError.unwritable(memory.parent, error) from error


def contents(clips: Sequence[Clip], root: Path, memory: Path) -> tuple[list[str], np.ndarray]:
    """Return hash and stamp of the file of each clip; only changed files are read.

    Hashes are those of `clip_hash`. Stamps, int64 `[n]`, are taken before hashing, so that a later
    reader can tell whether the file is still the hashed one. `memory` is a JSON file that keeps
    path, stamp and hash between runs.
    """
    known = {
        path: kept
        for path, kept in read_object(memory).items()
        if isinstance(kept, list) and [type(each) for each in kept] == [int, str]
    }
    # Plain strings: 300,000 Path objects would take longer than asking the disk. And only
    # those of changed files are held, as with their stamps they would double what is known.
    base = root.absolute()
    stale = {}
    stamps = np.empty(len(clips), np.int64)
    for row, clip in enumerate(clips):
        path = f"{base}/{clip.path}"
        stamps[row] = stamp = file_stamp(path)
        if path not in known or known[path][0] != stamp:
            stale[path] = stamp
    if stale:
        options = {"desc": "hashing audio", "unit": "file", "leave": False, "delay": 1}
        # Hashing releases the interpreter lock.
        with closing(ahead(clip_hash, stale, HASHING_THREADS)) as hashes:
            bar = tqdm(hashes, total=len(stale), **options)
            for (path, stamp), value in zip(stale.items(), bar, strict=True):
                known.pop(path, None)
                if value != UNAVAILABLE:
                    known[path] = [stamp, value]
        _keep(memory, known)
    paths = (f"{base}/{clip.path}" for clip in clips)
    return [known[path][1] if path in known else UNAVAILABLE for path in paths], stamps


def content_hashes(clips: Sequence[Clip], root: Path, memory: Path) -> list[str]:
    """Return `contents`' hashes; raise OSError where a file may only be readable later."""
    hashes, _ = contents(clips, root, memory)
    if UNAVAILABLE in hashes:
        path = root / clips[hashes.index(UNAVAILABLE)].path
        raise OSError(errno.EIO, "cannot be read now; run it again", str(path))
    return hashes


def sound_fingerprint(clips: Sequence[Clip], hashes: Sequence[str]) -> str:
    """Return the hash of a list of audio files: their paths below the root and their contents.

    Labels and splits are not included, so that tasks on the same audio share embeddings.
    """
    return _hash_of(f"{c.path}\t{value}" for c, value in zip(clips, hashes, strict=True))


def data_fingerprint(clips: Sequence[Clip], hashes: Sequence[str]) -> str:
    """Return the hash of all data that a score depends on: audio, labels, splits, groups, order.

    It is the same on every machine that holds the same data.
    """
    return _hash_of(
        "\t".join((c.clip_id, c.label, c.split, c.group, value))
        for c, value in zip(clips, hashes, strict=True)
    )


def _hash_of(lines: Iterable[str]) -> str:
    """Return the hash of lines, never all in memory."""
    digest = hashlib.blake2b(digest_size=HASH_BYTES)
    for number, line in enumerate(lines):
        digest.update(("\n" * bool(number) + line).encode(errors="surrogateescape"))
    return digest.hexdigest()
