"""The sounds of a HEAR task at the rate a model wants, resampled once where they are not there."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import soundfile
from tqdm import tqdm

from benchmark.data.hear_catalogue import HearTaskError
from benchmark.data.hear_folder import HearTask
from wavebyol_hear.audio import AudioError, read_audio

RATES = (48000, 44100, 32000, 22050, 16000)
"""Rates HEAR's folders come at, the best source first."""


def at_rate(task: HearTask, rate: int, workers: int = 1) -> Path:
    """Make all sounds of a task exist at a rate, in the task folder's own layout.

    A file that is there is checked and never written over; one that is not is made from the same
    file at the highest rate that is there, by soxr, as 16-bit WAV like HEAR's own. Files appear
    whole or not at all, so what an interrupted run left is kept.

    Args:
        task: read and checked.
        rate: wanted, in Hz.
        workers: threads that resample; soxr and libsndfile run side by side in them.

    Returns:
        the folder that holds `<split>/<file name>` at the rate.

    Raises:
        HearTaskError: a sound is at no rate, cannot be read, or is not what its folder says.
    """
    wanted = task.folder / str(rate)
    there = _listing(wanted, task)
    listed = [(split, name) for split, clips in task.clips.items() for name in clips]
    todo = [(split, name) for split, name in listed if name not in there[split]]
    sources = {} if not todo else {r: _listing(task.folder / str(r), task) for r in RATES}
    jobs = []
    for split, name in todo:
        found = [r for r in RATES if name in sources[r][split]]
        if not found:
            raise HearTaskError(
                f"{wanted / split / name}: no such sound, nor at another rate; fetch the task again"
            )
        jobs.append((task.folder / str(found[0]) / split / name, wanted / split / name, rate))
    try:
        for split in dict.fromkeys(split for split, _ in todo):
            (wanted / split).mkdir(parents=True, exist_ok=True)
        _all(_resample, jobs, workers, f"{task.folder.name} to {rate} Hz")
    except OSError as error:
        raise HearTaskError(
            f"{wanted}: cannot be written ({error.strerror}); make room, or copy the task"
        ) from error
    checks = [(wanted / split / name, rate) for split, name in listed if name in there[split]]
    _all(_check, checks, workers, f"{task.folder.name}: headers")
    return wanted


def _listing(folder: Path, task: HearTask) -> dict[str, set[str]]:
    """Return the names that are in each split's folder."""
    found = {}
    for split in task.clips:
        try:
            found[split] = set(os.listdir(folder / split))
        except OSError:
            found[split] = set()
    return found


def _all(
    work: Callable[..., None], jobs: Sequence[tuple[object, ...]], workers: int, title: str
) -> None:
    """Do every job in threads, with a bar; the first error ends it."""
    with ThreadPoolExecutor(max(1, workers)) as pool:
        try:
            done = pool.map(lambda job: work(*job), jobs)
            for _ in tqdm(done, desc=title, total=len(jobs), unit="file", delay=1, leave=False):
                pass
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def _resample(source: Path, target: Path, rate: int) -> None:
    """Write a sound at another rate."""
    try:
        _check(source, int(source.parent.parent.name))
        wave = read_audio(source, rate)
    except AudioError as error:
        raise HearTaskError(str(error)) from error
    beside = target.with_name(f".{target.name}.{os.getpid()}.part")
    soundfile.write(beside, wave, rate, subtype="PCM_16", format="WAV")
    beside.replace(target)


def _check(path: Path, rate: int) -> None:
    """Raise unless a sound's header says one channel at the rate of its folder."""
    try:
        info = soundfile.info(path)
    except (soundfile.SoundFileError, OSError) as error:
        reason = " ".join(str(error).split())
        raise HearTaskError(f"{path}: is no sound ({reason}); fetch the task again") from error
    if info.samplerate != rate or info.channels != 1 or info.frames == 0:
        raise HearTaskError(
            f"{path}: has {info.frames} samples, {info.channels} channels and {info.samplerate} Hz "
            f"in a folder of one channel at {rate} Hz; fetch the task again"
        )
