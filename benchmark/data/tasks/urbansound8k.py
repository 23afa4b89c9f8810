"""UrbanSound8K: 8,732 city sounds of up to 4 s, 10 classes, ten published folds."""

from pathlib import Path

from benchmark.data.archive_layout import fold_name, locate, read_table
from benchmark.data.clip import Clip, Source, Task

# In the order of the column `classID` of metadata/UrbanSound8K.csv.
CLASSES = (
    "air_conditioner",
    "car_horn",
    "children_playing",
    "dog_bark",
    "drilling",
    "engine_idling",
    "gun_shot",
    "jackhammer",
    "siren",
    "street_music",
)
# Counted in the official table: 77751, 106905, 132016, 176638 and 180937 of its 1,297 recordings;
# what the class of a slice is says in which fold it lies, so no class of theirs is in two.
NOTE = (
    "As published, 5 of 1,297 recordings have slices in two folds (152 of 8,732 clips), of one "
    "class in each."
)


def index(root: Path) -> list[Clip]:
    """List the clips of metadata/UrbanSound8K.csv; the group is the recording within its fold.

    The folds are the protocol: the recordings that they part (see `NOTE`) are no reason to refuse
    the set.

    Args:
        root: holds `metadata` and `audio`, or `UrbanSound8K` with them.

    Raises:
        TaskDataError: where the table or the audio folder is absent or the table is malformed.
    """
    top = locate(TASK, root, "UrbanSound8K", "metadata/UrbanSound8K.csv")
    locate(TASK, root, "UrbanSound8K", "audio")
    table = root / f"{top}metadata/UrbanSound8K.csv"
    return [
        Clip(
            clip_id=row["slice_file_name"],
            path=f"{top}audio/fold{row['fold']}/{row['slice_file_name']}",
            label=row["class"],
            split=fold_name(table, line, row["fold"], 10),
            group=f"{row['fsID']}/fold{row['fold']}",
        )
        for line, row in read_table(table, ("slice_file_name", "fsID", "fold", "class"))
    ]


TASK = Task(
    name="urbansound8k",
    title="UrbanSound8K",
    classes=CLASSES,
    split_policy="folds",
    sample_counts=8732,
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
    note=NOTE,
)
