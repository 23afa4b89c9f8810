"""A package's sound as a WebDataset tar shard of 16 kHz mono FLAC, with a record of every clip."""

import hashlib
import io
import json
import tarfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from pretrain.data.deb import PackageError, files
from pretrain.data.debian import Package
from pretrain.data.store_build import SAMPLE_RATE, decode
from wavebyol_hear.audio import AudioError
from wavebyol_hear.files.atomic import atomic_write, write_text

RAW_SUBTYPES = {
    "gsm": ("GSM610", 8_000),
    "ulaw": ("ULAW", 8_000),
    "alaw": ("ALAW", 8_000),
    "sln": ("PCM_16", 8_000),
    "sln16": ("PCM_16", 16_000),
}
MIN_SECONDS = 0.1
SILENCE = 33  # peak in int16, -60 dB of full scale


@dataclass(frozen=True)
class Clip:
    """One clip of a shard: its id, kind, path in the package, length, and hash of its samples."""

    clip_id: str
    kind: str
    path: str
    seconds: float
    audio_hash: str


@dataclass
class Record:
    """What a shard holds; written after it, so that a shard with a record is whole.

    Args:
        made_of: hash of what decides a shard's content: the package and its line in the list.
        clips: in the order of the package.
        bad: (path, reason) of files that could not be decoded, or are silent or too short.
        error: why the package could not be read to its end, empty if it could.
    """

    made_of: str
    clips: list[Clip] = field(default_factory=list)
    bad: list[tuple[str, str]] = field(default_factory=list)
    error: str = ""

    @property
    def hours(self) -> float:
        """Hours of all clips."""
        return sum(clip.seconds for clip in self.clips) / 3600


def identity(package: Package) -> str:
    """Return a hash of what decides a shard's content."""
    decisive = (package.sha256, package.rules, package.cap, SAMPLE_RATE)
    return hashlib.sha256(json.dumps(decisive).encode()).hexdigest()[:16]


def read_record(package: Package, folder: Path) -> Record | None:
    """Return the record of a package whose shard is done, else None."""
    path = folder / f"{package.name}.json"
    if not path.is_file() or not (folder / f"{package.name}.tar").is_file():
        return None
    entry: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if entry["made_of"] != identity(package):
        return None
    entry["clips"] = [Clip(**clip) for clip in entry["clips"]]
    return Record(**entry)


def write_shard(package: Package, deb: Path, folder: Path) -> Record:
    """Write `<package>.tar` and `<package>.json` and return the record.

    A file whose bytes or samples were in the package before is passed over.

    Args:
        package: whose sound is taken, as its rules and cap say.
        deb: the package's file.
        folder: where the shard goes; must exist.

    Raises:
        PackageError: if the package holds no sound that can be decoded.
        OSError: the shard cannot be written.
    """
    record = Record(identity(package))
    seen: set[str] = set()
    with atomic_write(folder / f"{package.name}.tar") as file:
        with tarfile.open(fileobj=file, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            try:
                for path, data in files(deb, lambda path: bool(package.kind_of(path))):
                    _add(package, path, data, tar, record, seen)
            except PackageError as error:
                record.error = str(error)
        if not record.clips:
            reason = record.error or (record.bad[0][1] if record.bad else "no file its rules name")
            raise PackageError(f"{package.name}: no sound: {reason}")
    write_text(folder / f"{package.name}.json", json.dumps(asdict(record)))
    return record


def _add(
    package: Package, path: str, data: bytes, tar: tarfile.TarFile, record: Record, seen: set[str]
) -> None:
    """Add one file of a package to its shard, unless it is bad or was seen before."""
    content = hashlib.sha256(data).hexdigest()
    if content in seen:
        return
    seen.add(content)
    try:
        samples = decode_excerpt(data, path, package.cap)
    except ValueError as error:
        record.bad.append((path, str(error)))
        return
    audio_hash = hashlib.sha256(samples.tobytes()).hexdigest()[:32]
    if audio_hash in seen:
        return
    seen.add(audio_hash)
    flac = io.BytesIO()
    soundfile.write(flac, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    clip_id = hashlib.sha256(f"{package.name}/{path}".encode()).hexdigest()[:16]
    member = tarfile.TarInfo(f"{clip_id}.flac")
    member.size = len(flac.getvalue())
    tar.addfile(member, io.BytesIO(flac.getvalue()))
    seconds = round(len(samples) / SAMPLE_RATE, 3)
    record.clips.append(Clip(clip_id, package.kind_of(path), path, seconds, audio_hash))


def decode_excerpt(data: bytes, path: str, cap: float) -> NDArray[np.int16]:
    """Decode the middle `cap` seconds of a file's bytes to 16 kHz mono.

    Args:
        data: a sound file, or raw telephony samples.
        path: of the file; its suffix says what raw samples are.
        cap: seconds, > 0; a shorter file is taken whole.

    Shape:
        returns [n], int16.

    Raises:
        AudioError: if it cannot be decoded, is silent, or is under `MIN_SECONDS`.
    """
    suffix = path.rpartition(".")[2].lower()
    raw: dict[str, Any] = {}
    if suffix in RAW_SUBTYPES:
        subtype, rate = RAW_SUBTYPES[suffix]
        raw = {"samplerate": rate, "channels": 1, "format": "RAW", "subtype": subtype}
    try:
        with soundfile.SoundFile(io.BytesIO(data), **raw) as sound:
            wanted = int(cap * sound.samplerate)
            # the length that an MP3 states is often an estimate, which `decode` takes at its word
            if raw or suffix == "mp3" or sound.frames > wanted:
                start = max(0, (sound.frames - wanted) // 2)
                if sound.seekable():
                    sound.seek(start)
                    excerpt = sound.read(wanted, dtype="float32", always_2d=True)
                else:
                    whole = sound.read(sound.frames, dtype="float32", always_2d=True)
                    excerpt = whole[start : start + wanted]
                buffer = io.BytesIO()
                soundfile.write(buffer, excerpt, sound.samplerate, format="WAV", subtype="FLOAT")
                data = buffer.getvalue()
    except (soundfile.LibsndfileError, RuntimeError, TypeError) as error:
        raise AudioError(f"cannot be decoded: {error}") from None
    samples = decode(data)
    if len(samples) < MIN_SECONDS * SAMPLE_RATE:
        raise AudioError(f"has {len(samples) / SAMPLE_RATE:.3f} s, under {MIN_SECONDS} s")
    if int(np.abs(samples.astype(np.int32)).max()) < SILENCE:
        raise AudioError("is silent")
    return samples
