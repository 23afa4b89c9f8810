"""Peak memory of embedding long audio: python -m tools.speed.memory. Exit status 1 above a bound.

The store of a front end's channels is all that grows with a clip, in float32 and twice while its
pieces are concatenated, beside the audio, its padded copy and its squares.
"""

import re
import subprocess
import sys

STORE = 2 * 100 * 513 * 4 + 3 * 16_000 * 4  # bytes per second of audio, of h1 and h2
MEASURE = """
import sys, warnings
import torch
from wavebyol_hear import get_scene_embeddings, get_timestamp_embeddings, load_model
warnings.simplefilter("ignore")
torch.set_num_threads(2)
preset, seconds, function = sys.argv[1], int(sys.argv[2]), sys.argv[3]
model = load_model(preset=preset)
embed = {"scene": get_scene_embeddings, "timestamps": get_timestamp_embeddings}[function]
embed(torch.randn(1, 16_000 * seconds), model)
sys.stdout.write(open("/proc/self/status").read())
"""


def peak_memory(preset: str, seconds: int, function: str) -> int:
    """Return the peak resident bytes of a fresh process that embeds one clip.

    Not ru_maxrss: a process that a large one starts begins with the large one's.
    """
    command = [sys.executable, "-c", MEASURE, preset, str(seconds), function]
    status = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    peak = re.search(r"VmHWM:\s+(\d+) kB", status)
    assert peak is not None
    return int(peak[1]) * 1024


def main() -> int:
    """Measure, print each peak beside its bound and return the exit status."""
    short, long = (peak_memory("h1", seconds, "scene") for seconds in (60, 240))
    figures = {
        "20 min of slim, timestamps": (peak_memory("slim", 1200, "timestamps"), 2e9),
        # h1 has h2's front end, and so its store, under a stack that takes a sixth of the time.
        "growth of h1 over 180 s": (long - short, 180 * STORE + 100e6),
        # 45 s are the longest piece there is, with neighbors on both sides; the rest is the store.
        "20 min of h2, scene": (peak_memory("h2", 45, "scene") + (1200 - 45) * STORE, 2e9),
    }
    for name, (measured, bound) in figures.items():
        sys.stdout.write(f"{name}: {measured / 1e6:.0f} MB, bound {bound / 1e6:.0f} MB\n")
    return int(any(measured > bound for measured, bound in figures.values()))


if __name__ == "__main__":
    sys.exit(main())
