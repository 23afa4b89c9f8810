"""UrbanSound8K: 8,732 city sounds of up to 4 s, 10 classes, ten published folds."""

from pathlib import Path

from benchmark.data.archive_layout import clips_of_folds, existing, top_of
from benchmark.data.clip import Clip, Source, Task

# In the order of the column `classID` of metadata/UrbanSound8K.csv.
NAMES = """
    air_conditioner car_horn children_playing dog_bark drilling engine_idling gun_shot jackhammer
    siren street_music
"""
CLASSES = tuple(NAMES.split())


def index(root: Path) -> list[Clip]:
    """List the clips of UrbanSound8K.csv; the group is the recording within its fold.

    Other copies are known too: the table and the folders of folds in one folder, and all clips
    in one folder.
    """
    top = top_of(TASK, root)
    table = existing(TASK, root / top, "metadata/UrbanSound8K.csv", "UrbanSound8K.csv")
    folders = ("audio/fold1/", "audio/", "fold1/", "")
    folder = next((f for f in folders if any((root / top / f).glob("[!.]*.wav"))), folders[0])
    existing(TASK, root / top, folder.rstrip("/"), "audio")
    columns = {"name": "slice_file_name", "label": "class", "recording": "fsid"}
    return clips_of_folds(table, top + folder.replace("1", "{fold}"), **columns, folds=10)


TASK = Task(
    name="urbansound8k",
    title="UrbanSound8K",
    classes=CLASSES,
    split_policy="folds",
    n_clips=8732,
    clip_seconds=4.0,
    licence="CC BY-NC 4.0",
    citation="J. Salamon, C. Jacoby, J. P. Bello, A Dataset and Taxonomy for Urban Sound Research, "
    "ACM MM 2014",
    sources=(
        Source(
            "https://zenodo.org/record/1203745/files/UrbanSound8K.tar.gz",
            "md5:9aa69802bbf37fb986f71ec1483a196e",
            6_023_741_708,
        ),
    ),
    layout="UrbanSound8K/ (or what is in it): metadata/UrbanSound8K.csv and "
    "audio/fold<k>/<file name>.wav",
    index=index,
    top="UrbanSound8K",
    # Counted in the official table: 77751, 106905, 132016, 176638 and 180937; what the class of a
    # slice is says in which fold it lies, so no class of theirs is in two.
    note="As published, 5 of 1,297 recordings have slices in two folds (152 of 8,732 clips), of "
    "one class in each.",
)
