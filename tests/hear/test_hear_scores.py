"""Our path to heareval's scores gives what its own two runners give, from 44.1 kHz on."""

import json
import shutil
from pathlib import Path

import pytest

from benchmark import evaluate as evaluation
from benchmark.evaluate import Settings, evaluate
from benchmark.results.schema import read_results
from wavebyol_hear.files.hear_module import HearModel

pytestmark = pytest.mark.filterwarnings("ignore:.*UNTRAINED:UserWarning")


def test_scores_are_those_of_heareval_s_own_two_runners(
    embedded: dict[str, Path],
    exact: HearModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(evaluation, "load", lambda spec, device, precision: exact)
    tasks = tmp_path / "tasks"
    shutil.copytree(embedded["scene"].parents[2] / "tasks", tasks)
    shutil.rmtree(tasks / embedded["scene"].name / "16000")
    settings = Settings(
        tmp_path / "out",
        tmp_path,
        device="cpu",
        workers=0,
        hear_grid="faster",
        hear_points=1,
        hear_linear=True,
    )
    folders = sorted(tasks.iterdir())
    results, failures = evaluate(folders, ["wavebyol_hear"], settings)
    assert failures == {}
    by_key = {(result.task, result.protocol): result for result in results}
    assert by_key == {(r.task, r.protocol): r for r in read_results(tmp_path / "out")}
    ours = [result for result in results if result.protocol.startswith("heareval")]
    assert len(ours) == 2
    for result in ours:
        kind = "event" if result.task.startswith("sound_events") else "scene"
        theirs = json.loads((embedded[kind] / "test.predicted-scores.json").read_text())
        assert result.protocol == "heareval-2021.1.3-faster-1-points"
        assert len(result.folds) == (1 if kind == "event" else 5)
        for fold in result.folds:
            for name, point in fold["metrics"].items():
                wanted = theirs[fold["name"]][f"test_{name}"]
                assert point["value"] == pytest.approx(wanted, abs=1e-3)
    again, _ = evaluate(folders, ["wavebyol_hear"], settings)
    for once, twice in zip(results, again, strict=True):
        assert twice.metrics == once.metrics
        assert once.provenance["encoder_calls"] > 0
        assert twice.provenance["encoder_calls"] == 0
        if once in ours:  # heareval is not run again
            assert twice.provenance["probe_seconds"] == once.provenance["probe_seconds"]
    frames = by_key["sound_events-1.0.0-small", "frames-1"]
    assert frames.metrics["event_onset_200ms_fms"]["value"] > 0.5
    linear = by_key["everyday_sounds-1.0.0-small", "linear-1"]
    assert linear.n_clips == 60
    assert linear.metrics["accuracy"]["low"] > 100 / 6
