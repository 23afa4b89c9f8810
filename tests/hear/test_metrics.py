"""Our metrics agree with sed_eval's and heareval's own."""

import numpy as np
import pytest
import sed_eval
import torch
from dcase_util.containers import MetaDataContainer
from heareval import score
from heareval.predictions.task_predictions import create_events_from_prediction

from benchmark.stats.events import Postprocessing, events_of, onset_f
from benchmark.stats.ranking import MEASURES
from tests.benchmark.stats.test_events import LABELS, drawn
from tests.benchmark.stats.test_ranking import made, once


def by_sed_eval(truth: dict, predicted: dict, within_ms: float) -> dict[str, float]:
    metrics = sed_eval.sound_event.EventBasedMetrics(
        list(LABELS), evaluate_onset=True, evaluate_offset=False, t_collar=within_ms / 1000
    )

    def container(events: dict, clip: str) -> MetaDataContainer:
        return MetaDataContainer(
            [
                {
                    "event_label": event["label"],
                    "event_onset": event["start"] / 1000,
                    "event_offset": event["end"] / 1000,
                    "file": clip,
                }
                for event in events.get(clip, [])
            ]
        )

    for clip in predicted:
        metrics.evaluate(container(truth, clip), container(predicted, clip))
    return metrics.results_overall_metrics()["f_measure"]


@pytest.mark.parametrize("within_ms", [50, 200])
@pytest.mark.parametrize("seed", range(6))
def test_onset_scores_are_sed_eval_s(seed: int, within_ms: float) -> None:
    random = np.random.default_rng(seed)
    truth, predicted = drawn(random, 4, 25), drawn(random, 4, 25)
    ours = onset_f(truth, predicted, within_ms)
    assert ours == pytest.approx(by_sed_eval(truth, predicted, within_ms)["f_measure"], abs=1e-9)
    assert ours > 0


@pytest.mark.parametrize("hop", [20.0, 40.0, 50.0])
@pytest.mark.parametrize("how", [Postprocessing(0, 0), Postprocessing(250, 125)])
def test_events_are_those_heareval_makes(hop: float, how: Postprocessing) -> None:
    random = np.random.default_rng(5)
    walk = np.cumsum(random.standard_normal((120, 3)), axis=0)
    probabilities = (1 / (1 + np.exp(-walk))).astype(np.float32)
    stamps = hop * np.arange(120) + 7
    theirs = create_events_from_prediction(
        {time: torch.from_numpy(row) for time, row in zip(stamps, probabilities, strict=True)},
        dict(enumerate(LABELS)),
        median_filter_ms=how.median_filter_ms,
        min_duration=how.min_duration,
    )
    ours = events_of(probabilities, stamps, LABELS, how)

    def key(event: dict) -> tuple:
        return event["start"], event["label"], event["end"]

    assert sorted(map(key, ours)) == sorted(map(key, theirs))
    assert len(ours) > 2


@pytest.mark.parametrize("grain", [0.0, 1.0])
@pytest.mark.parametrize("name", MEASURES)
def test_they_are_those_of_heareval(name: str, grain: float) -> None:
    for seed, clips in enumerate((20, 60, 300)):
        scores, targets = made(seed, clips, 5, grain)
        theirs = score.available_scores[name](label_to_idx={})(scores, targets.astype(np.float32))
        assert once(scores, targets)[name] == pytest.approx(theirs, abs=1e-6)


@pytest.mark.filterwarnings("ignore:No positive class found")
def test_a_label_that_no_clip_has_counts_as_in_heareval() -> None:
    scores, targets = made(0, 40, 3)
    targets[:, 1] = False
    result = once(scores, targets)
    theirs = score.available_scores["mAP"](label_to_idx={})(scores, targets.astype(np.float32))
    assert result["mAP"] == pytest.approx(theirs, abs=1e-6)
    assert np.isnan([result["aucroc"], result["d_prime"]]).all()
