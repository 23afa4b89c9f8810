"""How fast files become waves, and how time and memory grow with their number."""

import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from time import perf_counter

import numpy as np
import soundfile
import soxr
import torch

from benchmark.data.clip import Clip, Task
from benchmark.data.registry import TaskClips
from benchmark.embed.embed import embed_task
from tools.speed.clock import Figure, Plan, interleaved
from wavebyol_hear.files.hear_module import load
from wavebyol_hear.files.memory import PeakMemory
from wavebyol_hear.files.read_ahead import Reader

RATE, FILE_RATE = 16_000, 44_100
TINY_SAMPLES = 1_600
# Files that are written; other tiny clips are links to them, made in a hundredth of the time.
WRITTEN = 1_000


def write_noise(path: Path, samples: int, rate: int, seed: int) -> None:
    """Write noise at a tenth of full scale."""
    noise = np.random.default_rng(seed).standard_normal(samples)
    soundfile.write(path, 0.1 * noise, rate, subtype="PCM_16")


def _bare(path: str) -> int:
    """Decode and resample a file with the libraries alone; return its length."""
    wave, rate = soundfile.read(path, dtype="float32")
    return len(soxr.resample(wave, rate, RATE, quality="HQ"))


def decode(plan: Plan) -> list[Figure]:
    """Return files per second of the reading ahead, against soundfile and soxr alone.

    Alone means in a pool of threads or of processes, whichever is faster here.
    """
    count = 8 if plan.small else 200
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(Path(folder) / f"{number}.wav") for number in range(count)]
        for number, path in enumerate(paths):
            write_noise(Path(path), 5 * FILE_RATE, FILE_RATE, number)

        def ours() -> None:
            for _ in Reader(paths, RATE).batches(range(count), plan.workers, 64.0):
                pass

        def processes() -> None:
            with multiprocessing.get_context("fork").Pool(plan.workers) as pool:
                pool.map(_bare, paths, chunksize=8)

        def threads() -> None:
            with ThreadPoolExecutor(plan.workers) as pool:
                list(pool.map(_bare, paths))

        calls = {"ours": ours, "processes": processes, "threads": threads}
        seconds = interleaved(calls, plan.runs)
    alone = min(seconds["processes"], seconds["threads"])
    return [
        Figure(
            "decode",
            f"44.1 kHz, 5 s, {plan.workers} workers, against soundfile + soxr alone",
            count / seconds["ours"],
            "files/s",
            alone / seconds["ours"],
            target=0.9,
        )
    ]


def growth(plan: Plan) -> list[Figure]:
    """Return how the time of a clip and the peak memory change as clips grow in number."""
    counts = [20, 40] if plan.small else list(plan.counts)
    measured = []
    for count in counts:
        # A fresh process, whose memory is nobody else's.
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
            measured.append(process.submit(_embed_tiny, count, plan.workers).result())
    figures = []
    for count, (seconds, peak) in zip(counts, measured, strict=True):
        target = 1.1 if count > counts[0] and not plan.small else None
        each = seconds / count / (measured[0][0] / counts[0])
        what = f"{count} clips, time of each against {counts[0]}"
        figures.append(Figure("growth", what, seconds, "s", each, target=target, at_most=True))
        if peak:
            what = f"{count} clips, peak memory against {counts[0]}"
            more = peak / measured[0][1]
            mebibytes = peak / 2**20
            figures.append(
                Figure("growth", what, mebibytes, "MiB", more, target=target, at_most=True)
            )
    return figures


def _embed_tiny(count: int, workers: int) -> tuple[float, int]:
    """Embed files of 0.1 s; return the seconds and the peak memory in bytes, 0 where unknown."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        clips = []
        for number in range(count):
            path = root / f"{number}.wav"
            if number < WRITTEN:
                write_noise(path, TINY_SAMPLES, RATE, number)
            else:
                path.hardlink_to(root / f"{number % WRITTEN}.wav")
            # Path, name and group are one string, as in tasks of ours that know no groups.
            name = path.name
            clips.append(Clip(name, name, "noise", "train", name))
        task = Task(
            "tiny", "tiny", "", "", (), "", ("noise",), "fixed", count, 0.1, lambda _: clips
        )
        peak, begin = PeakMemory(torch.device("cpu")), perf_counter()
        embed_task(
            TaskClips(task, clips, root),
            load("baselines.content_random"),
            cache_dir=root / "cache",
            workers=workers,
        )
        seconds, most = perf_counter() - begin, peak.process_bytes()
    return seconds, most if isinstance(most, int) else 0
