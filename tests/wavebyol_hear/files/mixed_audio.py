"""Folders of mixed audio, made on the spot: formats, rates, channels, odd names, damage."""

import os
from pathlib import Path

import numpy as np
import soundfile

FORMATS = (
    ("wav", "WAV", "PCM_16", 96_000, 6),
    ("flac", "FLAC", "PCM_24", 96_000, 6),
    ("ogg", "OGG", "VORBIS", 48_000, 6),
    ("mp3", "MP3", "MPEG_LAYER_III", 48_000, 2),
    ("wav", "WAV", "FLOAT", 96_000, 6),
)
RATES = (8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000)
MP3_RATES = (8_000, 16_000, 44_100, 48_000)
NAMES = (
    "plain",
    "a, b; c",
    "line\nbreak",
    "größe",
    "tab\there",
    "'quote\"",
    "$(touch x)",
    "{1..3}",
)
NOT_UTF8 = os.fsdecode(b"caf\xe9")


def make_mixed(folder: Path, count: int, seconds: tuple[float, float] = (0.05, 0.4)) -> None:
    """Write `count` readable files below a folder, the same ones every time."""
    random = np.random.default_rng(count)
    for number in range(count):
        suffix, form, subtype, highest, most = FORMATS[number % len(FORMATS)]
        rates = MP3_RATES if form == "MP3" else RATES
        rate = int(random.choice([r for r in rates if r <= highest]))
        channels = int(random.integers(1, most + 1))
        wave = 0.1 * random.standard_normal((int(random.uniform(*seconds) * rate) + 32, channels))
        name = f"{NAMES[number % len(NAMES)]} {number}.{suffix}"
        path = folder / f"{number % 7}" / ("deep\ner" if number % 3 else ".") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            soundfile.write(file, wave, rate, format=form, subtype=subtype)


def make_bad(folder: Path) -> dict[str, str]:
    """Write what cannot be embedded; return part of the reason by file name."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "empty.wav").touch()
    (folder / "text.flac").write_text("no audio")
    soundfile.write(folder / "cut.wav", np.zeros(8000), 16_000)
    os.truncate(folder / "cut.wav", 4000)
    soundfile.write(folder / "none.wav", np.zeros(0), 16_000)
    wave = np.zeros(8000)
    wave[5] = np.nan
    soundfile.write(folder / "nan.wav", wave, 16_000, subtype="FLOAT")
    (folder / "gone\n.wav").symlink_to(folder / "nowhere.wav")
    (folder / "loop.wav").symlink_to(folder / "loop.wav")
    (folder / "up").symlink_to(folder.parent, target_is_directory=True)
    os.mkfifo(folder / "pipe.wav")
    return {
        "empty.wav": "not readable as audio",
        "text.flac": "not readable as audio",
        "cut.wav": "cut off",
        "none.wav": "holds no samples",
        "nan.wav": "NaN",
        "gone\n.wav": "no such file",
        "loop.wav": "Too many levels",
        "pipe.wav": "not a regular file",
    }
