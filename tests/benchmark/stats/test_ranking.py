"""Measures of many labels: a weight is a clip that comes several times."""

import numpy as np
import pytest

from benchmark.stats.metrics import RESAMPLES
from benchmark.stats.ranking import MEASURES, bootstrap, interval, ranking


def made(seed: int, clips: int, labels: int, grain: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """Scores that tell something of the labels, rounded to `grain` so that some tie."""
    random = np.random.default_rng(seed)
    targets = random.random((clips, labels)) < 0.2
    targets[0], targets[1] = True, False
    scores = (random.standard_normal((clips, labels)) + targets).astype(np.float32)
    return (np.round(scores / grain) * grain if grain else scores), targets


def once(scores: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    values = ranking(scores, targets, np.ones((len(scores), 1), np.float32))
    return {name: float(value[0]) for name, value in values.items()}


def test_a_clip_of_weight_three_is_three_clips_and_of_weight_nought_none() -> None:
    scores, targets = made(4, 60, 4, grain=0.5)
    times = np.random.default_rng(5).integers(0, 4, (60, 3))
    times[0] = times[1] = 1
    together = ranking(scores, targets, times.astype(np.float32))
    for draw in range(3):
        rows = np.repeat(np.arange(60), times[:, draw])
        alone = once(scores[rows], targets[rows])
        for name in MEASURES:
            assert together[name][draw] == pytest.approx(alone[name], abs=1e-6)


def test_the_bootstrap_lies_about_the_value_as_wide_as_other_samples_do() -> None:
    drawn = bootstrap(*made(0, 300, 4), None, 0)
    others = [once(*made(seed, 300, 4)) for seed in range(1, 200)]
    for name in MEASURES:
        assert drawn[name].shape == (RESAMPLES,)
        spread = np.std([one[name] for one in others])
        assert 0.7 < drawn[name].std() / spread < 1.4


def test_clips_of_a_group_are_drawn_together() -> None:
    scores, targets = made(2, 120, 3)
    alone = bootstrap(scores, targets, None, 0)
    # Every clip three times over, under one name: no more independent observations.
    names = np.array([f"speaker{number:03d}" for number in range(120)])
    scores, targets, names = (np.repeat(one, 3, axis=0) for one in (scores, targets, names))
    together = bootstrap(scores, targets, names, 0)
    one_by_one = bootstrap(scores, targets, None, 0)
    for name in MEASURES:
        np.testing.assert_allclose(together[name], alone[name], rtol=1e-6)
        assert one_by_one[name].std() < 0.7 * alone[name].std()


def test_the_interval_of_rare_labels_holds_the_value_that_most_draws_exceed() -> None:
    random = np.random.default_rng(3)
    targets = random.random((600, 150)) < 0.01
    targets[0] = True
    scores = random.standard_normal(targets.shape) + 2 * targets
    value, drawn = once(scores, targets)["mAP"], bootstrap(scores, targets, None, 0)["mAP"]
    bounds = interval("mAP", value, drawn)
    assert bounds is not None
    low, high = bounds
    plain = np.percentile(drawn, [2.5, 97.5])
    assert (drawn > value).mean() > 0.9
    assert value - low == pytest.approx(high - value, rel=0.3)
    assert high - low == pytest.approx(plain[1] - plain[0])
    bounds = interval("mAP", 1.0, np.array([1.0, 0.9, np.nan]))
    assert bounds is not None
    assert bounds[1] == 1
    assert interval("d_prime", 1.0, np.array([np.inf])) is None


def test_perfect_scores_are_worth_1_and_shapes_must_agree() -> None:
    _, targets = made(1, 30, 3)
    result = once(targets.astype(float), targets)
    assert (result["mAP"], result["aucroc"], result["d_prime"]) == (1, 1, np.inf)
    with pytest.raises(ValueError, match=r"\(30, 2\) scores"):
        once(targets[:, :2].astype(float), targets)
