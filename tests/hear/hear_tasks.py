"""Task folders in HEAR's format: the real spoken digits, and events made on the spot."""

import csv
import json
import tarfile
from pathlib import Path

import numpy as np
import soundfile
import soxr

RATE = 16000
SPOKEN_DIGIT = "hear-2021.0.6-spoken_digit-1.0.9-small-44100.tar.gz"
SOUNDS = ("hum", "whistle", "hiss")


def spoken_digit(shared_data: Path, tasks: Path) -> Path:
    """Unpack the published task under `tasks` and add its sounds at 16 kHz."""
    with tarfile.open(shared_data / SPOKEN_DIGIT) as archive:
        archive.extractall(tasks.parent / "unpacked", filter="data")
    (unpacked,) = (tasks.parent / "unpacked").glob("hear-*/tasks/*")
    task = unpacked.rename(tasks / unpacked.name)
    for source in sorted((task / "44100").glob("*/*.wav")):
        audio, rate = soundfile.read(source, dtype="float32")
        target = task / str(RATE) / source.parent.name / source.name
        target.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(target, soxr.resample(audio, rate, RATE), RATE, subtype="PCM_16")
    return task


def event_clip(random: np.random.Generator, seconds: float = 4.0) -> tuple[np.ndarray, list[dict]]:
    """Noise and, a second apart, three kinds of sound, some faint; label, start and end in ms."""
    audio = 0.003 * random.standard_normal(round(seconds * RATE))
    events = []
    for second in range(int(seconds)):
        label = SOUNDS[random.integers(len(SOUNDS))]
        start = second + random.uniform(0.05, 0.25)
        span = slice(round(start * RATE), round((start + 0.5) * RATE))
        time = np.arange(span.stop - span.start) / RATE
        audio[span] += (
            10 ** random.uniform(-2.2, -0.7)
            * {
                "hum": np.sin(2 * np.pi * 220 * time),
                "whistle": np.sin(2 * np.pi * 2500 * time),
                "hiss": random.uniform(-1, 1, len(time)),
            }[label]
        )
        events.append({"label": label, "start": 1000 * start, "end": 1000 * (start + 0.5)})
    return audio.astype(np.float32), events


def sound_events(tasks: Path, clips: int = 6) -> Path:
    """Write an event task of train, valid and test clips, with a grid of one quick setting."""
    task = tasks / "sound_events-1.0.0-small"
    random = np.random.default_rng(0)
    for split in ("train", "valid", "test"):
        folder = task / str(RATE) / split
        folder.mkdir(parents=True)
        labels = {}
        for number in range(clips):
            audio, labels[f"{split}{number}.wav"] = event_clip(random)
            soundfile.write(folder / f"{split}{number}.wav", audio, RATE, subtype="PCM_16")
        (task / f"{split}.json").write_text(json.dumps(labels))
    with open(task / "labelvocabulary.csv", "w", newline="") as file:
        csv.writer(file).writerows([("idx", "label"), *enumerate(SOUNDS)])
    grid = {"hidden_layers": [1], "hidden_dim": [64], "lr": [0.01], "max_epochs": [40]}
    metadata = {
        "task_name": "sound_events",
        "version": "1.0.0",
        "embedding_type": "event",
        "prediction_type": "multilabel",
        "split_mode": "trainvaltest",
        "sample_duration": 4.0,
        "evaluation": ["event_onset_200ms_fms", "event_onset_50ms_fms"],
        "evaluation_params": {
            "task_specific_param_grid": grid | {"check_val_every_n_epoch": [20], "patience": [20]}
        },
        "splits": ["train", "valid", "test"],
    }
    (task / "task_metadata.json").write_text(json.dumps(metadata))
    return task
