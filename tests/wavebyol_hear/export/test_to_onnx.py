"""ONNX files give torch's numbers under onnxruntime; the command, and the file as a HEAR module.

Skipped where the packages of the extra `onnx` are not installed.
"""

from pathlib import Path

import numpy as np
import pytest
import torch

from wavebyol_hear import __main__ as command
from wavebyol_hear import load_model
from wavebyol_hear.embed import Embedder
from wavebyol_hear.export.check import TOLERANCE, compare, synthetic_audio, torch_runner

onnx = pytest.importorskip("onnx", reason="needs the extra onnx")
pytest.importorskip("onnxscript", reason="needs the extra onnx")
pytest.importorskip("onnxruntime", reason="needs the extra onnx")

from wavebyol_hear.export.to_onnx import OPSET, onnx_runner, with_int8_weights  # noqa: E402
from wavebyol_hear.files.hear_module import load  # noqa: E402


@pytest.fixture(scope="module")
def model() -> Embedder:
    return load_model(preset="slim", precision="fp32")


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of one run of the command."""
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    assert (
        command.main(["export", "--onnx", str(path), "--model", "wavebyol_hear?preset=slim"]) == 0
    )
    return path


def test_ten_lengths_agree_with_torch(model: Embedder, exported: Path) -> None:
    run, texts = onnx_runner(exported.read_bytes())
    assert compare(torch_runner(model), run).difference < TOLERANCE
    assert texts["sample_rate"] == "16000"
    assert texts["model"] == "wavebyol_hear?preset=slim"


def test_the_file_states_its_opset_and_shapes_and_nothing_of_this_machine(exported: Path) -> None:
    model = onnx.load(exported)
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", OPSET)]
    names = [
        [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in (*model.graph.input, *model.graph.output)
    ]
    assert names == [["batch", "samples"], ["batch", 4800]]
    onnx.checker.check_model(model, full_check=True)
    assert str(Path(__file__).parents[3]).encode() not in exported.read_bytes()


def test_eight_bits_take_a_quarter_and_stay_close(model: Embedder, exported: Path) -> None:
    data = with_int8_weights(onnx.load(exported)).SerializeToString()
    assert len(data) < 0.35 * exported.stat().st_size
    comparison = compare(torch_runner(model), onnx_runner(data)[0])
    assert comparison.cosine > 0.998
    assert comparison.difference > TOLERANCE  # so it says that it is not the same


def test_the_file_is_a_hear_module(model: Embedder, exported: Path) -> None:
    loaded = load(f"wavebyol_hear.export.runtime:{exported}")
    audio = synthetic_audio(2, 16_000)
    assert loaded.sample_rate == 16_000
    with torch.inference_mode():
        wanted = model(audio).numpy()
    np.testing.assert_allclose(loaded.scenes(audio.numpy()), wanted, atol=TOLERANCE)
