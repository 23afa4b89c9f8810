"""`--protocol finetune` on the command line: a result like any other, resumed, and clear errors."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from benchmark import run
from benchmark.results.schema import read_results
from tests.synth import esc50_tree

TRAINABLE = """
def get_scene_embeddings(audio, model):
    with torch.set_grad_enabled(model.training and torch.is_grad_enabled()):
        rows = torch.stack([audio.mean(1), audio.std(1, correction=0), audio.abs().amax(1)], 1)
        return rows * model.scale
"""
QUICK = "{learning_rates: [1e-3, 1e-2], epochs: 2, crop_seconds: 0.05}"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    esc50_tree(tmp_path / "data" / "esc50")
    (tmp_path / "quick.yaml").write_text(QUICK)
    return tmp_path / "data"


def call(data: Path, models: str, *more: str) -> int:
    return run.main(
        [
            *("--tasks", "esc50", "--models", models, "--allow-partial", "--workers", "0"),
            *("--data-dir", str(data), "--out", str(data.parent / "out"), "--device", "cpu"),
            *("--protocol", "linear,finetune"),
            *("--finetune-config", str(data.parent / "quick.yaml"), *more),
        ]
    )


def test_the_result_holds_curves_settings_and_every_clip_once(
    data: Path, write_module: Callable[..., str]
) -> None:
    assert call(data, write_module("loudness", TRAINABLE), "--seeds", "2") == 0
    first, second = read_results(data.parent / "out")
    assert {first.protocol, second.protocol} == {"linear-1", "finetune-1"}
    result = first if first.protocol == "finetune-1" else second
    assert result.n_clips == len(set(result.predictions["clip"])) == 30
    assert len(result.folds) == 5
    for fold in result.folds:
        assert fold["learning_rate"] in (0, 1e-3, 1e-2)
        assert [each["learning_rate"] for each in fold["training"]] == [1e-3, 1e-2]
        for each in fold["training"]:
            assert [point["epoch"] for point in each["curve"]] == [0, 1, 2]
    assert result.provenance["settings"]["config"]["epochs"] == 2
    assert result.provenance["settings"]["crop_samples"] == 800
    assert result.provenance["seeds"]["protocol"] == [0, 1]
    states = (data / "embeddings" / "finetune").rglob("*.pt")
    assert sorted(path.stem for path in states) == sorted(
        2 * [fold["name"] for fold in result.folds]
    )


def test_the_second_call_trains_nothing_and_says_the_same(
    data: Path, write_module: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = write_module("loudness", TRAINABLE)
    call(data, name)
    path = data.parent / "out" / "esc50--loudness--finetune-1.json"
    before = json.loads(path.read_text())["predictions"]
    path.unlink()
    monkeypatch.setattr("benchmark.finetune.protocol.Trainer", None)
    assert call(data, name) == 0
    assert json.loads(path.read_text())["predictions"] == before


def test_a_module_without_gradients_leaves_the_other_protocols_their_results(
    data: Path,
    write_module: Callable[..., str],
    capsys: pytest.CaptureFixture,
) -> None:
    name = write_module(
        "stiff", TRAINABLE + "\nget_scene_embeddings = torch.no_grad()(get_scene_embeddings)"
    )
    assert call(data, name) == 1
    assert [result.protocol for result in read_results(data.parent / "out")] == ["linear-1"]
    assert "stiff: get_scene_embeddings gives no gradient" in capsys.readouterr().err


def test_a_wrong_configuration_is_an_error_of_the_command_line(
    data: Path, capsys: pytest.CaptureFixture
) -> None:
    (data.parent / "quick.yaml").write_text("epoch: 3")
    with pytest.raises(SystemExit) as stop:
        call(data, "baselines.log_mel")
    assert stop.value.code == 2
    assert "epoch is not a setting: the nearest is epochs" in capsys.readouterr().err
