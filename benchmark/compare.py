"""Compare two models on the same clips: `python -m benchmark.compare A B`.

A and B are result files or folders. For every task and protocol that both have, prints the
difference in accuracy A - B in points with its 95 % interval (paired bootstrap over clips, with the
clips of a group resampled together), an exact p value (McNemar's test, or a sign-flip test over
groups where groups have several clips) and the p value after Holm's correction over the tasks; then
the mean over tasks with its interval, with tasks fixed and clips resampled.

Exit code: 0 compared; 1 nothing can be compared.
"""

if __name__ == "__main__":  # before imports that take seconds
    from wavebyol_hear.files.command import run_command, start_command

    start_command()

import argparse
import sys
from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

import numpy as np

from benchmark.results.schema import Result, ResultError, read_results
from benchmark.stats.bootstrap import FEW_GROUPS
from benchmark.stats.paired import Paired, holm, mean_difference, paired


def compare_pair(left: Result, right: Result, *, seed: int = 0) -> Paired:
    """Compare two results of one task and protocol on the clips they share."""
    if (left.task, left.protocol) != (right.task, right.protocol):
        raise ResultError(
            f"{left.task} under {left.protocol} and {right.task} under {right.protocol} cannot be "
            "compared: give results of one task and protocol"
        )
    clips, *rows = np.intersect1d(
        left.predictions["clip"], right.predictions["clip"], return_indices=True
    )
    if not len(clips):
        raise ResultError(f"{left.task}: the two results share no clip; run both on the same data")
    both = list(zip((left, right), rows, strict=True))
    labels, others = (np.array(r.classes)[r.labels()[index]] for r, index in both)
    if (labels != others).any():
        raise ResultError(
            f"{left.task}: the two results disagree about the label of a clip; run both on the "
            "same data"
        )
    # Results of earlier versions have no groups; the other result has those of the same clips.
    known = [(r.groups(), index) for r, index in both]
    groups = next((groups[index] for groups, index in known if groups is not None), None)
    correct_a, correct_b = (np.array(r.classes)[r.predicted()[i]] == labels for r, i in both)
    return paired(correct_a, correct_b, groups, seed=seed)


def same_data(left: Result, right: Result) -> bool:
    """Return whether two results of a task are of the same audio, labels, splits and groups."""
    return left.data_hash == right.data_hash


def data_notes(left: Result, right: Result) -> list[str]:
    """Return lines on how the data of two results of one task and protocol differ."""
    where, lines = f"{left.task} under {left.protocol}", []
    alone = len(set(left.predictions["clip"]) ^ set(right.predictions["clip"]))
    if alone:
        lines.append(f"{where}: {alone} clips were tested with one model only and are left out")
    if not same_data(left, right):
        lines.append(
            f"{where}: the two results are from different data, so that their classifiers were "
            "trained on different clips; run both on the same data"
        )
    return lines


def overlap_notes(results: Sequence[Result]) -> list[str]:
    """Return a line on every pair of tasks that share clips, which a mean would count twice."""
    clips = {result.task: set(result.predictions["clip"]) for result in results}
    shared = {(a, b): len(clips[a] & clips[b]) for a, b in combinations(clips, 2)}
    return [
        f"{a} and {b} share {count} clips: the mean counts them twice, and its interval assumes "
        "that the two tasks are independent"
        for (a, b), count in shared.items()
        if count
    ]


def render(pairs: Mapping[str, Paired], protocol: str) -> str:
    """Return the table of one protocol's comparisons, by task, with the mean over tasks."""
    lines = [
        f"protocol {protocol}: accuracy in percent, differences A - B in points",
        f"{'task':<24}{'clips':>7}{'A':>8}{'B':>8}{'A - B':>8}  {'95 % interval':<18}"
        f"{'p':>9}{'p (Holm)':>10}",
    ]
    corrected = holm([one.p for one in pairs.values()])
    for (task, one), adjusted in zip(pairs.items(), corrected, strict=True):
        lines.append(
            f"{task:<24}{one.n_clips:>7}{one.left:>8.2f}{one.right:>8.2f}"
            f"{_difference(one.difference()):<28}{one.p:>9.2g}{adjusted:>10.2g}"
        )
    left = float(np.mean([one.left for one in pairs.values()]))
    right = float(np.mean([one.right for one in pairs.values()]))
    difference = _difference(mean_difference(list(pairs.values())))
    title = f"mean of {len(pairs)} task{'s' if len(pairs) > 1 else ''}"
    lines.append(f"{title:<31}{left:>8.2f}{right:>8.2f}{difference}")
    lines += [
        f"{task}: only {one.n_groups} independent groups of clips: its interval is rough"
        for task, one in pairs.items()
        if one.n_groups < FEW_GROUPS
    ]
    return "\n".join(lines)


def _difference(point: Mapping[str, float]) -> str:
    return "{value:>+8.2f}  [{low:+.2f}, {high:+.2f}]".format(**point)


def _one_model(path: Path, model: str | None) -> dict[tuple[str, str], Result]:
    """Return the results of one model at a path, by protocol and task."""
    every = read_results(path)
    results = [result for result in every if result.unit == "percent"]
    if not results:
        raise ResultError(
            f"{path}: only results of {', '.join(sorted({r.protocol for r in every}))}, for which "
            "there is no paired test"
        )
    models = sorted({result.model for result in results})
    if model is None and len(models) > 1:
        raise ResultError(
            f"{path}: contains {len(models)} models; choose one with --model-a or --model-b: "
            f"{', '.join(models)}"
        )
    if model is not None and model not in models:
        raise ResultError(f"{path}: no result of {model}, only of {', '.join(models)}")
    chosen = [result for result in results if model in (None, result.model)]
    return {(result.protocol, result.task): result for result in chosen}


def compare_all(
    left: dict[tuple[str, str], Result], right: dict[tuple[str, str], Result]
) -> list[str]:
    """Return the paragraphs of a comparison: models, a table per protocol, notes on the data."""
    shared = sorted(left.keys() & right.keys())
    if not shared:
        raise ResultError("A and B have no task with the same protocol in common")
    notes: list[str] = []
    texts = [f"A: {left[shared[0]].model}\nB: {right[shared[0]].model}"]
    for protocol in sorted({protocol for protocol, _ in shared}):
        keys = [key for key in shared if key[0] == protocol]
        # One seed per task: the interval of the mean assumes independent tasks.
        pairs = {k[1]: compare_pair(left[k], right[k], seed=i) for i, k in enumerate(keys)}
        texts.append(render(pairs, protocol))
        notes += [line for k in keys for line in data_notes(left[k], right[k])]
        notes += overlap_notes([left[key] for key in keys])
    alone = [f"{task} under {protocol}" for protocol, task in sorted(left.keys() ^ right.keys())]
    if alone:
        notes.append(f"left out, because only one of the two has a result: {', '.join(alone)}")
    return texts + (["\n".join(dict.fromkeys(notes))] if notes else [])


def main(argv: Sequence[str] | None = None) -> int:
    """Print the comparison and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmark.compare", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    for letter in "ab":
        name, about = letter.upper(), f"result file or folder of model {letter.upper()}"
        parser.add_argument(f"results_{letter}", type=Path, metavar=name, help=about)
    for letter in "AB":
        about = f"model {letter}, if {letter} holds several"
        parser.add_argument(f"--model-{letter.lower()}", metavar="MODEL", help=about)
    args = parser.parse_args(argv)
    try:
        left = _one_model(args.results_a, args.model_a)
        right = _one_model(args.results_b, args.model_b)
        sys.stdout.write("\n\n".join(compare_all(left, right)) + "\n")
    except ResultError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    run_command(main)
