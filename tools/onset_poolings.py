"""Compare timestamp poolings by onset F: python tools/onset_poolings.py PACKS [--out FILE].

PACKS is the folder that tools/lay_out_packs.py makes. Short real sounds (everyday sounds of ESC-50,
words of Speech Commands) are placed in coloured noise at 0 to 15 dB, and the frame probe `frames-1`
finds them again. Poolings are compared on scenes of one half of the recordings; the other half is
looked at for the table's last column alone.
"""

import argparse
import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from benchmark.heareval.frames import FramedClip, probe_frames
from benchmark.stats.events import DEFAULT_POSTPROCESSING
from wavebyol_hear import get_timestamp_embeddings, load_model
from wavebyol_hear.audio import read_audio
from wavebyol_hear.embed import Embedder
from wavebyol_hear.pooling import POOLINGS, Pooling

RATE = 16_000
SECONDS = 15.0
EVENTS = 8
EVERYDAY = (
    "dog",
    "cat",
    "door_wood_knock",
    "mouse_click",
    "coughing",
    "glass_breaking",
    "can_opening",
    "sneezing",
)
WORDS = ("yes", "stop", "seven", "happy")
LABELS = (*EVERYDAY, *WORDS)
MOST_SECONDS = 1.0
QUIET_DB = -30.0

Scene = tuple[np.ndarray, list[dict[str, Any]]]
"""A waveform, and events with label, start and end in ms."""

CANDIDATES: dict[str, Pooling] = {
    **POOLINGS,
    "late contrast": Pooling(last=("max", "std")),
    "blocks": Pooling(blocks=("max", "std"), last=("max",)),
    "means": Pooling(image=("mean",), blocks=("mean",), last=("mean",)),
    "all three": Pooling(
        image=("mean", "max", "std"), blocks=("mean", "max", "std"), last=("mean", "max")
    ),
}


def trim(wave: np.ndarray) -> np.ndarray:
    """Return the sound from its first loud 10 ms on, at most a second, at unit RMS."""
    frames = wave[: len(wave) // 160 * 160].reshape(-1, 160)
    level = 10 * np.log10((frames**2).mean(1) + 1e-12)
    loud = np.flatnonzero(level > level.max() + QUIET_DB)
    cut = wave[loud[0] * 160 : min((loud[-1] + 1) * 160, loud[0] * 160 + int(MOST_SECONDS * RATE))]
    return cut / np.sqrt((cut**2).mean() + 1e-12)


def sounds(packs: Path) -> dict[str, list[list[np.ndarray]]]:
    """Return by half ("choose", "report") of each label its trimmed sounds.

    Halves share no recording: ESC-50's folds 1 to 3 and 4 to 5, and different speakers.
    """
    found: dict[str, list[list[np.ndarray]]] = {
        half: [[] for _ in LABELS] for half in ("choose", "report")
    }
    esc50 = next(packs.glob("**/meta/esc50.csv"))
    with esc50.open(newline="") as lines:
        for row in csv.DictReader(lines):
            path = esc50.parents[1] / "audio" / row["filename"]
            if row["category"] in LABELS and path.is_file():
                half = "choose" if int(row["fold"]) <= 3 else "report"
                wave = trim(read_audio(path, RATE))
                found[half][LABELS.index(row["category"])].append(wave)
    for word in WORDS:
        for path in sorted(packs.glob(f"speech_commands*/**/{word}/*.wav")):
            half = "choose" if int(path.name[:8], 16) % 2 else "report"
            found[half][LABELS.index(word)].append(trim(read_audio(path, RATE)))
    return found


def noise(rng: np.random.Generator, samples: int) -> np.ndarray:
    """Return noise of unit RMS whose power falls as frequency to a drawn power of 0 to 2."""
    spectrum = np.fft.rfft(rng.standard_normal(samples))
    slope = rng.uniform(0, 2)
    coloured = np.fft.irfft(
        spectrum / np.maximum(np.arange(len(spectrum)), 20) ** (slope / 2), samples
    )
    return coloured / coloured.std()


def scenes(of: list[list[np.ndarray]], count: int, seed: int) -> Iterator[Scene]:
    """Yield scenes of events that do not overlap, with what is in them."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        mix = noise(rng, int(SECONDS * RATE))
        events = []
        slot = SECONDS / EVENTS
        for place in range(EVENTS):
            label = int(rng.integers(len(LABELS)))
            wave = of[label][int(rng.integers(len(of[label])))]
            start = int((place * slot + rng.uniform(0, slot - MOST_SECONDS)) * RATE)
            mix[start : start + len(wave)] += wave * 10 ** (rng.uniform(0, 15) / 20)
            events.append(
                {
                    "label": LABELS[label],
                    "start": 1000 * start / RATE,
                    "end": 1000 * (start + len(wave)) / RATE,
                }
            )
        yield (0.05 * mix).astype(np.float32), events


def framed(model: Embedder, part: list[Scene], name: str) -> list[FramedClip]:
    """Return the frames of scenes under a model."""
    clips = []
    for number, (wave, events) in enumerate(part):
        embedding, stamps = get_timestamp_embeddings(torch.from_numpy(wave)[None], model)
        clips.append(FramedClip(f"{name}{number}", embedding[0].numpy(), stamps[0].numpy(), events))
    return clips


def main() -> int:
    """Run the command and return its exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("packs", type=Path)
    parser.add_argument("--weights", default="", help="of wavebyol_hear (default: shipped)")
    parser.add_argument("--scenes", type=int, default=40, help="to train on; half as many to test")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    of = sounds(given.packs)
    train, valid, test = (
        list(scenes(of["choose"], count, seed))
        for seed, count in enumerate((given.scenes, given.scenes // 2, given.scenes // 2))
    )
    held_out = list(scenes(of["report"], given.scenes // 2, 3))
    table: dict[str, dict[str, float]] = {}
    for name, pooling in tqdm(CANDIDATES.items(), unit="pooling"):
        model = load_model(given.weights, pooling=pooling, precision="fp32")
        parts = [
            framed(model, part, kind)
            for kind, part in (("t", train), ("v", valid), ("c", test), ("h", held_out))
        ]
        row: dict[str, float] = {"numbers": model.timestamp_embedding_size}
        for where, tested in (("chosen on", parts[2]), ("held out", parts[3])):
            found = probe_frames(parts[0], parts[1], tested, LABELS, DEFAULT_POSTPROCESSING)
            row |= {
                f"{where}, {int(ms)} ms": round(100 * score, 1)
                for ms, score in found.scores.items()
            }
        table[name] = row
        tqdm.write(f"{name:14s} {row}")
    if given.out:
        given.out.write_text(json.dumps(table, indent=1) + "\n")
    best = max(table, key=lambda name: table[name]["chosen on, 200 ms"])
    sys.stdout.write(f"best where it is chosen: {best}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
