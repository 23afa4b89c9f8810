"""Class folders of short sounds, and a classifier of them."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from wavebyol_hear import __main__ as command

CLASSES = ("high", "low", "noise")


def sound(kind: str, index: int, seconds: float = 0.4) -> np.ndarray:
    generator = np.random.default_rng([index, CLASSES.index(kind)])
    time_s = np.arange(round(seconds * 16_000)) / 16_000
    noise = 0.02 * generator.normal(size=len(time_s))
    if kind == "noise":
        return 5 * noise
    hertz = (200 if kind == "low" else 3_000) * generator.uniform(0.8, 1.2)
    return 0.3 * np.sin(2 * np.pi * hertz * time_s) + noise


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("sounds")
    for kind in CLASSES:
        (root / kind).mkdir()
        for index in range(6):
            soundfile.write(root / kind / f"{index}.wav", sound(kind, index), 16_000)
    return root


@pytest.fixture(scope="session")
def classifier(folders: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("classifier") / "mine"
    arguments = ["train", str(folders), "--out", str(path), "--model", "wavebyol_hear?preset=slim"]
    assert command.main(arguments) == 0
    return path
