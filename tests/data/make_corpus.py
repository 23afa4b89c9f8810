"""Synthesize the small corpus that the end-to-end tests run on: python tests/data/make_corpus.py.

Sixty clips of 1 s in ESC-50's layout under `tests/data/esc50/ESC-50-master`: six classes by five
folds by two takes, Ogg/Opus at 16 kHz. Every clip is drawn from its class's own process
(bursts, sweeps, rising tones in noise, beeps, glides through formants, clicks) with random pitch,
tempo, level and background noise, so that classes differ audibly and no two clips are alike.
Nothing is recorded: nobody else has rights in the files. They are checked in, because encoders
differ between versions of libsndfile; run this only to change the corpus.
"""

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

RATE = 16_000
CLASSES = {
    0: "dog",
    14: "chirping_birds",
    17: "pouring_water",
    37: "clock_alarm",
    20: "crying_baby",
    38: "clock_tick",
}
FOLDS, TAKES = range(1, 6), "AB"
ROOT = Path(__file__).parent / "esc50" / "ESC-50-master"

TIME = np.arange(RATE) / RATE


def band_noise(generator: np.random.Generator, low: float, high: float) -> np.ndarray:
    """Return noise between two frequencies in Hz, of unit deviation."""
    spectrum = np.fft.rfft(generator.standard_normal(RATE))
    hertz = np.fft.rfftfreq(RATE, 1 / RATE)
    wave = np.fft.irfft(spectrum * ((hertz > low) & (hertz < high)), RATE)
    return wave / wave.std()


def decay(start: float, seconds: float) -> np.ndarray:
    """Return an envelope that begins at a time and falls to 1/e in so many seconds."""
    since = TIME - start
    return np.where(since >= 0, np.exp(-np.clip(since, 0, None) / seconds), 0.0)


def barks(generator: np.random.Generator) -> np.ndarray:
    """Two or three hoarse bursts that fall in pitch."""
    wave = np.zeros(RATE)
    for start in np.sort(generator.uniform(0, 0.7, generator.integers(2, 4))):
        pitch = generator.uniform(250, 500)
        phase = 2 * np.pi * np.cumsum(pitch * (0.6 + 0.4 * decay(start, 0.08))) / RATE
        harmonics = sum(np.sin(k * phase) / k for k in range(1, 9))
        wave += decay(start, generator.uniform(0.04, 0.1)) * (
            harmonics + 0.5 * band_noise(generator, 300, 3000)
        )
    return wave


def chirps(generator: np.random.Generator) -> np.ndarray:
    """A row of short sweeps between 2 and 6 kHz."""
    wave = np.zeros(RATE)
    rise = generator.choice([-1.0, 1.0]) * generator.uniform(500, 2500)
    base, period = generator.uniform(2500, 5000), generator.uniform(0.08, 0.2)
    for start in np.arange(generator.uniform(0, period), 0.9, period):
        inside = (start <= TIME) & (start + 0.6 * period > TIME)
        since = (TIME - start) / (0.6 * period)
        frequency = base + rise * np.clip(since, 0, 1)
        wave += (
            inside
            * np.sin(np.pi * np.clip(since, 0, 1))
            * np.sin(2 * np.pi * np.cumsum(frequency) / RATE)
        )
    return wave


def bubbles(generator: np.random.Generator) -> np.ndarray:
    """Broad noise under many short rising tones."""
    wave = 0.3 * band_noise(generator, 400, 6000)
    for start in generator.uniform(0, 0.95, generator.integers(15, 40)):
        frequency = generator.uniform(500, 1500) * (1 + 4 * np.clip(TIME - start, 0, 0.1))
        wave += 0.6 * decay(start, 0.02) * np.sin(2 * np.pi * np.cumsum(frequency) / RATE)
    return wave


def beeps(generator: np.random.Generator) -> np.ndarray:
    """Two alternating steady tones, switched on and off."""
    low = generator.uniform(800, 1600)
    rate = generator.uniform(4, 9)
    tone = np.where(np.sin(2 * np.pi * rate / 2 * TIME) > 0, low, low * generator.uniform(1.1, 1.5))
    gate = (np.sin(2 * np.pi * rate * TIME + generator.uniform(0, 6)) > -0.3).astype(float)
    return gate * np.sign(np.sin(2 * np.pi * np.cumsum(tone) / RATE)) * 0.5


def cries(generator: np.random.Generator) -> np.ndarray:
    """A voice-like glide of strong harmonics through two formants."""
    pitch = generator.uniform(350, 550) * (
        1 + 0.2 * np.sin(2 * np.pi * generator.uniform(0.7, 1.6) * TIME)
    )
    phase = 2 * np.pi * np.cumsum(pitch * (1 + 0.02 * np.sin(2 * np.pi * 6 * TIME))) / RATE
    formants = generator.uniform(900, 1300), generator.uniform(2600, 3400)
    weights = [
        sum(np.exp(-(((k * pitch.mean() - f) / 400) ** 2)) for f in formants) for k in range(1, 12)
    ]
    voice = sum(w * np.sin(k * phase) for k, w in enumerate(weights, 1))
    return voice * np.clip(np.sin(np.pi * TIME), 0, None) ** 0.3


def ticks(generator: np.random.Generator) -> np.ndarray:
    """Regular clicks, each a few milliseconds of resonance."""
    period, resonance = generator.uniform(0.15, 0.35), generator.uniform(1500, 4000)
    starts = np.arange(generator.uniform(0, period), 1, period)
    clicks = [decay(s, 0.004) * np.sin(2 * np.pi * resonance * (TIME - s)) for s in starts]
    return np.sum(clicks, axis=0)


PROCESSES: dict[int, Callable[[np.random.Generator], np.ndarray]] = {
    0: barks,
    14: chirps,
    17: bubbles,
    37: beeps,
    20: cries,
    38: ticks,
}


def main() -> None:
    """Write the audio and the table."""
    (ROOT / "audio").mkdir(parents=True, exist_ok=True)
    (ROOT / "meta").mkdir(exist_ok=True)
    rows = []
    for fold in FOLDS:
        for target, name in CLASSES.items():
            for take in TAKES:
                source = 1000 * fold + 10 * target + TAKES.index(take)
                generator = np.random.default_rng(source)
                wave = PROCESSES[target](generator)
                wave = wave / np.abs(wave).max() * 10 ** generator.uniform(-1.0, -0.2)
                wave += 10 ** generator.uniform(-3.5, -1.7) * band_noise(generator, 50, 7500)
                stem = f"{fold}-{source}-{take}-{target}"
                peak = max(1.0, np.abs(wave).max() / 0.99)
                soundfile.write(
                    ROOT / "audio" / f"{stem}.ogg",
                    wave / peak,
                    RATE,
                    format="OGG",
                    subtype="OPUS",
                    compression_level=0.97,
                )
                rows.append((f"{stem}.wav", fold, target, name, "False", source, take))
    with open(ROOT / "meta" / "esc50.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(
            [("filename", "fold", "target", "category", "esc10", "src_file", "take"), *rows]
        )


if __name__ == "__main__":
    main()
