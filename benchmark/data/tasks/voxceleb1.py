"""VoxCeleb1, speaker identification: 153,516 clips, 1,251 speakers, the published iden_split."""

from collections import Counter
from pathlib import Path

from benchmark.data.archive_layout import existing, listed_path, read_lines, subfolders
from benchmark.data.clip import Clip, Source, Task, TaskDataError

SPLITS = {"1": "train", "2": "valid", "3": "test"}
ARCHIVES = ("dev/", "test/", "vox1_dev_wav/", "vox1_test_wav/", "")
"""Folders that the two archives are unpacked to, or their merged content, with `wav` in each."""
SITE = "https://www.robots.ox.ac.uk/~vgg/data/voxceleb"


def index(root: Path) -> list[Clip]:
    """List the clips of iden_split.txt; the group is the video, within its published part.

    The list is the protocol: a video that it puts in two parts is counted by `convention` and is
    no reason to refuse the set. The audio is in `wav`, the merged content of the dev and test
    archives, or in these as they unpack, `dev/wav` and `test/wav`.
    """
    table = existing(TASK, root, "iden_split.txt")
    # All folders of speakers, however the archives were unpacked.
    wavs = [f"{top}{archive}wav" for top in ("vox1/", "") for archive in ARCHIVES]
    folder_of = {name: wav for wav in reversed(wavs) for name in subfolders(root / wav)}
    if not folder_of:
        existing(TASK, root, "wav")
    clips = []
    for line, text in enumerate(read_lines(table), 1):
        number, _, name = text.partition(" ")
        path = listed_path(table, name.strip())
        parts = path.split("/")
        if number not in SPLITS or len(parts) != 3:
            raise TaskDataError(
                f"{table}, line {line}: {text!r} is not '1|2|3 speaker/video/file'; "
                f"fetch the file again from {SITE}/meta/iden_split.txt"
            )
        split = SPLITS[number]
        group = f"{split}/{parts[0]}/{parts[1]}"
        folder = folder_of.get(parts[0], "wav")
        clips.append(Clip(path, f"{folder}/{path}", parts[0], split, group))
    return clips


def convention(root: Path) -> str:
    """Say how many videos the list has in more than one part, for the result."""
    groups = {clip.group for clip in index(root)}  # <part>/<speaker>/<video>
    parts = Counter(group.partition("/")[2] for group in groups)
    shared = sum(count > 1 for count in parts.values())
    return f"iden_split.txt as published; {shared} of {len(parts)} videos are in two parts of it"


TASK = Task(
    name="voxceleb1",
    title="VoxCeleb1 (speaker identification)",
    classes=tuple(f"id{number}" for number in range(10001, 11252)),
    split_policy="fixed",
    n_clips=153516,
    clip_seconds=8.2,
    licence="CC BY 4.0 for the metadata; the sound is from YouTube, behind a form",
    citation="A. Nagrani, J. S. Chung, A. Zisserman, VoxCeleb: a large-scale speaker "
    "identification dataset, Interspeech 2017",
    sources=(
        Source(f"{SITE}/meta/iden_split.txt", "md5:09710b779bc221585f5837ef0341a1d2", 4_912_512),
        # The four parts of the dev archive, joined.
        Source(f"{SITE}/vox1.html#vox1_dev_wav.zip", "md5:ae63e55b951748cc486645f532ba230b"),
        Source(f"{SITE}/vox1.html#vox1_test_wav.zip", "md5:185fdc63c3c739954633d50379a3d102"),
    ),
    layout="iden_split.txt and wav/<speaker>/<video>/<nnnnn>.wav (of the dev and the test archive)",
    index=index,
    top="vox1",
    by_hand=f"ask for access with the form at {SITE}/vox1.html; join the four parts of the dev "
    "archive (cat vox1_dev_wav_parta? > vox1_dev_wav.zip), check both zips, unpack both into one "
    f"folder wav/, and put {SITE}/meta/iden_split.txt next to it",
    convention=convention,
)
