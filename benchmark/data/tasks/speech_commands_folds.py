"""Speech Commands V2 in five speaker-disjoint folds of our own, for copies without the lists."""

import hashlib
from dataclasses import replace
from pathlib import Path

from benchmark.data.clip import Clip
from benchmark.data.tasks.speech_commands import TASK as OFFICIAL
from benchmark.data.tasks.speech_commands import spoken_words

FOLDS = 5


def speaker_fold(speaker: str) -> str:
    """Return the fold of a speaker: SHA-256 of the name modulo five, the same on any copy.

    Args:
        speaker: the part of the file name before `_nohash_`.
    """
    digest = hashlib.sha256(speaker.encode()).digest()
    return f"fold{int.from_bytes(digest[:8], 'big') % FOLDS + 1:02d}"


def index(root: Path) -> list[Clip]:
    """List the clips of all word folders; a speaker's clips share a fold.

    Args:
        root: holds one folder a word.

    Raises:
        TaskDataError: where there is no folder of words.
    """
    return [
        Clip(path, path, word, speaker_fold(speaker), speaker)
        for path, word, speaker in spoken_words(TASK, root)
    ]


TASK = replace(
    OFFICIAL,
    name="speech_commands_folds",
    title="Speech Commands V2, five speaker-disjoint folds (not the official split)",
    split_policy="folds",
    layout="<word>/<speaker>_nohash_<n>.wav",
    index=index,
    folder="speech_commands",
    note="Not the official protocol: five folds by a hash of the speaker, for partial copies.",
)
