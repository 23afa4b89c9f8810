"""Time heareval's own embeddings runner beside ours on one HEAR task: `hear_speed.py TASK_FOLDER`.

Both embed with `wavebyol_hear`, each in a fresh process, from 16-kHz sounds made first.
Processor seconds are printed with wall seconds: they hardly change where the machine is busy.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MODULE = "wavebyol_hear"


def timed(command: list[str], folder: Path) -> tuple[float, float]:
    """Run a command and return its wall and its processor seconds."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    environment = os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    with (folder / "output.log").open("w") as log:
        subprocess.run(command, cwd=folder, env=environment, stdout=log, stderr=log, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - start, spent


def embed_ours(task_folder: Path, out: Path, workers: int) -> None:
    """Embed as `python -m benchmark.run --tasks hear:...` does."""
    from benchmark.data.registry import read_clips
    from benchmark.evaluate import Settings, embed

    settings = Settings(out, cache_dir=out, workers=workers)
    embed(read_clips(task_folder), MODULE, settings)


def main() -> None:
    """Time both and write what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", type=Path, help="a HEAR task folder, at any rate")
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--workers", type=int, default=cores, help="threads that decode ours")
    parser.add_argument("--ours", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    task = given.task.resolve()
    if given.ours:
        embed_ours(task, given.ours, given.workers)
        return
    if not (task / "16000").is_dir():
        parser.error(f"{task}: has no audio at 16 kHz, which heareval itself needs")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        theirs = [sys.executable, "-m", "heareval.embeddings.runner", MODULE, "--task", task.name]
        theirs += ["--tasks-dir", str(task.parent)]
        ours = [sys.executable, __file__, str(task), "--ours", name]
        ours += ["--workers", str(given.workers)]
        for who, command in (("heareval's runner", theirs), ("ours", ours)):
            wall, spent = timed(command, folder)
            (profile,) = folder.glob(f"**/{task.name}/profile.embeddings.json")
            loop = json.loads(profile.read_text())["time_elapsed"]
            profile.unlink()
            sys.stdout.write(
                f"{who}: {wall:.1f} s wall, {spent:.1f} s processor; of the wall {loop:.1f} s "
                "after start and loading\n"
            )


if __name__ == "__main__":
    main()
