"""Metrics against scikit-learn, intervals against plain resampling of clips."""

import numpy as np
import pytest
from scipy.stats import binomtest
from sklearn import metrics as reference

from benchmark.stats.metrics import confusion_matrix, score


def made(clips: int = 400, classes: int = 7) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(3)
    labels = draw.integers(0, classes - 1, clips)  # the last class has no clip
    return labels, np.where(draw.random(clips) < 0.6, labels, draw.integers(1, classes, clips))


def test_values_equal_scikit_learn() -> None:
    labels, predicted = made()
    found = score(labels, predicted, 7)
    present = np.unique(labels)
    kind = {"labels": present, "zero_division": 0}
    wanted = reference.precision_recall_fscore_support(labels, predicted, **kind)[:3]
    for name, values in zip(("precision", "recall", "f1"), wanted, strict=True):
        assert found.overall[name].value == pytest.approx(100 * values.mean())
        for number, value in zip(present, values, strict=True):
            assert found.by_class[number][name].value == pytest.approx(100 * value)
    accuracy = reference.accuracy_score(labels, predicted)
    assert found.overall["accuracy"].value == pytest.approx(100 * accuracy)
    assert set(found.by_class) == set(present.tolist())
    matrix = reference.confusion_matrix(labels, predicted, labels=np.arange(7))
    assert np.array_equal(found.confusion, matrix)


def f1(true: np.ndarray, given: np.ndarray) -> float:
    """The harmonic mean of precision and recall: shared clips over the mean of both sizes."""
    return (true & given).sum() / (0.5 * (true.sum() + given.sum()))


def test_intervals_equal_those_of_resampled_clips() -> None:
    labels, predicted = made()
    found = score(labels, predicted, 7).overall
    draw = np.random.default_rng(0)
    drawn: dict[str, list[float]] = {"accuracy": [], "f1": []}
    for _ in range(1500):
        clips = draw.integers(0, len(labels), len(labels))
        some, guess = labels[clips], predicted[clips]
        drawn["accuracy"].append((some == guess).mean())
        drawn["f1"].append(np.mean([f1(some == c, guess == c) for c in np.unique(some)]))
    for name, values in drawn.items():
        low, high = 100 * np.percentile(values, [2.5, 97.5])
        # 1,500 resamples put a percentile within about half a point.
        assert found[name].low == pytest.approx(low, abs=0.8)
        assert found[name].high == pytest.approx(high, abs=0.8)


def test_the_interval_covers_the_truth_about_95_times_in_100() -> None:
    draw = np.random.default_rng(7)
    covered = 0
    for trial in range(200):
        labels = draw.integers(0, 3, 150)
        predicted = np.where(draw.random(150) < 0.7, labels, (labels + 1) % 3)
        accuracy = score(labels, predicted, 3, seed=trial).overall["accuracy"]
        covered += accuracy.low <= 70 <= accuracy.high
    assert 180 <= covered <= 199


def test_the_interval_covers_the_truth_where_clips_of_a_group_are_alike() -> None:
    draw, groups = np.random.default_rng(8), np.arange(240) // 6
    labels = np.zeros(240, dtype=int)
    covered, alone = 0, 0
    for trial in range(100):
        right = np.repeat(draw.random(40) < 0.7, 6)
        predicted = np.where(right, 0, 1)
        low, high = (score(labels, predicted, 2, g, seed=trial) for g in (groups, None))
        covered += low.overall["accuracy"].low <= 70 <= low.overall["accuracy"].high
        alone += high.overall["accuracy"].low <= 70 <= high.overall["accuracy"].high
    assert covered >= 86
    assert alone <= 80


@pytest.mark.parametrize(("each", "trials"), [(1, 30), (5, 6)])
def test_perfect_and_hopeless_predictions_have_the_exact_interval(each: int, trials: int) -> None:
    labels, groups = np.arange(30) // 10, np.arange(30) // each
    for predicted, right in ((labels, trials), ((labels + 1) % 3, 0)):
        found = score(labels, predicted, 3, groups)
        for of_class, count in ((False, trials), (True, trials // 3)):
            hits = count if right else 0
            low, high = binomtest(hits, count).proportion_ci(0.95, "exact")
            for interval in (found.by_class[1] if of_class else found.overall).values():
                assert interval.value == (100 if right else 0)
                assert interval.low == pytest.approx(100 * low)
                assert interval.high == pytest.approx(100 * high)


def test_the_same_seed_gives_the_same_intervals() -> None:
    labels, predicted = made()
    assert score(labels, predicted, 7).overall == score(labels, predicted, 7).overall


@pytest.mark.parametrize(
    ("labels", "predicted"), [([], []), ([0, 1], [0]), ([0, 3], [0, 1]), ([0, 1], [0, -1])]
)
def test_bad_arrays_are_refused(labels: list[int], predicted: list[int]) -> None:
    with pytest.raises(ValueError, match=r"need as many|outside the 3 classes"):
        confusion_matrix(np.array(labels, int), np.array(predicted, int), 3)
