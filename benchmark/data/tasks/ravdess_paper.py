"""RAVDESS speech in a random 75/25 split, WaveBYOL's protocol, where actors are on both sides."""

import hashlib
from dataclasses import replace
from pathlib import Path

from benchmark.data.clip import Clip
from benchmark.data.tasks.ravdess import TASK as ACTOR_DISJOINT
from benchmark.data.tasks.ravdess import spoken_sentences


def random_splits(count: int) -> list[str]:
    """Return train, valid or test for each of `count` clips: 60, 15 and 25 %.

    The authors chose on the test quarter; here a fifth of their training part is for choosing.
    The order is by SHA-256 of the place in the list, the same on any machine.

    Args:
        count: number of clips.
    """
    order = sorted(range(count), key=lambda i: hashlib.sha256(f"{i}".encode()).digest())
    splits = ["train"] * count
    test, valid = count // 4, (count - count // 4) // 5
    for place in order[:test]:
        splits[place] = "test"
    for place in order[test : test + valid]:
        splits[place] = "valid"
    return splits


def index(root: Path) -> list[Clip]:
    """List the speech files with random splits; nothing is kept together.

    Args:
        root: see `benchmark.data.tasks.ravdess`.

    Raises:
        TaskDataError: where there is no speech file.
    """
    sentences = list(spoken_sentences(TASK, root))
    return [
        Clip(path, path, emotion, split, path)
        for (path, emotion, _), split in zip(sentences, random_splits(len(sentences)), strict=True)
    ]


TASK = replace(
    ACTOR_DISJOINT,
    name="ravdess_paper",
    title="RAVDESS (speech emotion, random 75/25 as in WaveBYOL)",
    split_policy="fixed",
    index=index,
    folder="ravdess",
    note="WaveBYOL's protocol: actors are on both sides, so scores are too high; "
    "compare with ravdess.",
)
