"""How long the commands take to answer at all."""

import subprocess
import sys

from tools.speed.clock import Figure, Plan, interleaved

# Seconds allowed, by what the interpreter is given.
STARTS = {
    "python -m benchmark.run --help": (["-m", "benchmark.run", "--help"], 1.5),
    "import wavebyol_hear": (["-c", "import wavebyol_hear"], 3.0),
    "import torch, for comparison": (["-c", "import torch"], None),
}


def start(plan: Plan) -> list[Figure]:
    """Return the seconds of each start."""

    def run(words: list[str]) -> None:
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)

    calls = {what: lambda words=words: run(words) for what, (words, _) in STARTS.items()}
    seconds = interleaved(calls, 1 if plan.small else plan.runs)
    return [
        Figure("start", what, seconds[what], "s", target=most, at_most=True)
        for what, (_, most) in STARTS.items()
    ]
