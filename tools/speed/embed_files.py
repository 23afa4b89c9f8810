"""wavebyol embed: its throughput against the encoder alone, its peak memory, and Ray's overhead."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import soundfile

from tools.speed.clock import Figure, Plan, interleaved
from tools.speed.data import FILE_RATE, RATE, WRITTEN, write_noise
from wavebyol_hear.files.embed_parts import Options, Worker
from wavebyol_hear.files.hear_module import load
from wavebyol_hear.files.sources import Listing
from wavebyol_hear.files.threads import usable_cores

SECONDS = 5
MEASURE = """
import json, re, sys
from wavebyol_hear.__main__ import main
status = main(["embed", *sys.argv[1:]])
peak = re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())
print(json.dumps([status, 1024 * int(peak[1])]))
"""


def embed_files(plan: Plan) -> list[Figure]:
    """Return files of 5 s embedded per second, from disk to Parquet, against the encoder alone.

    Other load on the machine disturbs the CPU seconds less. Both are the same where the encoder
    leaves no core to the threads that decode.
    """
    count = 16 if plan.small else 256
    model = load("wavebyol_hear", precision="auto")
    most = 64 // SECONDS  # clips of a batch, as the command has it
    waves = 0.1 * np.random.default_rng(0).standard_normal((count, SECONDS * RATE), np.float32)

    def alone() -> None:
        for first in range(0, count, most):
            model.scenes(waves[first : first + most])

    def files(folder: str) -> None:
        worker = Worker(model, Options(), {}, Path(folder), workers=plan.workers)
        parts = Listing(part_size=128).parts([f"{folder}/audio"])
        numbered = ((Path(folder, f"part-{n}"), part) for n, part in enumerate(parts))
        for _ in worker.run(numbered):
            pass

    figures = []
    for rate in (FILE_RATE, RATE):
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "audio").mkdir()
            for number in range(count):
                path = Path(folder, "audio", f"{number}.wav")
                write_noise(path, SECONDS * rate, rate, number)
            calls: dict[str, Callable[[], object]] = {
                "alone": alone,
                "files": partial(files, folder),
            }
            seconds = interleaved(calls, plan.runs)
            cpu = {name: _cpu_seconds(call) for name, call in calls.items()}
        what = f"{SECONDS} s at {rate} Hz, {model.precision}, against the encoder alone"
        ratio = seconds["alone"] / seconds["files"]
        figures += [
            Figure("embed-files", what, count / seconds["files"], "files/s", ratio, target=0.9),
            Figure("embed-files", "the same, CPU", cpu["files"], "s", cpu["alone"] / cpu["files"]),
        ]
    single = np.concatenate([model.scenes(wave[None]) for wave in waves[:most]])
    apart = float(np.abs(single - model.scenes(waves[:most])).max())
    largest = float(np.abs(single).max())
    what = f"a clip alone and in a batch, largest difference where values reach {largest:.1f}"
    return [*figures, Figure("embed-files", what, apart, "")]


def _cpu_seconds(call: Callable[[], object]) -> float:
    """Return the CPU seconds of all threads during a call."""
    begin = process_time()
    call()
    return process_time() - begin


def embed_memory(plan: Plan) -> list[Figure]:
    """Return the peak memory of many files and of long recordings, each in a fresh process."""
    few, many, hours = (20, 40, 0.01) if plan.small else (1_000, 20_000, 3.0)
    figures = []
    with tempfile.TemporaryDirectory() as folder:
        peaks = []
        for count in (few, many):
            source = Path(folder, f"{count}")
            _many(source, count, RATE // 10)
            peaks.append(_peak(source, "--model", "baselines.content_random"))
        for count, peak in zip((few, many), peaks, strict=True):
            more, target = peak / peaks[0], 1.1 if count == many and not plan.small else None
            what = f"{count} files, peak memory against {few}"
            figures.append(
                Figure("embed-memory", what, peak / 2**20, "MiB", more, target=target, at_most=True)
            )
        path = Path(folder, "long.wav")
        _write_long(path, hours)
        for name, options in {
            "one row": (),
            "windows of 5 s": ("--window", "5"),
            "timestamps": ("--timestamps", "--dtype", "float16"),
        }.items():
            peak = _peak(path, *options)
            what = f"{hours:g} h, stereo 48 kHz, {name}, peak memory"
            target = None if plan.small else 1e9 / 2**20
            figures.append(
                Figure("embed-memory", what, peak / 2**20, "MiB", target=target, at_most=True)
            )
    return figures


def embed_ray(plan: Plan) -> list[Figure]:
    """Return the time of many clips of 1 s on a Ray cluster of this machine against the plain run.

    All is counted, from the start of the command to its end: Ray's own start, too.
    """
    few, many = (20, 40) if plan.small else (1_000, 20_000)
    cores = usable_cores()
    plain = ("--threads", f"{cores}", "--workers", f"{cores}")
    on_ray = ("--threads", "1", "--workers", "1", "--engine", "ray")
    seconds, peaks = [], []
    with tempfile.TemporaryDirectory() as folder:
        for count, options in ((few, on_ray), (many, on_ray), (many, plain)):
            source = Path(folder, f"{count}")
            if not source.exists():
                _many(source, count, RATE)
            begin = perf_counter()
            peaks.append(_peak(source, "--device", "cpu", *options))
            seconds.append(perf_counter() - begin)
    part, what = "embed-ray", f"{many} clips of 1 s, {cores} cores"
    time, memory = (None, None) if plan.small else (1.3, 1.1)
    growth, peak = peaks[1] / peaks[0], peaks[1] / 2**20
    driver = f"the driver's peak memory, {many} clips against {few}"
    return [
        Figure(part, f"{what}, one process", seconds[2], "s"),
        Figure(
            *(part, f"{what}, --engine ray against it", seconds[1], "s", seconds[1] / seconds[2]),
            target=time,
            at_most=True,
        ),
        Figure(part, driver, peak, "MiB", growth, target=memory, at_most=True),
    ]


def _many(folder: Path, count: int, samples: int) -> None:
    """Make a folder of many short files, of which the first are written and the others links."""
    folder.mkdir()
    for number in range(count):
        path = folder / f"{number}.wav"
        if number < WRITTEN:
            write_noise(path, samples, RATE, number)
        else:
            path.hardlink_to(folder / f"{number % WRITTEN}.wav")


def _write_long(path: Path, hours: float) -> None:
    """Write a minute of stereo noise at 48 kHz again and again."""
    random = np.random.default_rng(0)
    minute = (0.1 * random.standard_normal((60 * 48_000, 2))).astype(np.float32)
    with soundfile.SoundFile(path, "w", 48_000, 2, "PCM_16") as file:
        for _ in range(max(1, round(60 * hours))):
            file.write(minute)


def _peak(source: Path, *options: str) -> int:
    """Return the peak resident bytes of a fresh process that embeds a source."""
    with tempfile.TemporaryDirectory(dir=source.parent) as out:
        command = [sys.executable, "-c", MEASURE, str(source), "--out", out, *options]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        status, peak = json.loads(done.stdout.splitlines()[-1])
        assert status == 0
        return int(peak)
