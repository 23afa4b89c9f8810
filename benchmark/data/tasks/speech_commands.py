"""Speech Commands V2: 105,829 spoken words of 1 s or less, 35 words, the published lists."""

from collections.abc import Iterator
from pathlib import Path

from benchmark.data.archive_layout import read_lines, sound_files, subfolders
from benchmark.data.clip import Clip, Source, Task, missing_data

WORDS = """
    backward bed bird cat dog down eight five follow forward four go happy house learn left
    marvin nine no off on one right seven sheila six stop three tree two up visual wow yes zero
"""
CLASSES = tuple(WORDS.split())
LISTS = {"valid": "validation_list.txt", "test": "testing_list.txt"}


def spoken_words(task: Task, root: Path) -> Iterator[tuple[str, str, str]]:
    """Yield path, word and speaker of every clip, the noise recordings left out.

    Args:
        task: named in the error.
        root: holds one folder a word.

    Raises:
        TaskDataError: where there is no folder of words.
    """
    words = [name for name in subfolders(root) if name[0] != "_"] if root.is_dir() else []
    if not set(words) & set(CLASSES):
        raise missing_data(task, root, "no folder of words is there")
    for word in words:
        for name in sound_files(root / word):
            yield f"{word}/{name}", word, name.split("_nohash_")[0]


def index(root: Path) -> list[Clip]:
    """List the clips of all word folders, split by the two published lists; groups are speakers.

    Args:
        root: what `speech_commands_v0.02.tar.gz` unpacks to.

    Raises:
        TaskDataError: where a list or all words are absent.
    """
    split = {}
    for name, file in LISTS.items():
        if not (root / file).is_file():
            raise missing_data(
                TASK,
                root / file,
                f"{file} is absent; the task speech_commands_folds runs on a copy without lists",
            )
        split.update(dict.fromkeys(read_lines(root / file), name))
    return [
        Clip(path, path, word, split.get(path, "train"), speaker)
        for path, word, speaker in spoken_words(TASK, root)
    ]


TASK = Task(
    name="speech_commands",
    title="Speech Commands V2 (35 words)",
    classes=CLASSES,
    split_policy="fixed",
    sample_counts=105829,
    clip_seconds=1.0,
    licence="CC BY 4.0",
    citation="P. Warden, Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition, "
    "arXiv:1804.03209, 2018",
    sources=(
        Source(
            "http://download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
            "sha256:af14739ee7dc311471de98f5f9d2c9191b18aedfe957f4a6ff791c709868ff58",
            2_428_923_189,
        ),
    ),
    layout="validation_list.txt, testing_list.txt and <word>/<speaker>_nohash_<n>.wav",
    index=index,
)
