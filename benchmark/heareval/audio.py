"""The audio of a HEAR task folder at a model's rate."""

import dataclasses
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from benchmark.data.clip import Clip, TaskDataError
from benchmark.data.hear_folder import HearTask
from benchmark.embed.fingerprint import content_hashes
from wavebyol_hear.audio import AudioError, read_audio
from wavebyol_hear.files.atomic import atomic_write
from wavebyol_hear.files.read_ahead import ahead

RATES = (48000, 44100, 32000, 22050, 16000)
"""Rates HEAR's folders come at, the best source first."""
FAINT_DB = -60.0
"""Peak below which 16-bit samples leave a clip less than 40 dB above their rounding."""
PEAK_CLIPS = 200


def audio_at(
    hear: HearTask, clips: Sequence[Clip], rate: int, cache: Path, workers: int = 1
) -> tuple[Path, list[Clip]]:
    """Return where the clips of a task lie at a rate: in its own folder, or as copies in our cache.

    A folder that has all clips at the rate is used as it is. Otherwise each is read at the highest
    rate there is, resampled by soxr and kept as float32, whose rounding is relative to a sample and
    not to full scale. A copy's name is the hash of its source, so a changed source has another.

    Args:
        hear: nothing is written into its folder.
        clips: as `hear_source` lists them.
        rate: in Hz.
        cache: folder of the copies.
        workers: threads that resample, as soxr and libsndfile can at once.

    Returns:
        a folder and the clips with their paths below it.

    Raises:
        TaskDataError: a file is at no rate, cannot be read, or is not what its folder says.
    """
    own = hear.folder / str(rate)
    if all((own / clip.path).exists() for clip in clips):
        jobs = [(_check, own / clip.path, rate) for clip in clips]
        _each(workers, f"{hear.folder.name}: headers", jobs)
        return own, list(clips)
    there = [r for r in RATES if (hear.folder / str(r)).is_dir()]
    sources = []
    for clip in clips:
        rates = [r for r in there if (hear.folder / str(r) / clip.path).exists()]
        if not rates:
            raise TaskDataError(
                f"{own / clip.path}: no such file, nor at another rate; fetch the task again"
            )
        sources.append(dataclasses.replace(clip, path=f"{rates[0]}/{clip.path}"))
    hashes = content_hashes(sources, hear.folder, cache / f"{hear.folder.name}-sources.json")
    root = cache / str(rate)
    copies = [
        dataclasses.replace(clip, path=f"{value[:2]}/{value}.wav")
        for clip, value in zip(clips, hashes, strict=True)
    ]
    todo = {
        copy.path: (_resample, hear.folder / source.path, root / copy.path, rate)
        for source, copy in zip(sources, copies, strict=True)
        if not (root / copy.path).exists()
    }
    try:
        _each(workers, f"{hear.folder.name} to {rate} Hz", list(todo.values()))
    except OSError as error:
        raise TaskDataError(
            f"{root}: cannot be written ({error.strerror}); make room or choose another --cache-dir"
        ) from error
    return root, copies


def _each(workers: int, title: str, jobs: Sequence[tuple]) -> None:
    """Do (function, argument, ...) of every job in threads, with a bar; the first error ends it."""
    with closing(ahead(lambda job: job[0](*job[1:]), jobs, workers)) as done:
        for _ in tqdm(done, desc=title, total=len(jobs), unit="file", delay=1, leave=False):
            pass


def _resample(source: Path, target: Path, rate: int) -> None:
    """Write a file's audio at another rate, as float32."""
    _check(source, int(source.parent.parent.name))
    try:
        wave = read_audio(source, rate)
    except AudioError as error:
        raise TaskDataError(str(error)) from error
    target.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(target) as file:
        soundfile.write(file, wave, rate, subtype="FLOAT", format="WAV")


def _check(path: Path, rate: int) -> None:
    """Raise unless a file's header says one channel at the rate of its folder."""
    try:
        info = soundfile.info(path)
    except (soundfile.SoundFileError, OSError) as error:
        reason = " ".join(str(error).split())
        raise TaskDataError(f"{path}: is no audio ({reason}); fetch the task again") from error
    if info.samplerate != rate or info.channels != 1 or info.frames == 0:
        raise TaskDataError(
            f"{path}: has {info.frames} samples, {info.channels} channels and {info.samplerate} Hz "
            f"in a folder of one channel at {rate} Hz; fetch the task again"
        )


def faintness(hear: HearTask, root: Path, clips: Sequence[Clip]) -> list[str]:
    """Return a note where the loudest of a task's clips peaks under -60 dB of full scale.

    Up to 200 clips, spread evenly, are read below the root.
    """
    chosen = np.unique(np.linspace(0, len(clips) - 1, min(PEAK_CLIPS, len(clips))).astype(int))
    peak = 0.0
    for row in chosen:
        try:
            wave, _ = soundfile.read(root / clips[row].path, dtype="float32")
        except (soundfile.SoundFileError, OSError):
            continue
        peak = max(peak, float(np.abs(wave).max(initial=0.0)))
        if peak >= 10 ** (FAINT_DB / 20):
            return []
    decibels = f"{20 * np.log10(peak):.0f} dB" if peak else "silence"
    return [
        f"{hear.folder.name}: faint, its loudest clip peaks at {decibels} of full scale; copies of "
        f"16 bit, such as other tools make, lose most of it"
    ]
