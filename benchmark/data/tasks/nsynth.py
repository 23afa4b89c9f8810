"""NSynth: 305,979 notes of 4 s, 11 instrument families, the published train, valid and test."""

from pathlib import Path

from benchmark.data.archive_layout import existing, read_json
from benchmark.data.clip import FIXED, Clip, Source, Task, TaskDataError

# In the order of `instrument_family` in examples.json.
NAMES = "bass brass flute guitar keyboard mallet organ reed string synth_lead vocal"
FAMILIES = tuple(NAMES.split())
URL = "http://download.magenta.tensorflow.org/datasets/nsynth"


def index(root: Path) -> list[Clip]:
    """List the notes of the three examples.json.

    The group is the instrument, which a note's key begins with, within its part: the published
    valid and test share instruments (train shares none with them), and intervals draw an
    instrument's notes together.
    """
    clips = []
    for split in FIXED:
        folder = f"nsynth-{split}"
        table = existing(TASK, root, f"{folder}/examples.json")
        for key, note in read_json(table).items():
            try:
                family = note["instrument_family_str"]
            except (KeyError, TypeError) as error:
                raise TaskDataError(
                    f"{table}: {key} has no instrument_family_str; fetch the file again"
                ) from error
            instrument = key.rsplit("-", 2)[0]  # then pitch and velocity
            path = f"{folder}/audio/{key}.wav"
            clips.append(Clip(key, path, family, split, f"{split}/{instrument}"))
    return clips


TASK = Task(
    name="nsynth",
    title="NSynth (instrument family)",
    classes=FAMILIES,
    split_policy="fixed",
    n_clips=305979,
    clip_seconds=4.0,
    licence="CC BY 4.0",
    citation="J. Engel et al., Neural Audio Synthesis of Musical Notes with WaveNet Autoencoders, "
    "ICML 2017",
    # Google's storage gives these MD5s as ETags; HEAR 2021 (nsynth_pitch.py) has the same.
    sources=tuple(
        Source(f"{URL}/nsynth-{part}.jsonwav.tar.gz", f"md5:{md5}", size)
        for part, md5, size in (
            ("train", "fde6665a93865503ba598b9fac388660", 23_815_298_079),
            ("valid", "87e94a00a19b6dbc99cf6d4c0c0cae87", 1_068_767_009),
            ("test", "5e6f8719bf7e16ad0a00d518b78af77d", 349_501_546),
        )
    ),
    layout="nsynth-train/, nsynth-valid/ and nsynth-test/, each with examples.json and "
    "audio/<key>.wav",
    index=index,
    note="As published, valid and test share instruments, and no test note is a synth_lead.",
)
