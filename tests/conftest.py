"""Fixtures that every test may use: the real packs of sound, and one thread."""

import os
from pathlib import Path

import pytest
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
