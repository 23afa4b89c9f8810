"""torch.export programs run at any batch and length, in a process without our code."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from wavebyol_hear import __main__ as command
from wavebyol_hear import load_model
from wavebyol_hear.embed import Embedder
from wavebyol_hear.export.check import TOLERANCE, compare, synthetic_audio, torch_runner
from wavebyol_hear.export.to_program import program_runner
from wavebyol_hear.files.hear_module import load

pytestmark = pytest.mark.skipif(
    tuple(map(int, torch.__version__.split(".")[:2])) < (2, 13),
    reason="torch.export of older releases fixes or bounds the length",
)


@pytest.fixture(scope="module")
def model() -> Embedder:
    return load_model(preset="slim", precision="fp32")


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of one run of the command."""
    path = tmp_path_factory.mktemp("program") / "model.pt2"
    arguments = ["export", "--program", str(path), "--model", "wavebyol_hear?preset=slim"]
    assert command.main(arguments) == 0
    return path


def test_it_gives_the_numbers_of_torch_at_ten_lengths(model: Embedder, program: Path) -> None:
    run, texts = program_runner(program)
    assert texts["sample_rate"] == "16000"
    assert texts["weights"] == "float32"
    comparison = compare(torch_runner(model), run)
    assert comparison.difference < TOLERANCE
    assert comparison.cosine > 0.99999


def test_it_is_a_hear_module(model: Embedder, program: Path) -> None:
    loaded = load(f"wavebyol_hear.export.runtime:{program}")
    audio = synthetic_audio(2, 16_000)
    assert (loaded.sample_rate, loaded.size) == (16_000, model.scene_embedding_size)
    with torch.inference_mode():
        wanted = model(audio).numpy()
    np.testing.assert_allclose(loaded.scenes(audio.numpy()), wanted, atol=TOLERANCE)


@pytest.mark.slow
def test_it_runs_without_the_package(model: Embedder, program: Path, tmp_path: Path) -> None:
    result = tmp_path / "result.npy"
    code = (
        "import sys, numpy, torch\n"
        "sys.modules['wavebyol_hear'] = None\n"
        f"run = torch.export.load({str(program)!r}).module()\n"
        f"numpy.save({str(result)!r}, run(torch.sin(torch.arange(30000.) ** 1.5)[None]).numpy())\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    with torch.inference_mode():
        wanted = model(torch.sin(torch.arange(30000.0) ** 1.5)[None]).numpy()
    np.testing.assert_allclose(np.load(result), wanted, atol=TOLERANCE)
