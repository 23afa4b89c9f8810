"""heareval's runner in its own process: which Python, its arguments, and the files it leaves."""

import json
import sys
from pathlib import Path

import pytest

from benchmark.heareval import predict as module
from benchmark.heareval.predict import (
    FINISHED,
    PYTHON_VARIABLE,
    RUNNER,
    SCORES,
    VERSION,
    HearevalError,
    interpreter,
    predict,
    read_scores,
)

LEFT = {
    "fold00": {"test_loss": 3.0, "test_score": 0.5, "test_top1_acc": 0.5, "epoch": 3},
    "fold01": {"test_loss": 2.0, "test_score": 0.75, "test_top1_acc": 0.75, "epoch": 9},
    "aggregated_scores": {"test_score_mean": 0.625},
    "hparams": {"lr": 0.001},
    "postprocessing": [],
    "score_mode": "max",
}


def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """Let a shell script be the interpreter."""
    script = tmp_path / "python"
    script.write_text("\n".join(["#!/bin/sh", *lines]) + "\n")
    script.chmod(0o755)
    monkeypatch.setenv(PYTHON_VARIABLE, str(script))


def test_heareval_s_file_is_read(tmp_path: Path) -> None:
    (tmp_path / SCORES).write_text(json.dumps(LEFT))
    predicted = read_scores(tmp_path)
    assert predicted.folds == {"fold00": {"top1_acc": 0.5}, "fold01": {"top1_acc": 0.75}}
    assert predicted.hyperparameters == {"lr": 0.001}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "holds no scores"),
        ("{}", "holds no scores"),
        ('{"test": {"test_score": NaN, "test_mAP": null}}', "mAP of test is None, not a number"),
        ('{"test": {"test_score": 1, "test_mAP": "1"}}', "mAP of test is '1', not a number"),
    ],
)
def test_a_scores_file_without_numbers_is_an_error(
    tmp_path: Path, content: str, message: str
) -> None:
    (tmp_path / SCORES).write_text(content)
    with pytest.raises(HearevalError, match=message):
        read_scores(tmp_path)


def test_heareval_that_fails_is_one_line_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "broken"
    folder.mkdir()
    stand_in(tmp_path, monkeypatch, "echo $@", "echo 'ValueError: worst' >&2", "exit 3")
    with pytest.raises(HearevalError, match=r"on broken with status 3 \(ValueError: worst\)") as e:
        predict(folder, "fast", points=2)
    assert "\n" not in str(e.value)
    log = (folder / "heareval.log").read_text().splitlines()
    asked = f"{RUNNER} {VERSION} ./broken --grid fast --grid-points 2"
    assert log == [asked, "ValueError: worst"]


@pytest.mark.parametrize(("device", "visible"), [("cpu", ""), ("cuda:0", "unset")])
def test_another_grid_or_device_is_run_and_the_same_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: str, visible: str
) -> None:
    folder = tmp_path / "task"
    folder.mkdir()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    scores = json.dumps({"test": {"test_score": 0.5, "test_mAP": 0.5}})
    stand_in(
        *(tmp_path, monkeypatch, "cd $3", "echo $@ >> calls", f"echo '{scores}' > {SCORES}"),
        *("echo ${CUDA_VISIBLE_DEVICES-unset} > visible", f"touch {FINISHED}"),
    )
    for grid in ("fast", "fast", "faster", "fast"):
        assert predict(folder, grid, device=device).folds == {"test": {"mAP": 0.5}}
    calls = (folder / "calls").read_text().splitlines()
    assert [call.split()[4] for call in calls] == ["fast", "faster", "fast"]
    assert (folder / "visible").read_text().strip() == visible
    predict(folder, "fast", device="cuda" if device == "cpu" else "cpu")
    assert len((folder / "calls").read_text().splitlines()) == 4


def test_the_interpreter_is_the_variable_s_then_the_environment_s_then_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PYTHON_VARIABLE, "~/hear/python")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert interpreter() == f"{tmp_path}/hear/python"
    monkeypatch.delenv(PYTHON_VARIABLE)
    monkeypatch.setattr(module, "__file__", str(tmp_path / "benchmark" / "heareval" / "predict.py"))
    monkeypatch.setattr(module, "find_spec", lambda name: object())
    assert interpreter() == sys.executable
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with pytest.raises(HearevalError, match="make env-hear"):
        interpreter()
    beside = tmp_path / ".venv-hear" / "bin" / "python"
    beside.parent.mkdir(parents=True)
    beside.touch()
    assert interpreter() == str(beside)


def test_an_interpreter_that_is_not_there_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(PYTHON_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(HearevalError, match=r"cannot be run .*make env-hear"):
        predict(tmp_path, "fast")


def test_another_version_of_heareval_is_named_by_the_runner(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "task"
    folder.mkdir()
    monkeypatch.setenv(PYTHON_VARIABLE, sys.executable)
    monkeypatch.setattr(module, "VERSION", "1.0")
    with pytest.raises(HearevalError, match=r"wanted is 1\.0: run `make env-hear`"):
        predict(folder, "faster")
