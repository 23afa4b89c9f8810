"""The real heareval 2021.1.3, unmodified, from our module's embeddings to its scores file."""

import json
import pickle
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from scipy.optimize import linear_sum_assignment

import wavebyol_hear
from tests.hear.hear_tasks import RATE

pytestmark = pytest.mark.filterwarnings("ignore:.*UNTRAINED:UserWarning")


def scores(folder: Path) -> dict:
    return json.loads((folder / "test.predicted-scores.json").read_text())


def predictions(folder: Path, split: str) -> dict:
    return pickle.loads((folder / f"{split}.predictions.pkl").read_bytes())


def test_it_is_the_real_package() -> None:
    assert metadata.version("heareval") == "2021.1.3"


def test_scene_scores_are_the_accuracy_of_the_predictions_of_every_fold(
    embedded: dict[str, Path],
) -> None:
    result = scores(embedded["scene"])
    folds = [f"fold{number:02d}" for number in range(5)]
    for fold in folds:
        outcome = predictions(embedded["scene"], fold)
        assert outcome["target"].shape == (12, 6)
        hits = outcome["prediction"].argmax(1) == outcome["target"].argmax(1)
        assert result[fold]["test_score"] == pytest.approx(hits.float().mean().item(), abs=1e-6)
    mean = np.mean([result[fold]["test_score"] for fold in folds])
    assert result["aggregated_scores"]["test_score_mean"] == pytest.approx(mean, abs=1e-6)


def test_scene_embeddings_are_those_of_one_clip_alone(embedded: dict[str, Path]) -> None:
    model = wavebyol_hear.load_model(precision="fp32")
    stored = sorted((embedded["scene"] / "fold00").glob("*.embedding.npy"))
    assert len(stored) == 12
    tasks = embedded["scene"].parents[2] / "tasks"
    for path in stored[:3]:
        name = path.name.removesuffix(".embedding.npy")
        wave, _ = soundfile.read(
            tasks / embedded["scene"].name / str(RATE) / "fold00" / name, dtype="float32"
        )
        alone = wavebyol_hear.get_scene_embeddings(torch.from_numpy(wave)[None], model)
        np.testing.assert_allclose(np.load(path), alone[0].numpy(), atol=1e-5, rtol=1e-4)


def test_events_made_on_the_spot_are_found(embedded: dict[str, Path]) -> None:
    result = scores(embedded["event"])["test"]
    outcome = predictions(embedded["event"], "test")
    assert len(outcome["target_events"]) == 6
    assert sum(map(len, outcome["target_events"].values())) == 24
    for within_ms in (50, 200):
        ours = onset_f(outcome["target_events"], outcome["predicted_events"], within_ms)
        assert result[f"test_event_onset_{within_ms}ms_fms"] == pytest.approx(ours, abs=1e-6)
    assert result["test_event_onset_200ms_fms"] > 0.4


def onset_f(targets: dict, predicted: dict, within_ms: float) -> float:
    """F measure of onsets, each target matched by at most one event of its clip and label."""
    hits = 0
    for clip, events in targets.items():
        near = np.array(
            [
                [
                    event["label"] == other["label"]
                    and abs(event["start"] - other["start"]) <= within_ms
                    for other in predicted.get(clip, [])
                ]
                for event in events
            ]
        ).reshape(len(events), -1)
        hits += near[linear_sum_assignment(near, maximize=True)].sum()
    return 2 * hits / (sum(map(len, targets.values())) + sum(map(len, predicted.values())))
