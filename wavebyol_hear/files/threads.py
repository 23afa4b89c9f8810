"""How many threads torch computes with, and how they wait: chosen before torch is imported.

OpenMP's threads spin while they wait for each other, which on a machine that has other work to do
takes the processor from the very thread that they wait for: beside one busy process our smaller
model embeds 20 to 80 times fewer clips a second. Threads that sleep instead (OMP_WAIT_POLICY) lose
little on a machine with nothing else to do, and a machine's load may change while a command runs,
so ours always sleep. `python -m tools.speed --only threads` measures both.

A program of your own that uses the model sets the variable before it imports torch:

    OMP_WAIT_POLICY=PASSIVE python program.py
"""

import argparse
import math
import os
import sys
import time
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
STAT = Path("/proc/stat")


def choose_threads() -> None:
    """Set OpenMP's number of threads and way of waiting, unless the environment has them.

    After torch has been imported, this holds for child processes alone.
    """
    os.environ.setdefault("OMP_NUM_THREADS", str(usable_cores()))
    if "GOMP_SPINCOUNT" not in os.environ:
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")


def add_threads(parser: argparse.ArgumentParser) -> None:
    """Add the option --threads, which holds from its parsing on."""
    help_ = "CPU threads for torch (default: $OMP_NUM_THREADS, else all usable cores)"
    parser.add_argument("--threads", type=_use_threads, metavar="N", help=help_)


def _use_threads(text: str) -> int:
    """Let torch compute with a number of threads."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of threads: give 1 or more")
    os.environ["OMP_NUM_THREADS"] = str(number)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(number)
    return number


def usable_cores() -> int:
    """Return how many cores this process may use: its affinity, and no more than its quota."""
    cores = len(_affinity()) or os.cpu_count() or 1
    return max(1, math.ceil(min(cores, _quota())))


def _affinity() -> set[int]:
    """Return the numbers of the cores this process may use; none where the system does not say."""
    return set(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else set()


def _quota(root: Path = CGROUPS, own: Path = Path("/proc/self/cgroup")) -> float:
    """Return the cores that control groups, of version 2 or 1, let this process use together."""
    quota = math.inf
    try:
        lines = own.read_text(encoding="ascii").splitlines()
    except (OSError, ValueError):
        return quota
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        top = root / controllers if controllers else root
        folder = top / path.strip("/")
        for each in (folder, *folder.parents):
            quota = min(quota, _limit(each))
            if each == top:
                break
    return quota


def _limit(folder: Path) -> float:
    try:
        if (folder / "cpu.max").is_file():
            most, period = (folder / "cpu.max").read_text().split()
        else:
            most, period = (
                (folder / f"cpu.cfs_{name}_us").read_text().strip() for name in ("quota", "period")
            )
        return math.inf if most in ("max", "-1") else int(most) / int(period)
    except (OSError, ValueError):
        return math.inf


class OtherLoad:
    """What other processes use of this one's cores, from the moment it is made."""

    def __init__(self) -> None:
        self.start = self._now()

    def share(self) -> float | None:
        """Return the share, 0 to 1, or None where the system does not say."""
        now = self._now()
        if self.start is None or now is None:
            return None
        wall, busy, own = (b - a for a, b in zip(self.start, now, strict=True))
        cores = len(_affinity())
        return min(1.0, max(0.0, (busy - own) / (wall * cores))) if wall * cores > 0 else None

    @staticmethod
    def _now() -> tuple[float, float, float] | None:
        """Return seconds by the clock, those that our cores were busy, and those of this process.

        Source: proc(5): after a core's name come user, nice, system, idle, iowait, irq, softirq and
        steal, in ticks.
        """
        try:
            lines = STAT.read_text(encoding="ascii").splitlines()
        except (OSError, ValueError):
            return None
        names, ticks = {f"cpu{n}" for n in _affinity()}, 0
        for name, *values in map(str.split, lines):
            if name in names:
                ticks += sum(int(values[i]) for i in (0, 1, 2, 5, 6, 7))
        spent = os.times()
        own = spent.user + spent.system + spent.children_user + spent.children_system
        return time.monotonic(), ticks / os.sysconf("SC_CLK_TCK"), own


def load_average() -> float | None:
    """Return the load average of the last minute, None where the system has none."""
    try:
        return round(os.getloadavg()[0], 2)
    except (AttributeError, OSError):
        return None
