"""VoxForge: the language of 176,428 recordings by volunteers, 6 languages, speaker-disjoint."""

from pathlib import Path

import numpy as np

from benchmark.data.archive_layout import listed_path, read_table, subfolders, wav_files
from benchmark.data.clip import FIXED, Clip, Source, Task, TaskDataError, missing_data

LANGUAGES = ("de", "en", "es", "fr", "it", "ru")
TABLE = "voxforge.csv"
URLS = "https://storage.googleapis.com/tfds-data/downloads/voxforge/voxforge_urls.txt"


def speaker_splits(speakers: list[str]) -> dict[str, str]:
    """Deal speakers to train, valid and test, 70, 10 and 20 %, as TensorFlow Datasets does.

    Its voxforge.py (1.0.0) sorts the speakers, shuffles them with NumPy's RandomState(0) and cuts
    at the running sums 0.7 and 0.7 + 0.1, each times the number of speakers and rounded down. The
    splits are TFDS's own where the archives are those of its list.
    """
    dealt = sorted(set(speakers))
    np.random.RandomState(0).shuffle(dealt)
    first, second = int(0.7 * len(dealt)), int((0.7 + 0.1) * len(dealt))
    parts = (dealt[:first], dealt[first:second], dealt[second:])
    return {name: split for split, part in zip(FIXED, parts, strict=True) for name in part}


def index_table(root: Path) -> list[Clip]:
    """List the clips of a voxforge.csv in EVAR's form: file_name, label, split.

    EVAR splits archives and not speakers, so the group is the archive.
    """
    table = root / TABLE
    clips = []
    for line, row in read_table(table, ("file_name", "label", "split")):
        path, split = listed_path(table, row["file_name"]), row["split"]
        if split not in FIXED:
            raise TaskDataError(f"{table}, line {line}: split {split!r} is none of {FIXED}")
        parts = Path(path).parts
        archive = parts[-3] if len(parts) > 2 else parts[0]
        clips.append(Clip(path, path, row["label"], split, archive))
    return clips


def index(root: Path) -> list[Clip]:
    """List the clips by voxforge.csv, or of `<language>/<archive>/wav`, split as TFDS does.

    Some archives hold FLAC instead. TFDS (and EVAR) leave that out, but TFDS deals its speakers
    with the others: without them the splits would be other ones.
    """
    if (root / TABLE).is_file():
        return index_table(root)
    # <speaker>-<yyyymmdd>-<xxx>; many are "anonymous".
    archives = [name for language in LANGUAGES for name in subfolders(root / language)]
    splits = speaker_splits([name.split("-")[0] for name in archives])
    clips = []
    for language in LANGUAGES:
        for path in wav_files(root, f"{language}/*/wav"):
            speaker = path.split("/")[1].split("-")[0]
            clips.append(Clip(path, path, language, splits[speaker], speaker))
    if not clips:
        raise missing_data(TASK, root, "neither voxforge.csv nor a folder of archives is there")
    return clips


def convention(root: Path) -> str:
    """Say which of the two splits `index` takes, for the result."""
    if (root / TABLE).is_file():
        return f"the split of {TABLE} (EVAR's form, archive-disjoint)"
    return "speaker-disjoint 70/10/20 after TensorFlow Datasets, FLAC left out as there"


TASK = Task(
    name="voxforge",
    title="VoxForge (spoken language)",
    classes=LANGUAGES,
    split_policy="fixed",
    n_clips=176428,
    clip_seconds=5.8,
    licence="GPL-3.0",
    citation="K. MacLean, VoxForge, http://www.voxforge.org, 2018",
    sources=(
        # Size and checksum from TFDS (url_checksums/voxforge.txt).
        Source(
            URLS,
            "sha256:9cc218a5bce16640dc4eeb263aa423ce63ca59fc6587a9487dc397642b76af6c",
            1_344_189,
        ),
    ),
    layout="<language>/<archive>/wav/<id>.wav for de en es fr it ru; or voxforge.csv "
    "(file_name, label, split) and the files it names",
    index=index,
    by_hand=f"the set is thousands of small archives, listed in {URLS}: fetch the list, run "
    "wget -i voxforge_urls.txt -x (about 100 GB of disk), and unpack each archive into its "
    "language's folder: de, en (SpeechCorpus), es, fr, it or ru (Russian)",
    note="Split by voxforge.csv where present, else by speaker after TensorFlow Datasets.",
    convention=convention,
)
