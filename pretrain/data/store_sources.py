"""Where clips come from: a folder, FSD50K's official tree, or WebDataset tar shards.

Every source is cut into parts, the unit of parallel work and of resuming: a tar shard is one
part, a folder is cut every `FILES_PER_PART` files. A part yields `Raw` clips, not yet decoded.
"""

import csv
import hashlib
import json
import logging
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pretrain.data.tar_stream import COMMAND, tar_samples
from wavebyol_hear.files.command import readable
from wavebyol_hear.files.stores import is_remote

AUDIO_SUFFIXES = frozenset(
    {"wav", "flac", "ogg", "opus", "oga", "mp3", "aif", "aiff", "aifc", "au", "caf", "w64"}
)
UNREADABLE_SUFFIXES = frozenset({"m4a", "aac", "mp4", "wma", "wv", "ape", "amr", "m4b", "webm"})
FILES_PER_PART = 500

log = logging.getLogger(__name__)


class SourceError(ValueError):
    """A source that cannot be read, with what to do about it."""


@dataclass(frozen=True)
class Meta:
    """What the index keeps of a clip besides its samples."""

    kind: str = ""
    source: str = ""
    licence: str = ""
    labels: str = ""


@dataclass(frozen=True)
class Raw:
    """One clip before decoding: its path, or its bytes."""

    clip_id: str
    audio: Path | bytes
    meta: Meta


@dataclass(frozen=True)
class Part:
    """One unit of work.

    Args:
        name: where the part comes from; it also names the part's files.
        files: (clip id, path) of each clip; empty for a tar shard.
        tar: path or URL of a tar shard; empty for files.
        remote: whether `tar` is a URL or a command, as the user typed it; else it is a path,
            whatever its name looks like.
        stamp: of the files' sizes and times, so that changed sources are noticed.
        meta: by clip id, what is known beforehand.
        default: for a clip that `meta` does not know.
    """

    name: str
    files: tuple[tuple[str, str], ...] = ()
    tar: str = ""
    remote: bool = False
    stamp: str = ""
    meta: dict[str, Meta] = field(default_factory=dict)
    default: Meta = field(default_factory=Meta)

    def clips(self) -> Iterator[Raw]:
        """Yield the part's clips in a fixed order."""
        if self.tar:
            yield from self._from_tar()
        for clip_id, path in self.files:
            yield Raw(clip_id, Path(path), self.meta.get(clip_id, self.default))

    def _from_tar(self) -> Iterator[Raw]:
        for clip_id, sample in tar_samples(self.tar, self.remote):
            names = [name for name in sample if name.rpartition(".")[2] in AUDIO_SUFFIXES]
            known = self.meta.get(clip_id, self.default)
            meta = replace(known, labels=known.labels or _labels(sample))
            for name in names:
                unique = clip_id if len(names) == 1 else f"{clip_id}.{name}"
                yield Raw(unique, sample[name], meta)


def _labels(sample: dict[str, Any]) -> str:
    """Return the labels a WebDataset sample carries in its `cls`, `txt` or `json` entry."""
    for name in ("cls", "txt"):
        if name in sample:
            return str(sample[name].decode("utf-8", "replace")).strip()
    try:
        entry = json.loads(sample.get("json", b"{}"))
    except ValueError:
        return ""
    labels = entry.get("labels", entry.get("label", "")) if isinstance(entry, dict) else ""
    return ",".join(map(str, labels)) if isinstance(labels, list) else str(labels)


def parts_of(source: str) -> list[Part]:
    """Return the parts of one source.

    Args:
        source: a folder of audio, the root of FSD50K's official tree, a folder of tar shards, a
            tar shard, or the URL of one.

    Raises:
        SourceError: if there is no such thing, or no audio in it.
    """
    if is_remote(source) or source.startswith(COMMAND):
        return [Part(name=source, tar=source, remote=True, default=Meta(source=source))]
    path = Path(source).expanduser()
    if path.is_file() and ".tar" in path.suffixes:
        return [_tar_part(path)]
    if not path.is_dir():
        raise SourceError(f"{source}: no folder, tar shard or URL; give one that is there")
    if (path / "FSD50K.ground_truth" / "dev.csv").is_file():
        return _fsd50k_parts(path)
    tars = sorted(file for ending in ("*.tar", "*.tar.gz") for file in path.glob(ending))
    tars = [file for file in tars if file.is_file() and not file.name.startswith(".")]
    files = _audio_files(path)
    if not tars and not files:
        raise SourceError(
            f"{source}: no audio and no *.tar in this folder; "
            f"audio is {', '.join(sorted(AUDIO_SUFFIXES))}"
        )
    pairs = [(readable(str(file.relative_to(path))), str(file)) for file in files]
    loose = _file_parts(str(path), pairs, {}, Meta(source=path.name))
    return [*map(_tar_part, tars), *loose]


def _audio_files(root: Path) -> list[Path]:
    """Return the audio files under a folder, sorted, and warn of what is left out.

    Linked folders are followed, each folder once; hidden files and folders (`._x.wav` of macOS,
    `.ipynb_checkpoints`) are no audio.
    """
    files, left_out, seen = list[Path](), Counter[str](), set[Path]()

    def closed(error: OSError) -> None:
        log.warning("%s: cannot be listed (%s); its files are left out", error.filename, error)

    for folder, folders, names in os.walk(root, onerror=closed, followlinks=True):
        real = Path(folder).resolve()
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            path = Path(folder, name)
            ending = path.suffix[1:].lower()
            if name.startswith("."):
                continue
            if ending in UNREADABLE_SUFFIXES:
                left_out[f".{ending} (convert them to FLAC)"] += 1
            elif ending in AUDIO_SUFFIXES and path.is_file():
                files.append(path)
            elif ending in AUDIO_SUFFIXES:
                left_out["audio names that are no files (broken links, pipes)"] += 1
    for what, count in sorted(left_out.items()):
        log.warning("%s: %d files are left out: %s", root, count, what)
    return sorted(files)


def _stamp(*paths: str | Path) -> str:
    """Return a hash of files' sizes and times, that of a file which is gone included."""
    digest = hashlib.sha256()
    for path in paths:
        try:
            stat = os.stat(path)
        except OSError:
            digest.update(b"gone;")
        else:
            digest.update(f"{stat.st_size},{stat.st_mtime_ns};".encode())
    return digest.hexdigest()


def _file_parts(
    name: str, pairs: list[tuple[str, str]], meta: dict[str, Meta], default: Meta
) -> list[Part]:
    """Cut (clip id, path) pairs into parts."""
    parts = []
    for start in range(0, len(pairs), FILES_PER_PART):
        some = tuple(pairs[start : start + FILES_PER_PART])
        known = {clip_id: meta[clip_id] for clip_id, _ in some if clip_id in meta}
        stamp = _stamp(*(path for _, path in some))
        parts.append(Part(f"{name}#{start}", some, stamp=stamp, meta=known, default=default))
    return parts


def _tar_part(path: Path) -> Part:
    """Return the part of one local tar shard, described by an index.csv beside it if there is one.

    The index has the columns id, shard, kind, source, licence; others are not read.
    """
    index = path.parent / "index.csv"
    meta: dict[str, Meta] = {}
    if index.is_file():
        with index.open(newline="", encoding="utf-8") as lines:
            for row in csv.DictReader(lines):
                if "id" in row and row.get("shard", path.name) == path.name:
                    meta[row["id"]] = Meta(
                        row.get("kind", ""), row.get("source", ""), row.get("licence", "")
                    )
    return Part(
        str(path), tar=str(path), stamp=_stamp(path), meta=meta, default=Meta(source=path.name)
    )


def _fsd50k_parts(root: Path) -> list[Part]:
    """Return the parts of FSD50K's development set, with its labels and each clip's licence.

    Layout: https://zenodo.org/records/4060432. The evaluation set is never read: it is the test
    set of a benchmark.
    """
    audio = root / "FSD50K.dev_audio"
    if not audio.is_dir():
        raise SourceError(f"{root}: FSD50K without FSD50K.dev_audio; unpack its dev_audio zip here")
    licences = {}
    info = root / "FSD50K.metadata" / "dev_clips_info_FSD50K.json"
    if info.is_file():
        entries = json.loads(info.read_text(encoding="utf-8"))
        licences = {name: entry.get("license", "") for name, entry in entries.items()}
    meta: dict[str, Meta] = {}
    with (root / "FSD50K.ground_truth" / "dev.csv").open(newline="", encoding="utf-8") as lines:
        for row in csv.DictReader(lines):
            meta[row["fname"]] = Meta(
                kind="everyday",
                source=f"FSD50K dev ({row['split']})",
                licence=licences.get(row["fname"], "see FSD50K.metadata"),
                labels=row["labels"],
            )
    pairs = [(name, str(audio / f"{name}.wav")) for name in sorted(meta)]
    return _file_parts(str(root), pairs, meta, Meta(source="FSD50K dev"))
