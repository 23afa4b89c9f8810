"""Our path to heareval's scores gives what its own two runners give, from 44.1 kHz on."""

import json
import shutil
from pathlib import Path

import pytest

from benchmark.embed.model import HearModel
from benchmark.evaluate import Settings
from benchmark.hear_jobs import HearSettings, measure_hear
from benchmark.hear_scores import read_scores
from benchmark.heareval import embedded as hear_embedded

pytestmark = pytest.mark.filterwarnings("ignore:.*UNTRAINED:UserWarning")


def test_scores_are_those_of_heareval_s_own_two_runners(
    embedded: dict[str, Path],
    exact: HearModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hear_embedded, "load", lambda spec, device: exact)
    tasks = tmp_path / "tasks"
    shutil.copytree(embedded["scene"].parents[2] / "tasks", tasks)
    shutil.rmtree(tasks / embedded["scene"].name / "16000")
    settings = Settings(tmp_path / "out", tmp_path, device="cpu", workers=0)
    hear = HearSettings(tmp_path, "faster", points=1, linear=True)
    found = measure_hear(["all"], ["wavebyol_hear"], settings, hear)
    assert found.missing == {}
    assert found.scores == read_scores(tmp_path / "out")
    ours = [score for score in found.scores if score.protocol.startswith("heareval")]
    assert len(ours) == 2
    for score in ours:
        kind = "event" if score.task.startswith("sound_events") else "scene"
        theirs = json.loads((embedded[kind] / "test.predicted-scores.json").read_text())
        assert score.protocol == "heareval-2021.1.3-faster-1-points"
        assert len(score.folds) == (1 if kind == "event" else 5)
        for fold, values in score.folds.items():
            for name, value in values.items():
                assert value == pytest.approx(theirs[fold][f"test_{name}"], abs=1e-3)
    again = measure_hear(["all"], ["wavebyol_hear"], settings, hear)
    for once, twice in zip(found.scores, again.scores, strict=True):
        assert twice.metrics == once.metrics
        assert twice.provenance["clips_embedded"] == 0
        kept = [score.provenance.get("heareval_seconds") for score in (once, twice)]
        assert kept[0] == kept[1]
    (frames,) = (score for score in found.scores if score.protocol == "frames-1")
    assert frames.metrics["event_onset_200ms_fms"]["mean"] > 0.5
    (linear,) = found.results
    assert (linear.task, linear.protocol) == ("everyday_sounds-1.0.0-small", "linear-1")
    assert linear.n_clips == 60
    assert linear.metrics["accuracy"]["low"] > 100 / 6
