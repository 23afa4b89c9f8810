"""ESC-50: 2,000 environmental sounds of 5 s, 50 classes, five published folds."""

from pathlib import Path

from benchmark.data.archive_layout import clips_of_folds, existing, top_of
from benchmark.data.clip import Clip, Source, Task

# In the order of the column `target` of meta/esc50.csv.
NAMES = """
    dog rooster pig cow frog cat hen insects sheep crow
    rain sea_waves crackling_fire crickets chirping_birds water_drops wind pouring_water
    toilet_flush thunderstorm
    crying_baby sneezing clapping breathing coughing footsteps laughing brushing_teeth snoring
    drinking_sipping
    door_wood_knock mouse_click keyboard_typing door_wood_creaks can_opening washing_machine
    vacuum_cleaner clock_alarm clock_tick glass_breaking
    helicopter chainsaw siren car_horn engine train church_bells airplane fireworks hand_saw
"""
CLASSES = tuple(NAMES.split())


def index(root: Path) -> list[Clip]:
    """List the clips of meta/esc50.csv; the group is the Freesound recording within its fold."""
    top = top_of(TASK, root)
    table = existing(TASK, root / top, "meta/esc50.csv")
    existing(TASK, root / top, "audio")
    columns = {"name": "filename", "label": "category", "recording": "src_file"}
    return clips_of_folds(table, f"{top}audio/", **columns, folds=5)


TASK = Task(
    name="esc50",
    title="ESC-50",
    classes=CLASSES,
    split_policy="folds",
    n_clips=2000,
    clip_seconds=5.0,
    licence="CC BY-NC 3.0 (the ESC-10 part CC BY 3.0)",
    citation="K. J. Piczak, ESC: Dataset for Environmental Sound Classification, ACM MM 2015",
    sources=(
        Source(
            "https://github.com/karoldvl/ESC-50/archive/master.zip",
            # The checksum of soundata 1.0 and HEAR 2021. GitHub packs a branch on demand and its
            # archives of one and the same commit differ in their bytes.
            "md5:7771e4b9d86d0945acce719c7a59305a",
            repacked=True,
        ),
    ),
    layout="ESC-50-master/ (or what is in it): meta/esc50.csv and audio/<file name>.wav",
    index=index,
    top="ESC-50-master",
    # Counted in the official table: 131943, 134049 in folds 2 and 3, 209698, 234879 in 4 and 5.
    note="As published, 4 of 1,524 recordings have clips in two folds (9 of 2,000 clips).",
)
