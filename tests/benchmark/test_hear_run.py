"""`--tasks hear:...`: strangers' folders are named, the others are scored, the exit says so."""

import json
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from benchmark import run
from benchmark.heareval import heareval_format
from benchmark.heareval.predict import Predicted
from benchmark.probes.linear import C_GRID
from benchmark.results.schema import read_results


@pytest.fixture
def hear_dir(tmp_path: Path) -> Path:
    """A good task of nine clips at 48 kHz, and three that are broken in their own ways."""
    tasks = tmp_path / "hear" / "tasks"
    for name in ("good-1.0-full", "worse-1.0-full", "empty-1.0-full", "worst-1.0-full"):
        folder = tasks / name
        folder.mkdir(parents=True)
        splits = ["fold00", "fold01", "fold02"]
        metadata = {
            "task_name": "good",
            "embedding_type": "scene",
            "prediction_type": "multiclass",
            "split_mode": "presplit_kfold",
            "sample_duration": 0.25,
            "evaluation": ["top1_acc"],
            "splits": splits,
        }
        (folder / "task_metadata.json").write_text(json.dumps(metadata))
        (folder / "labelvocabulary.csv").write_text("idx,label\n0,0\n1,1\n2,2\n")
        for split in splits:
            clips = {f"{split}-{k}.wav": [k] for k in range(3)}
            (folder / f"{split}.json").write_text(json.dumps(clips))
            (folder / "48000" / split).mkdir(parents=True)
            for name in clips:
                noise = np.random.default_rng(3).uniform(-0.1, 0.1, 12000)
                soundfile.write(folder / "48000" / split / name, noise, 48000)
    (tasks / "worse-1.0-full" / "fold01.json").write_text('{"../../x.wav": [0]}')
    (tasks / "empty-1.0-full" / "48000" / "fold02" / "fold02-1.wav").unlink()
    (tasks / "worst-1.0-full" / "task_metadata.json").write_text("{")
    return tmp_path / "hear"


@pytest.fixture
def heareval(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """A stand-in for heareval's runner; the real one is in tests/hear."""
    folders = []

    def answer(folder: Path, grid: str, points: int, device: str) -> Predicted:
        folders.append(folder)
        scores = [{"top1_acc": k / 4, "d_prime": math.inf if k else 1.0} for k in range(3)]
        return Predicted({f"fold{k:02d}": one for k, one in enumerate(scores)}, {}, 1.0)

    monkeypatch.setattr(heareval_format, "predict", answer)
    return folders


def call(hear_dir: Path, tmp_path: Path, *more: str) -> int:
    shared = ["--hear-dir", str(hear_dir), "--data-dir", str(tmp_path / "data")]
    return run.main([*shared, "--out", str(tmp_path / "out"), "--workers", "0", *more])


def test_bad_folders_and_models_are_named_and_the_good_are_scored(
    hear_dir: Path,
    tmp_path: Path,
    heareval: list[Path],
    write_module: Callable[..., str],
    capsys: pytest.CaptureFixture,
) -> None:
    models = f"{write_module('tiny')},no.such.module"
    assert call(hear_dir, tmp_path, "--tasks", "hear:all,hear:esc50", "--models", models) == 1
    shown = capsys.readouterr()
    (score,) = read_results(tmp_path / "out")
    assert (score.task, score.model, score.metrics[score.metric]["value"]) == (
        "good-1.0-full",
        "tiny",
        0.25,
    )
    assert score.n_clips == 9
    assert score.provenance["encoder_calls"] > 0
    assert list(score.metrics) == ["top1_acc"]
    assert "good-1.0-full: d_prime is left out, because it is infinite or undefined" in score.notes
    assert "good-1.0-full (top1_acc)" in shown.out
    assert re.search(r"^tiny +0\.250\b", shown.out, re.MULTILINE)
    for part in (
        "'../../x.wav' is not a plain file name",
        "fold02-1.wav: no such file",
        "not valid JSON",
        "no task folder esc50-*-full",
        "no.such.module: cannot be imported",
    ):
        assert part in shown.err
    assert len(shown.err.strip().splitlines()) <= 10
    assert "0.250" in (tmp_path / "out" / "hear.md").read_text()


def test_a_second_run_takes_the_embeddings_and_other_weights_do_not(
    hear_dir: Path, tmp_path: Path, heareval: list[Path], write_module: Callable[..., str]
) -> None:
    name = write_module("tiny")
    (tmp_path / "twice").write_text("2.0")
    for model, embeds in ((name, True), (name, False), (f"{name}:{tmp_path / 'twice'}", True)):
        assert call(hear_dir, tmp_path, "--tasks", "hear:good", "--models", model) == 0
        results = {score.model: score for score in read_results(tmp_path / "out")}
        assert bool(results[model].provenance["encoder_calls"]) == embeds
    assert len(set(heareval)) == 2
    rows = [np.fromfile(folder / "fold00.embeddings.npy", np.float32) for folder in heareval]
    np.testing.assert_array_equal(rows[0], rows[1])
    np.testing.assert_allclose(rows[2], 2 * rows[0], rtol=1e-6)
    wave = np.random.default_rng(4).uniform(-0.1, 0.1, 4000)
    changed = hear_dir / "tasks" / "good-1.0-full" / "48000" / "fold00" / "fold00-0.wav"
    soundfile.write(changed, wave, 48000)
    assert call(hear_dir, tmp_path, "--tasks", "hear:good", "--models", name) == 0
    (score,) = (score for score in read_results(tmp_path / "out") if score.model == name)
    assert score.provenance["encoder_calls"] > 0
    assert len(set(heareval)) == 3


def test_clips_of_several_labels_are_scored_by_our_own_probe_too(
    hear_dir: Path,
    tmp_path: Path,
    heareval: list[Path],
    write_module: Callable[..., str],
    capsys: pytest.CaptureFixture,
) -> None:
    folder = hear_dir / "tasks" / "good-1.0-full"
    metadata = json.loads((folder / "task_metadata.json").read_text())
    metadata |= {"prediction_type": "multilabel", "evaluation": ["top1_acc", "mAP", "d_prime"]}
    (folder / "task_metadata.json").write_text(json.dumps(metadata))
    for split in metadata["splits"]:
        clips = {f"{split}-{k}.wav": [[0], [1, 0], []][k] for k in range(3)}
        (folder / f"{split}.json").write_text(json.dumps(clips))
    asked = ["--tasks", "hear:good", "--models", write_module("tiny"), "--hear-linear"]
    assert call(hear_dir, tmp_path, *asked) == 0
    results = {score.protocol: score for score in read_results(tmp_path / "out")}
    score = results.pop("multilabel-2")
    assert len(results) == 1
    assert [fold["name"] for fold in score.folds] == ["fold00", "fold01", "fold02"]
    assert {fold["strength"] for fold in score.folds} <= set(C_GRID)
    assert set(score.metrics) == {"top1_acc", "mAP"}
    assert any("d_prime is left out" in note for note in score.notes)
    for name, values in score.metrics.items():
        mean = sum(fold["metrics"][name]["value"] for fold in score.folds) / 3
        assert values["value"] == pytest.approx(mean)
        assert values["low"] <= values["value"] <= values["high"]
    assert "Protocol multilabel-2: first measure of each task" in capsys.readouterr().out


def test_without_any_tasks_the_folder_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    asked = ["--tasks", "hear:all", "--models", "baselines.log_mel"]
    assert call(tmp_path / "nowhere", tmp_path, *asked) == 1
    assert f"{tmp_path / 'nowhere'}: no such folder" in capsys.readouterr().err


def test_the_list_names_the_19_tasks_and_what_is_there(
    hear_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (hear_dir / "tasks" / "good-1.0-full").rename(hear_dir / "tasks" / "esc50-v2.0.0-full")
    assert call(hear_dir, tmp_path, "--list") == 0
    shown = capsys.readouterr().out
    assert "hear:esc50: ESC-50; scene, multiclass, 5-fold, 2000 clips of 5.0 s, Accuracy" in shown
    assert "present: esc50-v2.0.0-full" in shown
    assert shown.count("hear:") >= 19
    assert "hear:maestro_5h: MAESTRO 5hr; event, multilabel, 5-fold, 185 clips" in shown
