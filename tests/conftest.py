"""Fixtures that every test may use: the real packs of sound, and one thread."""

import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

torch.set_num_threads(1)  # the networks of tests are too small for more

SHARED = Path(__file__).resolve().parents[2] / "shared"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of small real labelled sets, `../shared/data` beside the checkout."""
    folder = Path(os.environ.get("WAVEBYOL_SHARED", SHARED)) / "data"
    if not folder.is_dir():
        pytest.skip(f"real sound is absent: {folder} is no folder (set WAVEBYOL_SHARED)")
    return folder


@pytest.fixture(scope="session")
def shared_corpus() -> Path:
    """The folder of tar shards for pretraining, `../shared/corpus` beside the checkout."""
    folder = Path(os.environ.get("WAVEBYOL_SHARED", SHARED)) / "corpus"
    if not folder.is_dir():
        pytest.skip(f"the corpus is absent: {folder} is no folder (set WAVEBYOL_SHARED)")
    return folder


@pytest.fixture(scope="session")
def esc50_clips(shared_data: Path) -> torch.Tensor:
    """A second of fifty real clips of everyday sound, [50, 16000] at 16 kHz."""
    found = []
    with tarfile.open(shared_data / "esc50.tar") as archive:
        for member in archive:
            if member.name.endswith(".ogg") and len(found) < 50:
                wave, rate = soundfile.read(archive.extractfile(member), dtype="float32")
                assert rate == 16_000
                found.append(wave[:rate])
    return torch.from_numpy(np.stack(found))
