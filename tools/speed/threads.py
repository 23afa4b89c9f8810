"""What threads that spin or sleep cost, alone and beside another torch process."""

import os
import subprocess
import sys
from statistics import median

from tools.speed.clock import Figure, Plan
from wavebyol_hear.files.threads import load_average, usable_cores

WAYS = {
    "torch's default": {},
    "ours: every core, sleeping": {"OMP_WAIT_POLICY": "PASSIVE"},
    "one thread": {"OMP_NUM_THREADS": "1"},
}
EMBED = """
import sys, time, warnings
from pathlib import Path
import torch, wavebyol_hear
warnings.simplefilter("ignore")
weights = Path(wavebyol_hear.__file__).parent / "weights" / "slim.safetensors"
model = wavebyol_hear.load_model(str(weights))
audio = 0.1 * torch.randn(16, 16000, generator=torch.Generator().manual_seed(0))
for seconds in map(float, sys.stdin):
    start, clips = time.monotonic(), 0
    while time.monotonic() < start + seconds:
        wavebyol_hear.get_scene_embeddings(audio, model)
        clips += len(audio)
    print(clips / (time.monotonic() - start), flush=True)
"""
LOAD = """
import torch
layer, audio = torch.nn.Conv1d(64, 64, 3), torch.randn(8, 64, 2000)
with torch.inference_mode():
    print("on", flush=True)
    while True:
        layer(audio)
"""


def threads(plan: Plan) -> list[Figure]:
    """Return the clips per second that slim embeds under each way, ratios to the best."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("OMP_", "GOMP_"))}
    environment["OMP_NUM_THREADS"] = str(usable_cores())

    def start(code: str, way: dict[str, str]) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-c", code],
            env=environment | way,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    figures = []
    runs = {name: start(EMBED, way) for name, way in WAYS.items()}
    try:
        for process in runs.values():
            clips_per_second(process, 0.1)
        for place in ("alone", "beside a torch process"):
            before = load_average()
            if place != "alone":
                runs["load"] = start(LOAD, {})
                assert runs["load"].stdout is not None
                runs["load"].stdout.readline()
            speeds: dict[str, list[float]] = {name: [] for name in WAYS}
            for _ in range(plan.runs):
                for name, taken in speeds.items():
                    taken.append(clips_per_second(runs[name], 0.2 if plan.small else 1.5))
            best = max(map(median, speeds.values()))
            figures += [
                Figure(
                    "threads",
                    f"{name}, {place} (load average {before})",
                    median(taken),
                    "clips/s",
                    median(taken) / best,
                    target=2 / 3 if name.startswith("ours") else None,
                )
                for name, taken in speeds.items()
            ]
    finally:
        for process in runs.values():
            process.kill()
            process.communicate()
    return figures


def clips_per_second(process: subprocess.Popen[str], seconds: float) -> float:
    """Let a process embed for some time and return its speed."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{seconds}\n")
    process.stdin.flush()
    return float(process.stdout.readline())
