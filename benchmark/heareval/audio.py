"""The audio of a HEAR task folder: where its clips lie, and whether it is what the folder says."""

import dataclasses
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from benchmark.data.clip import Clip, TaskDataError
from benchmark.data.hear_folder import HearTask
from wavebyol_hear.files.read_ahead import ahead

RATES = (48000, 44100, 32000, 22050, 16000)
"""Rates HEAR's folders come at, the best source first."""
FAINT_DB = -60.0
"""Peak below which 16-bit samples leave a clip less than 40 dB above their rounding."""
PEAK_CLIPS = 200


def audio_at(hear: HearTask, clips: Sequence[Clip], rate: int, workers: int = 1) -> list[Clip]:
    """Return the clips of a task with their paths below its folder, each file's header checked.

    A folder that has all clips at the rate is used. Otherwise each clip is that of the highest rate
    there is, which is resampled as it is read.

    Args:
        hear: nothing is written into its folder.
        clips: as `hear_source` lists them.
        rate: in Hz.
        workers: threads that read headers.

    Raises:
        TaskDataError: a file is at no rate, cannot be read, or is not what its folder says.
    """
    own = hear.folder / str(rate)
    whole = all((own / clip.path).exists() for clip in clips)
    rates = (rate,) if whole else RATES
    chosen = []
    for clip in clips:
        paths = [f"{r}/{clip.path}" for r in rates if (hear.folder / f"{r}/{clip.path}").exists()]
        if not paths:
            raise TaskDataError(
                f"{own / clip.path}: no such file, nor at another rate; fetch the task again"
            )
        chosen.append(dataclasses.replace(clip, path=paths[0]))
    files = [hear.folder / clip.path for clip in chosen]
    title = f"{hear.folder.name}: headers"
    with closing(ahead(_check, files, workers)) as done:
        for _ in tqdm(done, desc=title, total=len(files), unit="file", delay=1, leave=False):
            pass
    return chosen


def _check(path: Path) -> None:
    """Raise unless a file's header says one channel at the rate of its folder."""
    rate = int(path.parent.parent.name)
    try:
        info = soundfile.info(path)
    except (soundfile.SoundFileError, OSError) as error:
        reason = " ".join(str(error).split())
        raise TaskDataError(f"{path}: is not audio ({reason}); fetch the task again") from error
    if info.samplerate != rate or info.channels != 1 or info.frames == 0:
        raise TaskDataError(
            f"{path}: has {info.frames} samples, {info.channels} channels and {info.samplerate} Hz "
            f"in a folder of one channel at {rate} Hz; fetch the task again"
        )


def faintness(hear: HearTask, clips: Sequence[Clip]) -> list[str]:
    """Return a note where the loudest of a task's clips peaks under -60 dB of full scale.

    Up to 200 clips, spread evenly, are read.
    """
    chosen = np.unique(np.linspace(0, len(clips) - 1, min(PEAK_CLIPS, len(clips))).astype(int))
    peak = 0.0
    for row in chosen:
        try:
            wave, _ = soundfile.read(hear.folder / clips[row].path, dtype="float32")
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
