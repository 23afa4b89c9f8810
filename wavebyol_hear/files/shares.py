"""The share of a process, of several that run side by side, and the script that starts an array."""

import argparse
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

RANKS = (
    ("RANK", "WORLD_SIZE"),
    ("SLURM_ARRAY_TASK_ID", "SLURM_ARRAY_TASK_COUNT"),
    ("JOB_COMPLETION_INDEX", "JOB_COMPLETIONS"),
)
"""Variables from which `--part` is taken: torchrun's, SLURM's, those of Kubernetes."""


def add_engine(add: Callable[..., object]) -> None:
    """Add the options on Ray, by the `add_argument` of a parser or of a group."""
    about = "where to run (default: local)"
    add("--engine", choices=("local", "ray"), default="local", help=about)
    about = "Ray cluster to connect to (default: start one on this machine)"
    add("--ray-address", default="", metavar="ADDRESS", help=about)


class UsageError(ValueError):
    """Arguments that do not go together: one line with the remedy."""


class Share(NamedTuple):
    """Which of the parts are this process's: every `total`-th, from `number` on."""

    number: int
    total: int
    origin: str = ""


def share_of(text: str | None, environment: Mapping[str, str]) -> Share:
    """Return the share of `--part`, or of the first of `RANKS` that is set for several processes.

    Where I is taken from a variable, N must be that system's number of processes, if it is known:
    the RANK of a container with one process says nothing of the job array around it, and where one
    job of an array was submitted again, SLURM's count is 1.

    Raises:
        UsageError: the text is no I/N with 0 <= I < N, or I is in no variable of N processes.

    Example:
        >>> share_of("3/8", {}), share_of(None, {"RANK": "1", "WORLD_SIZE": "2"}).number
        (Share(number=3, total=8, origin=''), 1)
    """
    totals = {rank: environment.get(total) for rank, total in RANKS if rank in environment}
    origin = ""
    if text is None:
        text = f"/{next((n for n in totals.values() if n not in (None, '1')), '1')}"
        if text == "/1":
            return Share(0, 1)
    first, _, count = text.partition("/")
    if not first and totals:
        origin = next((rank for rank, total in totals.items() if total in (None, count)), "")
        if not origin:
            said = ", ".join(f"{dict(RANKS)[rank]} is {total}" for rank, total in totals.items())
            raise UsageError(f"{said} and not {count}: give I, such as --part 0/{count}")
        lowest = environment.get("SLURM_ARRAY_TASK_MIN", "0") if "SLURM" in origin else "0"
        step = environment.get("SLURM_ARRAY_TASK_STEP", "1") if "SLURM" in origin else "1"
        try:
            first = str((int(environment[origin]) - int(lowest)) // int(step))
        except (ValueError, ZeroDivisionError) as error:
            raise UsageError(f"{origin} is {environment[origin]!r}: give --part I/N") from error
    if not (first.isdecimal() and count.isdecimal() and int(first) < int(count)):
        said = f"{origin} and {text}" if origin else f"--part {text}"
        raise UsageError(f"{said}: give I/N with I from 0 to N - 1, such as 0/8")
    return Share(int(first), int(count), origin)


def sbatch_script(words: Sequence[str], *, gpu: bool) -> str:
    """Return a SLURM script that runs `wavebyol embed WORDS` as an array of jobs.

    Raises:
        UsageError: `--part` names a share: the jobs of an array have one each.

    Example:
        >>> script = sbatch_script(["a b", "--out", "v", "--part", "/4"], gpu=False)
        >>> script.splitlines()[2], script.splitlines()[-1]
        ('#SBATCH --array=0-3', "srun wavebyol embed 'a b' --out v")
    """
    ours = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    ours.add_argument("--sbatch")
    ours.add_argument("--part", default="/16")
    args, rest = ours.parse_known_args(list(words))
    first, _, count = args.part.partition("/")
    if first or not count.isdecimal() or not int(count):
        raise UsageError(f"--part {args.part} with --sbatch: give /N, the number of jobs")
    gpus = "#SBATCH --gpus-per-task=1\n" if gpu else ""
    return f"""\
#!/bin/bash
#SBATCH --job-name=wavebyol-embed
#SBATCH --array=0-{int(count) - 1}
#SBATCH --cpus-per-task=4
{gpus}#SBATCH --requeue
srun wavebyol embed {shlex.join(rest)}
"""
