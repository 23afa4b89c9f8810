"""RAVDESS speech: 1,440 acted sentences, 8 emotions, 24 actors.

`ravdess` has six actor-disjoint folds. `ravdess_paper` is WaveBYOL's protocol, a random 75/25 split
with actors on both sides.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

from benchmark.data.archive_layout import top_of, wav_files
from benchmark.data.clip import Clip, Source, Task, missing_data

# In the order of the third field of the file name, from 01.
EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
FOLDS = 6


def spoken_sentences(task: Task, root: Path) -> list[tuple[str, str, int]]:
    """Return path, emotion and actor of every speech file, songs and videos left out."""
    sentences = []
    for path in wav_files(root, f"{top_of(task, root)}Actor_*"):
        fields = Path(path).stem.split("-")
        if len(fields) != 7 or not all(f.isdecimal() for f in fields) or fields[1] != "01":
            continue
        emotion, actor = int(fields[2]), int(fields[6])
        known = EMOTIONS[emotion - 1] if 1 <= emotion <= len(EMOTIONS) else f"code {emotion}"
        sentences.append((path, known, actor))
    if not sentences:
        raise missing_data(task, root, "no speech file in a folder Actor_<nn> is there")
    return sentences


def index(root: Path) -> list[Clip]:
    """List the speech files; four actors, two of them women, make a fold.

    RAVDESS has no published split. Odd actors are men and even ones women, so adjacent
    pairs keep each fold balanced.
    """
    return [
        Clip(path, path, emotion, f"fold{(actor - 1) // 2 % FOLDS + 1:02d}", f"actor{actor:02d}")
        for path, emotion, actor in spoken_sentences(TASK, root)
    ]


def index_paper(root: Path) -> list[Clip]:
    """List the speech files with random train, valid and test parts, 60, 15 and 25 %.

    The authors chose on the test quarter; here a fifth of their training part is for choosing.
    The order is by SHA-256 of the index in the list, the same on any machine. Nothing is kept
    together.
    """
    sentences = spoken_sentences(PAPER, root)
    count = len(sentences)
    order = sorted(range(count), key=lambda i: hashlib.sha256(f"{i}".encode()).digest())
    test, valid = count // 4, (count - count // 4) // 5
    part = dict.fromkeys(order[:test], "test") | dict.fromkeys(order[test : test + valid], "valid")
    return [
        Clip(path, path, emotion, part.get(i, "train"), path)
        for i, (path, emotion, _) in enumerate(sentences)
    ]


TASK = Task(
    name="ravdess",
    title="RAVDESS (speech emotion, actor-disjoint)",
    classes=EMOTIONS,
    split_policy="folds",
    n_clips=1440,
    clip_seconds=3.7,
    licence="CC BY-NC-SA 4.0",
    citation="S. R. Livingstone, F. A. Russo, The Ryerson Audio-Visual Database of Emotional "
    "Speech and Song, PLoS ONE 13(5), 2018",
    sources=(
        Source(
            "https://zenodo.org/record/1188976/files/Audio_Speech_Actors_01-24.zip",
            "md5:bc696df654c87fed845eb13823edef8a",
            208_468_073,
        ),
    ),
    layout="Actor_01/ to Actor_24/ with 03-01-<emotion>-...-<actor>.wav",
    index=index,
    top="Audio_Speech_Actors_01-24",
    note="No split is published: six folds of four actors each, no actor in two.",
)

PAPER = replace(
    TASK,
    name="ravdess_paper",
    title="RAVDESS (speech emotion, random 75/25 as in WaveBYOL)",
    split_policy="fixed",
    index=index_paper,
    folder="ravdess",
    note="WaveBYOL's protocol: actors are on both sides, so scores are too high; "
    "compare with ravdess.",
)

TASKS = (TASK, PAPER)
