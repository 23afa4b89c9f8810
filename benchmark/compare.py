"""Two sets of results, task by task on the same clips: `python -m benchmark.compare A B`.

A and B are result files or folders. For every task under one protocol it prints the difference in
accuracy A - B in points with its 95 % interval (paired bootstrap over clips, those of one group
together), an exact p (McNemar's; of groups of several clips, that of flipped signs) and that p
after Holm's correction over the tasks; then the mean over tasks with its interval, in which the
tasks are fixed and the clips resampled. The exit code is 1 where nothing can be compared.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from benchmark.results.schema import Result, ResultError, read_results
from benchmark.stats.paired import holm, paired


@dataclass(frozen=True)
class Comparison:
    """Two models on the same clips of a task.

    Attributes:
        task: name of the task.
        n_clips: clips that both were tested on.
        left: accuracy of A on them, in percent.
        right: accuracy of B on them, in percent.
        only_left: clips that A alone has right.
        only_right: clips that B alone has right.
        p: exact and two-sided, see `benchmark.stats.paired.sign_flips`.
        resampled: differences A - B of bootstrap samples, in points.
    """

    task: str
    n_clips: int
    left: float
    right: float
    only_left: int
    only_right: int
    p: float
    resampled: np.ndarray


def compare_pair(left: Result, right: Result, *, seed: int = 0) -> Comparison:
    """Compare two results of one task on the clips they share.

    Args:
        left: of model A.
        right: of model B.
        seed: of the resampling.

    Raises:
        ResultError: they are of two tasks or protocols, share no clip, or disagree on a label.
    """
    if (left.task, left.protocol) != (right.task, right.protocol):
        raise ResultError(
            f"{left.task} under {left.protocol} and {right.task} under {right.protocol} cannot be "
            "compared: give results of one task and protocol"
        )
    place = {clip: row for row, clip in enumerate(right.predictions["clip"])}
    shared = [(i, place[c]) for i, c in enumerate(left.predictions["clip"]) if c in place]
    if not shared:
        raise ResultError(f"{left.task}: the two results share no clip; run both on the same data")
    rows, others = np.array(shared).T
    labels = np.array(left.classes)[left.labels()[rows]]
    if (labels != np.array(right.classes)[right.labels()[others]]).any():
        raise ResultError(
            f"{left.task}: the two results give a clip two labels; run both on the same data"
        )
    hit = np.array(left.classes)[left.predicted()[rows]] == labels
    other_hit = np.array(right.classes)[right.predicted()[others]] == labels
    # Results of earlier versions tell no groups; those of the other are the same clips'.
    told = [g[at] for g, at in ((left.groups(), rows), (right.groups(), others)) if g is not None]
    found = paired(hit, other_hit, told[0] if told else None, seed=seed)
    return Comparison(
        left.task,
        len(labels),
        100.0 * float(hit.mean()),
        100.0 * float(other_hit.mean()),
        found.gained,
        found.lost,
        found.p,
        found.resampled,
    )


def remarks(left: Result, right: Result) -> list[str]:
    """Return what a reader of a comparison must know: how the data of the two differ, by lines.

    Args:
        left: of model A.
        right: of model B, on the same task under the same protocol.
    """
    where, lines = f"{left.task} under {left.protocol}", []
    alone = len(set(left.predictions["clip"]) ^ set(right.predictions["clip"]))
    if alone:
        lines.append(f"{where}: clips tested by one model only, left out: {alone}")
    data = [result.provenance.get("data_hash") for result in (left, right)]
    if data[0] != data[1]:
        lines.append(
            f"{where}: the two were measured on data that differ, so their heads were trained on "
            "other clips; run both on the same data"
        )
    return lines


def overlaps(results: Sequence[Result]) -> list[str]:
    """Return a line on every two tasks that share clips, which a mean over tasks counts twice.

    Args:
        results: of one model under one protocol.
    """
    clips = {result.task: set(result.predictions["clip"]) for result in results}
    shared = {(a, b): len(clips[a] & clips[b]) for a, b in combinations(clips, 2)}
    return [
        f"{a} and {b} share {count} clips: the mean counts them twice, and its interval takes the "
        "two tasks for independent"
        for (a, b), count in shared.items()
        if count
    ]


def render(comparisons: Sequence[Comparison], protocol: str) -> str:
    """Return the table of one protocol's comparisons with the mean over tasks."""
    lines = [
        f"protocol {protocol}: accuracy in percent, differences A - B in points",
        f"{'task':<24}{'clips':>7}{'A':>8}{'B':>8}{'A - B':>8}  {'95 % interval':<18}"
        f"{'p':>9}{'p (Holm)':>10}",
    ]
    corrected = holm([found.p for found in comparisons])
    for found, adjusted in zip(comparisons, corrected, strict=True):
        lines.append(
            f"{found.task:<24}{found.n_clips:>7}{found.left:>8.2f}{found.right:>8.2f}"
            f"{found.left - found.right:>+8.2f}  {_span(found.resampled):<18}"
            f"{found.p:>9.2g}{adjusted:>10.2g}"
        )
    left, right = (float(np.mean([getattr(f, side) for f in comparisons])) for side in SIDES)
    span = _span(np.mean([found.resampled for found in comparisons], axis=0))
    title = f"mean of {len(comparisons)} task{'s' if len(comparisons) > 1 else ''}"
    lines.append(f"{title:<31}{left:>8.2f}{right:>8.2f}{left - right:>+8.2f}  {span}")
    return "\n".join(lines)


SIDES = ("left", "right")


def _span(resampled: np.ndarray) -> str:
    """Return the middle 95 % of resampled differences as text."""
    low, high = np.percentile(resampled, [2.5, 97.5])
    return f"[{low:+.2f}, {high:+.2f}]"


def _one_model(place: Path, model: str | None) -> dict[tuple[str, str], Result]:
    """Return the results of one model at a place, by protocol and task."""
    results = read_results(place)
    models = sorted({result.model for result in results})
    if model is None and len(models) > 1:
        raise ResultError(
            f"{place}: holds {len(models)} models; choose one with --model-a or --model-b: "
            f"{', '.join(models)}"
        )
    if model is not None and model not in models:
        raise ResultError(f"{place}: holds no result of {model}, but of {', '.join(models)}")
    chosen = [result for result in results if model in (None, result.model)]
    return {(result.protocol, result.task): result for result in chosen}


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the comparison and return the exit code.

    Args:
        arguments: of the command line; None takes the process's own.
    """
    parser = argparse.ArgumentParser(prog="benchmark.compare", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("results_a", type=Path, help="result file or folder of model A")
    parser.add_argument("results_b", type=Path, help="result file or folder of model B")
    parser.add_argument("--model-a", help="model A, where RESULTS_A holds several")
    parser.add_argument("--model-b", help="model B, where RESULTS_B holds several")
    given = parser.parse_args(arguments)
    try:
        left = _one_model(given.results_a, given.model_a)
        right = _one_model(given.results_b, given.model_b)
        shared = sorted(left.keys() & right.keys())
        if not shared:
            raise ResultError("A and B have no task under one protocol in common")
        notes: list[str] = []
        texts = [f"A: {left[shared[0]].model}\nB: {right[shared[0]].model}"]
        for protocol in sorted({protocol for protocol, _ in shared}):
            keys = [key for key in shared if key[0] == protocol]
            pairs = [compare_pair(left[k], right[k], seed=i) for i, k in enumerate(keys)]
            texts.append(render(pairs, protocol))
            notes += [line for k in keys for line in remarks(left[k], right[k])]
            notes += overlaps([left[key] for key in keys])
    except ResultError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    alone = [f"{task} under {protocol}" for protocol, task in sorted(left.keys() ^ right.keys())]
    if alone:
        notes.append(f"in one of the two only, left out: {', '.join(alone)}")
    told = ["\n".join(dict.fromkeys(notes))] if notes else []
    sys.stdout.write("\n\n".join([*texts, *told]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
