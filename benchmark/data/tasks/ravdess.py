"""RAVDESS speech: 1,440 acted sentences, 8 emotions, 24 actors, six actor-disjoint folds."""

from collections.abc import Iterator
from pathlib import Path

from benchmark.data.archive_layout import sound_files, subfolders
from benchmark.data.clip import Clip, Source, Task, missing_data

# In the order of the third field of the file name, from 01.
EMOTIONS = ("neutral", "calm", "happy", "sad", "angry", "fearful", "disgust", "surprised")
FOLDS = 6
TOP = "Audio_Speech_Actors_01-24"


def spoken_sentences(task: Task, root: Path) -> Iterator[tuple[str, str, int]]:
    """Yield path, emotion and actor of every speech file, songs and videos left out.

    Args:
        task: named in the error.
        root: holds Actor_01 to Actor_24, as the archive unpacks, or the folder of the archive's
            name that some unpackers make, with them.

    Raises:
        TaskDataError: where there is no speech file.
    """
    found = False
    top = f"{TOP}/" if (root / TOP).is_dir() and not (root / "Actor_01").is_dir() else ""
    folders = subfolders(root / top) if root.is_dir() else []
    for folder in (top + name for name in folders if name.startswith("Actor_")):
        for name in sound_files(root / folder):
            fields = name[: -len(".wav")].split("-")
            if len(fields) != 7 or not all(f.isdecimal() for f in fields) or fields[1] != "01":
                continue
            emotion, actor = int(fields[2]), int(fields[6])
            known = EMOTIONS[emotion - 1] if 1 <= emotion <= len(EMOTIONS) else f"code {emotion}"
            found = True
            yield f"{folder}/{name}", known, actor
    if not found:
        raise missing_data(task, root, "no speech file in a folder Actor_<nn> is there")


def index(root: Path) -> list[Clip]:
    """List the speech files; four actors, two of them women, make a fold.

    RAVDESS has no published split. Odd actors are men and even ones women, so pairs of
    neighbours keep each fold balanced.

    Args:
        root: see `spoken_sentences`.

    Raises:
        TaskDataError: where there is no speech file.
    """
    return [
        Clip(path, path, emotion, f"fold{(actor - 1) // 2 % FOLDS + 1:02d}", f"actor{actor:02d}")
        for path, emotion, actor in spoken_sentences(TASK, root)
    ]


TASK = Task(
    name="ravdess",
    title="RAVDESS (speech emotion, actor-disjoint)",
    classes=EMOTIONS,
    split_policy="folds",
    sample_counts=1440,
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
    note="No split is published: six folds of four actors each, no actor in two.",
)
