"""Sound made on the spot, and small trees in the official layout of every data set."""

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from benchmark.data.tasks.esc50 import CLASSES as ESC50_CLASSES

RATE = 16000


def noisy_tone(seconds: float, seed: int, rate: int = RATE) -> np.ndarray:
    """A tone whose pitch and noise depend on the seed, peak below 0.5; float32 [n]."""
    random = np.random.default_rng(seed)
    time = np.arange(round(seconds * rate)) / rate
    tone = 0.3 * np.sin(2 * np.pi * random.uniform(100, 4000) * time)
    return (tone + 0.02 * random.standard_normal(len(time)).clip(-5, 5)).astype(np.float32)


def write_tone(path: Path, seconds: float, seed: int, rate: int = RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, noisy_tone(seconds, seed, rate), rate, subtype="PCM_16")


def write_table(path: Path, header: str, rows: list[tuple]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        csv.writer(file).writerows([header.split(","), *rows])


def esc50_tree(root: Path) -> None:
    """Three classes, two clips a fold and class; as the GitHub archive unpacks."""
    top = root / "ESC-50-master"
    rows = []
    for fold in range(1, 6):
        for target in range(3):
            for take in "AB":
                source = f"{fold}{target}00"
                name = f"{fold}-{source}-{take}-{target}.wav"
                rows.append((name, fold, target, ESC50_CLASSES[target], "True", source, take))
                write_tone(top / "audio" / name, 0.1, len(rows))
    write_table(top / "meta/esc50.csv", "filename,fold,target,category,esc10,src_file,take", rows)


def urbansound8k_tree(root: Path) -> None:
    """Two classes, one recording of two slices a fold and class."""
    top = root / "UrbanSound8K"
    rows = []
    for fold in range(1, 11):
        for class_id, name in ((3, "dog_bark"), (8, "siren")):
            recording = 100 * fold + class_id
            for piece in range(2):
                file = f"{recording}-{class_id}-0-{piece}.wav"
                rows.append((file, recording, 0.0, 0.1, 1, fold, class_id, name))
                write_tone(top / f"audio/fold{fold}" / file, 0.05 + 0.05 * piece, len(rows))
    header = "slice_file_name,fsID,start,end,salience,fold,classID,class"
    write_table(top / "metadata/UrbanSound8K.csv", header, rows)


def speech_commands_tree(root: Path) -> None:
    """Three words by six speakers; speaker 4 in the validation list, 5 in the testing list."""
    for seed, word in enumerate(("yes", "no", "zero")):
        for speaker in range(6):
            write_tone(root / word / f"{speaker:08x}_nohash_0.wav", 0.1, 10 * seed + speaker)
    write_tone(root / "_background_noise_" / "hiss.wav", 0.2, 99)
    for name, speaker in (("validation_list.txt", 4), ("testing_list.txt", 5)):
        lines = [f"{word}/{speaker:08x}_nohash_0.wav" for word in ("yes", "no", "zero")]
        (root / name).write_text("\n".join(lines) + "\n")


def nsynth_tree(root: Path) -> None:
    """Two families, three notes a split."""
    for seed, split in enumerate(("train", "valid", "test")):
        notes = {}
        for i, family in enumerate(("bass", "vocal", "bass")):
            key = f"{family}_synthetic_{seed:03d}-{40 + i:03d}-100"
            notes[key] = {"instrument_family_str": family, "pitch": 40 + i}
            write_tone(root / f"nsynth-{split}" / "audio" / f"{key}.wav", 0.1, 10 * seed + i)
        (root / f"nsynth-{split}" / "examples.json").write_text(json.dumps(notes))


def voxceleb1_tree(root: Path) -> None:
    """Two speakers, a video a split, two clips a video."""
    lines = []
    for speaker in ("id10001", "id10270"):
        for number in (1, 2, 3):
            for clip in (1, 2):
                path = f"{speaker}/video{number}/{clip:05d}.wav"
                lines.append(f"{number} {path}")
                write_tone(root / "wav" / path, 0.1, len(lines))
    (root / "iden_split.txt").write_text("\n".join(lines) + "\n")


def ravdess_tree(root: Path) -> None:
    """Two emotions by 24 actors, and a song that is no part of the task."""
    for actor in range(1, 25):
        folder = root / f"Actor_{actor:02d}"
        for emotion in (1, 5):
            name = f"03-01-{emotion:02d}-01-01-01-{actor:02d}.wav"
            write_tone(folder / name, 0.1, 100 * actor + emotion)
        write_tone(folder / f"03-02-05-01-01-01-{actor:02d}.wav", 0.1, actor)


def voxforge_tree(root: Path) -> None:
    """Two languages, ten speakers each with an archive of two files, one of them in FLAC."""
    for seed, language in enumerate(("de", "ru")):
        for speaker in range(10):
            archive = root / language / f"{language}speaker{speaker}-20100101-abc"
            kind = "flac" if speaker == 0 else "wav"
            for clip in range(2):
                path = archive / kind / f"{language}-{clip:02d}.{kind}"
                write_tone(path, 0.1, 100 * seed + 10 * speaker + clip)
            (archive / "etc").mkdir()
            (archive / "etc/README").write_text("Language: " + language)


TREES: dict[str, Callable[[Path], None]] = {
    "esc50": esc50_tree,
    "nsynth": nsynth_tree,
    "notes": lambda root: None,  # renders itself
    "ravdess": ravdess_tree,
    "ravdess_paper": ravdess_tree,
    "speech_commands": speech_commands_tree,
    "speech_commands_folds": speech_commands_tree,
    "speech_commands_keywords": speech_commands_tree,
    "urbansound8k": urbansound8k_tree,
    "voxceleb1": voxceleb1_tree,
    "voxforge": voxforge_tree,
}
