"""`wavebyol export`: what it refuses, and that nothing stands where the numbers differ."""

from pathlib import Path

import numpy as np
import pytest

import wavebyol_hear
from wavebyol_hear import __main__ as command
from wavebyol_hear import load_model
from wavebyol_hear.export.check import ExportError
from wavebyol_hear.export.command import Exported, deliver
from wavebyol_hear.export.runtime import ExportedModel
from wavebyol_hear.export.runtime import load_model as load_exported

SHIPPED = Path(wavebyol_hear.__file__).parent / "weights" / "slim.safetensors"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "nothing to write"),
        (["--program", "a.pt2", "--int8"], "--int8 is of ONNX files"),
        (["--onnx", "no/such/folder/a.onnx"], "there is no folder no/such/folder"),
        (["--onnx", __file__], "exists and is not called *.onnx"),
        (
            ["--program", "a.pt2", "--model", "baselines.log_mel"],
            "baselines.log_mel is not a model of",
        ),
        (["--program", "a.pt2", "--model", "wavebyol_hear:no.file"], "no.file"),
        (["--program", "a.pt2", "--model", "x", "--head", "y"], "drop --model"),
        (["--program", "a.pt2", "--head", str(SHIPPED)], "holds an encoder without a head"),
        (["--program", "a.pt2", "--model", "wavebyol_hear?precision=bf16"], "float32"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    arguments: list[str],
    reason: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert command.main(["export", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("wavebyol export: error: ")
    assert reason in error
    assert error.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_other_numbers_are_not_written(tmp_path: Path) -> None:
    model = load_model(preset="slim", precision="fp32")

    def runner(_: bytes) -> tuple[object, dict[str, str]]:
        return lambda audio: np.zeros((len(audio), model.scene_embedding_size), np.float32), {}

    with pytest.raises(ExportError, match=r"from torch, more than .*: nothing is written"):
        deliver(tmp_path / "a.onnx", b"zeros", Exported(model, classify=False), runner)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.pt2"
    path.write_bytes(b"no program")
    with pytest.raises(ExportError, match=r"a\.pt2 is not a file of `wavebyol export`"):
        ExportedModel(path)
    with pytest.raises(ExportError, match="no exported file"):
        load_exported()
