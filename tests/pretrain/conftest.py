"""A small store of made-up clips for the tests of training."""

import subprocess
import sys

import numpy as np
import pytest
import soundfile


@pytest.fixture(scope="session")
def store(tmp_path_factory):
    """Twenty-four made-up clips, decoded by the command itself."""
    root = tmp_path_factory.mktemp("clips")
    generator = np.random.default_rng(0)
    for number in range(24):
        tone = np.sin(np.arange(6000) * generator.uniform(0.02, 0.8))
        soundfile.write(
            root / f"{number:02}.wav", 0.3 * tone + 0.01 * generator.normal(size=6000), 16_000
        )
    out = tmp_path_factory.mktemp("store")
    subprocess.run(
        [sys.executable, "-m", "pretrain.store", root, "--out", out, "--workers", "1"],
        check=True,
        capture_output=True,
    )
    return out


@pytest.fixture
def probe_folder(tmp_path):
    """Forty clips for the online probe in two classes, low tones and high ones."""
    generator, root = np.random.default_rng(0), tmp_path / "probe"
    for name, hertz in (("low", 300), ("high", 3000)):
        (root / name).mkdir(parents=True)
        for number in range(20):
            tone = np.sin(2 * np.pi * (hertz + generator.normal()) * np.arange(8000) / 16_000)
            soundfile.write(root / name / f"{number}.wav", 0.5 * tone, 16_000)
    return str(root)
