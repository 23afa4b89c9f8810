"""Search a pretraining store for clips of a task: `python -m benchmark.leaks STORE TASK`.

Compares every clip of the task with every clip of the store (made by `python -m pretrain.store`) by
audio fingerprints that are robust to gain, codecs, filters, noise and cutting down to about a
second. A match is "exact" if the waveforms are equal up to gain and an error 27 dB below the
signal, and "near" if the copy was coded, filtered or mixed. --reversed searches for the clips
played backwards, which no store contains, and so counts false alarms.

Does not find clips and excerpts under 0.65 s, copies at another speed or pitch, and many copies in
noise (at an SNR of 20 dB it misses 30 % of excerpts of 1.1 s and 61 % of single spoken words).

Exit code: 0 no clip was found; 1 clips were found; 2 the search failed.
"""

if __name__ == "__main__":  # before imports that take seconds
    from wavebyol_hear.files.command import run_command, start_command

    start_command()

import argparse
import csv
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmark.data.clip import BenchmarkError, Clip
from benchmark.data.registry import completeness, list_clips, load_tasks, task_root, unknown
from benchmark.leaks.search import MIN_SCORE, Leak, StoreReader, find
from benchmark.report.render import to_text
from benchmark.report.table import text_table
from wavebyol_hear.files.threads import add_threads

LIMITS = (
    "not searchable: clips under 0.65 s, copies at another speed or pitch, many short copies in "
    "noise (see --help)"
)
COLUMNS = "clip,split,label,store_clip,source,offset,seconds,score,similarity,correlation,kind"


def row(leak: Leak) -> list[str]:
    """Return a leak as the texts of COLUMNS."""
    numbers = (leak.offset, leak.seconds, leak.score, leak.similarity, leak.correlation)
    names = leak.clip.clip_id, leak.clip.split, leak.clip.label, leak.store_clip, leak.source
    return [*names, *(f"{number:.3f}" for number in numbers), leak.kind]


def report(leaks: Sequence[Leak], skipped: Sequence[str], clips: Sequence[Clip]) -> str:
    """Return the leaks and what was not looked for, as lines."""
    lines = [to_text(text_table([COLUMNS.split(","), *map(row, leaks)]))] if leaks else []
    leaked = {leak.clip.clip_id: leak.clip.split for leak in leaks}
    looked = len(clips) - len(skipped)
    by_split = ", ".join(f"{name} {n}" for name, n in sorted(Counter(leaked.values()).items()))
    which = f" ({by_split})" if leaked else ""
    lines.append(f"{len(leaked)} of {looked} clips are in the store{which}")
    if skipped:
        lines.append(f"{len(skipped)} clips were not looked for, the first: {skipped[0]}")
    lines.append(LIMITS)
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmark.leaks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("store", type=Path, metavar="STORE", help="folder of the store")
    parser.add_argument("task", metavar="TASK", help="name of the task")
    where = "folder of the data sets (default: $WAVEBYOL_DATA or ~/.cache/wavebyol_hear)"
    parser.add_argument("--data-dir", type=Path, metavar="DIR", help=where)
    parser.add_argument("--out", type=Path, metavar="FILE.csv", help="write the matches to a table")
    parser.add_argument("--reversed", action="store_true", help="count false alarms")
    about = "minimum score (default: %(default)s)"
    parser.add_argument("--min-score", type=float, default=MIN_SCORE, help=about)
    add_threads(parser)
    args = parser.parse_args(arguments)
    if args.threads is None:
        torch.set_num_threads(1)  # its tensors are too small for more
    tasks = load_tasks()
    if args.task not in tasks:
        parser.error(unknown("task", args.task, tasks))
    task = tasks[args.task]
    try:
        root = task_root(task, args.data_dir)
        store = StoreReader(args.store)
        clips = list_clips(task, root)
        leaks, skipped = find(store, clips, root, args.reversed, args.min_score)
        if args.out:
            with open(args.out, "w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([COLUMNS.split(","), *map(row, leaks)])
    except (BenchmarkError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    lack = completeness(task, clips)
    sys.stdout.write(f"{report(leaks, skipped, clips)}\n")
    if lack:
        sys.stdout.write(f"not all of {task.name} was there: {lack}\n")
    if len(skipped) == len(clips):
        sys.stderr.write(f"error: no clip of {task.name} was there to look for\n")
        return 2
    return 1 if leaks else 0


if __name__ == "__main__":
    run_command(main, "nothing was written")
