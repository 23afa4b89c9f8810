"""Task folders in HEAR's format: everyday sounds in folds, and events made on the spot."""

import csv
import json
from pathlib import Path

import numpy as np
import soundfile
import soxr

RATE = 16000
PUBLISHED_RATE = 44_100
SOUNDS = ("hum", "whistle", "hiss")


def everyday_sounds(esc50_root: Path, tasks: Path) -> Path:
    """Write the synthetic corpus as a scene task of five folds, at 44.1 and at 16 kHz."""
    task = tasks / "everyday_sounds-1.0.0-small"
    with open(next(esc50_root.rglob("esc50.csv")), newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    folds: dict[str, dict[str, list[str]]] = {f"fold{number:02d}": {} for number in range(5)}
    for row in rows:
        fold = f"fold{int(row['fold']) - 1:02d}"
        folds[fold][row["filename"]] = [row["category"]]
        audio, rate = soundfile.read(next(esc50_root.rglob(row["filename"])), dtype="float32")
        assert rate == RATE
        published = soxr.resample(audio, RATE, PUBLISHED_RATE).clip(-1, 1)
        for target_rate in (PUBLISHED_RATE, RATE):
            target = task / str(target_rate) / fold / row["filename"]
            target.parent.mkdir(parents=True, exist_ok=True)
            wave = (
                published
                if target_rate == PUBLISHED_RATE
                else soxr.resample(published, PUBLISHED_RATE, RATE)
            )
            soundfile.write(target, wave, target_rate, subtype="PCM_16")
    for fold, labels in folds.items():
        (task / f"{fold}.json").write_text(json.dumps(labels))
    with open(task / "labelvocabulary.csv", "w", newline="") as file:
        classes = sorted({row["category"] for row in rows})
        csv.writer(file).writerows([("idx", "label"), *enumerate(classes)])
    metadata = {
        "task_name": "everyday_sounds",
        "version": "1.0.0",
        "embedding_type": "scene",
        "prediction_type": "multiclass",
        "split_mode": "new_split_kfold",
        "sample_duration": 1.0,
        "evaluation": ["top1_acc"],
        "nfolds": 5,
        "mode": "small",
        "splits": list(folds),
    }
    (task / "task_metadata.json").write_text(json.dumps(metadata))
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
