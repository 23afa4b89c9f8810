"""Speech Commands V2, the ten command words, in the five speaker-disjoint folds of our own."""

from dataclasses import replace
from pathlib import Path

from benchmark.data.clip import Clip
from benchmark.data.tasks.speech_commands import spoken_words
from benchmark.data.tasks.speech_commands_folds import TASK as FOLDS
from benchmark.data.tasks.speech_commands_folds import speaker_fold

# Clips of each word in V2 (arXiv:1804.03209, section 7; the 35 counts add up to 105,829).
COUNTS = {
    "down": 3917, "go": 3880, "left": 3801, "no": 3941, "off": 3745,
    "on": 3845, "right": 3778, "stop": 3872, "up": 3723, "yes": 4044,
}  # fmt: skip


def index(root: Path) -> list[Clip]:
    """List the clips of the ten words; a speaker's clips share a fold.

    Args:
        root: holds one folder a word, others among them.

    Raises:
        TaskDataError: where there is no folder of words.
    """
    return [
        Clip(path, path, word, speaker_fold(speaker), speaker)
        for path, word, speaker in spoken_words(TASK, root)
        if word in COUNTS
    ]


TASK = replace(
    FOLDS,
    name="speech_commands_keywords",
    title="Speech Commands V2, ten command words, five speaker-disjoint folds (not official)",
    classes=tuple(COUNTS),
    sample_counts=sum(COUNTS.values()),
    index=index,
)
