"""How long large corpora take, by simulation: python -m tools.scale [--measure] [--mtbf HOURS].

Prints, for AudioSet, ACAV100M and 100,000 hours: bytes and shards, core hours to decode and to
embed, and what preemption costs. --measure replaces the recorded figures of one core by those of
this machine (about a minute; CPU time, so that other load moves it little).

The simulator: parts of a job lie in a queue; each of some workers takes the next one, computes it
and writes its output. A worker is preempted at random (exponential times) and comes back after a
while; the part that it had begun is then computed from its start, as `wavebyol embed` does, whose
unit is the part.
"""

import argparse
import heapq
import io
import math
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

CLIP_SECONDS = 10.0


@dataclass(frozen=True)
class Corpus:
    """A corpus that is divided into shards.

    Args:
        name: for the table.
        clips: of `CLIP_SECONDS` each.
        kilobits: per second of sound, of what is stored.
    """

    name: str
    clips: int
    kilobits: float

    @property
    def hours(self) -> float:
        """Hours of sound."""
        return self.clips * CLIP_SECONDS / 3600

    @property
    def terabytes(self) -> float:
        """Size of the compressed files."""
        return self.clips * CLIP_SECONDS * self.kilobits * 125 / 1e12


CORPORA = (
    Corpus("AudioSet", 2_084_320, 128),
    Corpus("ACAV100M", 100_000_000, 128),
    Corpus("100,000 hours", 36_000_000, 128),
)
SHARD_CLIPS = 1000


@dataclass(frozen=True)
class Rates:
    """What one core or one GPU does.

    Args:
        decode: seconds of sound decoded and resampled per second of one core, 44.1-kHz stereo
            Vorbis at about 128 kbit/s.
        embed: seconds of sound embedded per second of one core, default preset, fp32.
        gpu_crops: crops of 1.28 s trained per second of one GPU, slim, several runs side by side.
    """

    decode: float
    embed: float
    gpu_crops: float


RECORDED = Rates(decode=430.0, embed=218.0, gpu_crops=18_000.0)
"""2026-11-26: one core of an Intel Xeon with AMX (`--measure`), one H200 (docs/runs.md)."""


def makespan(
    durations: Sequence[float], workers: int, *, mtbf: float, away: float, seed: int = 0
) -> tuple[float, float]:
    """Return when the last part is done, and the share of the computation that preemption undid.

    Args:
        durations: of the parts, in hours, taken in this order.
        workers: that take parts, each one at a time.
        mtbf: mean hours between two preemptions of a worker, > 0; infinity for none.
        away: hours until a preempted worker is back.
        seed: of the preemptions.

    Example:
        >>> makespan([1.0] * 8, 4, mtbf=math.inf, away=0.0)
        (2.0, 0.0)
    """
    random = np.random.default_rng(seed)
    free = [(0.0, worker) for worker in range(workers)]
    heapq.heapify(free)
    end = lost = 0.0
    for duration in durations:
        now, worker = heapq.heappop(free)
        while mtbf < math.inf and (until := random.exponential(mtbf)) < duration:
            lost += until
            now += until + away
        now += duration
        end = max(end, now)
        heapq.heappush(free, (now, worker))
    return end, lost / (lost + sum(durations))


def static_makespan(durations: Sequence[float], workers: int) -> float:
    """Return when the last part is done where worker i takes parts i, i + n, i + 2n, ... alone.

    Example:
        >>> static_makespan([3.0, 1.0, 1.0, 1.0], 2)
        4.0
    """
    return max(math.fsum(durations[worker::workers]) for worker in range(workers))


def measure() -> Rates:
    """Return this machine's rates of one core, by CPU time."""
    import soundfile
    import torch

    import wavebyol_hear
    from wavebyol_hear.audio import read_audio

    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    tone = np.sin(np.arange(441_000) * 0.05)[:, None] * [0.3, 0.2]
    file = io.BytesIO()
    sound = tone + random.normal(scale=0.02, size=(441_000, 2))
    soundfile.write(file, sound, 44_100, format="OGG", subtype="VORBIS")
    model = wavebyol_hear.load_model(precision="fp32")
    audio = torch.from_numpy(random.normal(scale=0.1, size=(2, 160_000)).astype(np.float32))
    wavebyol_hear.get_scene_embeddings(audio, model)
    return Rates(
        decode=CLIP_SECONDS / _cpu_seconds(lambda: read_audio(file, 16_000)),
        embed=20 / _cpu_seconds(lambda: wavebyol_hear.get_scene_embeddings(audio, model)),
        gpu_crops=RECORDED.gpu_crops,
    )


def _cpu_seconds(work: Callable[[], object], calls: int = 9) -> float:
    """Return the median CPU time of some calls."""
    taken = []
    for _ in range(calls):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return float(np.median(taken))


def report(rates: Rates, mtbf: float) -> str:
    """Return the tables in Markdown."""
    lines = [
        f"One core decodes at {rates.decode:,.0f} and embeds at {rates.embed:,.0f} times real "
        "time.",
        "",
        "| corpus | hours | TB | shards | decode, core h | embed, core h | one epoch, GPU h |",
        "|---|---|---|---|---|---|---|",
    ]
    for corpus in CORPORA:
        lines.append(
            f"| {corpus.name} | {corpus.hours:,.0f} | {corpus.terabytes:.1f} | "
            f"{corpus.clips // SHARD_CLIPS:,} | {corpus.hours / rates.decode:,.0f} | "
            f"{corpus.hours / rates.embed:,.0f} | {corpus.clips / rates.gpu_crops / 3600:.2f} |"
        )
    per_clip = CLIP_SECONDS * (1 / rates.decode + 1 / rates.embed) / 3600
    lines += [
        "",
        f"Embedding ACAV100M on 1,000 preemptible cores, each preempted every {mtbf:g} h on "
        "average and away for 0.1 h:",
        "",
        "| clips per part | parts | hours per part | work lost | days | days without preemption |",
        "|---|---|---|---|---|---|",
    ]
    for clips in (1_000, 10_000, 50_000, 100_000):
        parts = CORPORA[1].clips // clips
        spread = np.random.default_rng(0).lognormal(-0.02, 0.2, parts)  # mean 1
        durations = (spread * clips * per_clip).tolist()
        end, lost = makespan(durations, 1000, mtbf=mtbf, away=0.1)
        calm, _ = makespan(durations, 1000, mtbf=math.inf, away=0.0)
        lines.append(
            f"| {clips:,} | {parts:,} | {clips * per_clip:.2f} | {100 * lost:.1f} % | "
            f"{end / 24:.2f} | {calm / 24:.2f} |"
        )
    spread = np.random.default_rng(0).lognormal(-0.02, 0.2, 100_000).tolist()
    lines += [
        "",
        "Duration with fixed shares of the parts (`--part i/n`) and with a queue, relative",
    ]
    lines += ["to perfect balance:", ""]
    lines += ["| parts per worker | fixed shares | queue |", "|---|---|---|"]
    for parts in (1, 4, 16, 100):
        some = spread[: 1000 * parts]
        ideal = math.fsum(some) / 1000
        queue, _ = makespan(some, 1000, mtbf=math.inf, away=0.0)
        lines.append(
            f"| {parts} | {static_makespan(some, 1000) / ideal:.2f} | {queue / ideal:.2f} |"
        )
    return "\n".join(lines)


def main() -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--measure", action="store_true", help="measure this machine's core")
    parser.add_argument("--mtbf", type=float, default=6.0, help="hours between preemptions (6)")
    args = parser.parse_args()
    sys.stdout.write(report(measure() if args.measure else RECORDED, args.mtbf) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
