"""Speech Commands V2: 105,829 spoken words of 1 s or less, 35 words, the published lists.

`speech_commands_folds` has five speaker-disjoint folds of our own, for copies without the lists;
`speech_commands_keywords` the ten command words in those folds.
"""

import hashlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchmark.data.archive_layout import (
    existing,
    listed_path,
    read_lines,
    subfolders,
    top_of,
    wav_files,
)
from benchmark.data.clip import Clip, Source, Task, TaskDataError, missing_data

NAMES = """
    backward bed bird cat dog down eight five follow forward four go happy house learn left
    marvin nine no off on one right seven sheila six stop three tree two up visual wow yes zero
"""
CLASSES = tuple(NAMES.split())
LISTS = {"valid": "validation_list.txt", "test": "testing_list.txt"}
FOLDS = 5
# Clips of each command word in V2 (arXiv:1804.03209, section 7; the 35 counts add up to 105,829).
KEYWORD_COUNTS = {
    "down": 3917, "go": 3880, "left": 3801, "no": 3941, "off": 3745,
    "on": 3845, "right": 3778, "stop": 3872, "up": 3723, "yes": 4044,
}  # fmt: skip


def spoken_words(task: Task, root: Path, split_of: Callable[[str, str], str]) -> list[Clip]:
    """List the clips of all word folders, the noise recordings left out; groups are speakers.

    `split_of` returns the part of a path, relative to the word folders', and its speaker.
    """
    top, clips = top_of(task, root), []
    if not set(subfolders(root / top)) & set(CLASSES):
        raise missing_data(task, root, "no folder of words is there")
    for path in wav_files(root / top, "[!_]*"):
        word, _, name = path.partition("/")
        speaker = name.split("_nohash_")[0]
        clips.append(Clip(path, top + path, word, split_of(path, speaker), speaker))
    return clips


def read_lists(root: Path) -> dict[str, list[str]]:
    """Return by part of the split the paths of its list, in lower case."""
    listed = {}
    hint = "; the task speech_commands_folds runs on a copy without lists"
    for part, name in LISTS.items():
        table = existing(TASK, root / top_of(TASK, root), name, hint=hint)
        listed[part] = [listed_path(table, line).lower() for line in read_lines(table)]
    return listed


def index(root: Path) -> list[Clip]:
    """List the clips of all word folders, split by the two published lists."""
    lists = read_lists(root)
    split = {path: part for part, paths in lists.items() for path in paths}
    clips = spoken_words(TASK, root, lambda path, _: split.get(path.lower(), "train"))
    for part, paths in lists.items():
        if paths and not any(clip.split == part for clip in clips):
            raise TaskDataError(
                f"{root / top_of(TASK, root) / LISTS[part]}: none of its {len(paths)} lines fits "
                f"a file, the first is {paths[0]!r}; fetch the list again"
            )
    return clips


def convention(root: Path) -> str:
    """Say how many lines of the lists fit no file, for the result."""
    there = {clip.clip_id.lower() for clip in index(root)}
    gone = {LISTS[part]: len(set(paths) - there) for part, paths in read_lists(root).items()}
    return "split by " + " and ".join(f"{name} ({n} lines fit no file)" for name, n in gone.items())


def fold_of(_: str, speaker: str) -> str:
    """Return a speaker's fold: SHA-256 of the name modulo five, the same on any copy."""
    digest = hashlib.sha256(speaker.encode(errors="surrogateescape")).digest()
    return f"fold{int.from_bytes(digest[:8], 'big') % FOLDS + 1:02d}"


def index_folds(root: Path) -> list[Clip]:
    """List the clips of all word folders; a speaker's clips share a fold."""
    return spoken_words(IN_FOLDS, root, fold_of)


TASK = Task(
    name="speech_commands",
    title="Speech Commands V2 (35 words)",
    classes=CLASSES,
    split_policy="fixed",
    n_clips=105829,
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
    top="speech_commands_v0.02",
    convention=convention,
)

IN_FOLDS = replace(
    TASK,
    name="speech_commands_folds",
    title="Speech Commands V2, five speaker-disjoint folds (not the official split)",
    split_policy="folds",
    layout="<word>/<speaker>_nohash_<n>.wav",
    index=index_folds,
    folder="speech_commands",
    note="Not the official protocol: five folds by a hash of the speaker, for partial copies.",
    convention=None,
)

KEYWORDS = replace(
    IN_FOLDS,
    name="speech_commands_keywords",
    title="Speech Commands V2, ten command words, five speaker-disjoint folds (not official)",
    classes=tuple(KEYWORD_COUNTS),
    n_clips=sum(KEYWORD_COUNTS.values()),
    index=lambda root: [clip for clip in index_folds(root) if clip.label in KEYWORD_COUNTS],
)

TASKS = (TASK, IN_FOLDS, KEYWORDS)
