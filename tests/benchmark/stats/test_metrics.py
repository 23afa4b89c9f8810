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
    result = score(labels, predicted, 7)
    present = np.unique(labels)
    kind = {"labels": present, "zero_division": 0}
    wanted = reference.precision_recall_fscore_support(labels, predicted, **kind)[:3]
    for name, values in zip(("precision", "recall", "f1"), wanted, strict=True):
        assert result.overall[name]["value"] == pytest.approx(100 * values.mean())
        for number, value in zip(present, values, strict=True):
            assert result.by_class[number][name]["value"] == pytest.approx(100 * value)
    accuracy = reference.accuracy_score(labels, predicted)
    assert result.overall["accuracy"]["value"] == pytest.approx(100 * accuracy)
    assert set(result.by_class) == set(present.tolist())
    matrix = reference.confusion_matrix(labels, predicted, labels=np.arange(7))
    assert np.array_equal(confusion_matrix(labels, predicted, 7), matrix)


def f1(true: np.ndarray, guessed: np.ndarray) -> float:
    """The harmonic mean of precision and recall: shared clips over the mean of both sizes."""
    return (true & guessed).sum() / (0.5 * (true.sum() + guessed.sum()))


def test_intervals_equal_those_of_resampled_clips() -> None:
    labels, predicted = made()
    result = score(labels, predicted, 7).overall
    draw = np.random.default_rng(0)
    drawn: dict[str, list[float]] = {"accuracy": [], "f1": []}
    for _ in range(1500):
        clips = draw.integers(0, len(labels), len(labels))
        some, guess = labels[clips], predicted[clips]
        drawn["accuracy"].append(float((some == guess).mean()))
        drawn["f1"].append(float(np.mean([f1(some == c, guess == c) for c in np.unique(some)])))
    for name, values in drawn.items():
        low, high = 100 * np.percentile(values, [2.5, 97.5])
        # 1,500 resamples put a percentile within about half a point.
        assert result[name]["low"] == pytest.approx(low, abs=0.8)
        assert result[name]["high"] == pytest.approx(high, abs=0.8)


def test_the_interval_covers_the_truth_about_95_times_in_100() -> None:
    draw = np.random.default_rng(7)
    covered = 0
    for trial in range(200):
        labels = draw.integers(0, 3, 150)
        predicted = np.where(draw.random(150) < 0.7, labels, (labels + 1) % 3)
        accuracy = score(labels, predicted, 3, seed=trial).overall["accuracy"]
        covered += accuracy["low"] <= 70 <= accuracy["high"]
    assert 180 <= covered <= 199


def test_the_interval_covers_the_truth_where_clips_of_a_group_are_alike() -> None:
    draw, groups = np.random.default_rng(8), np.arange(240) // 6
    labels = np.zeros(240, dtype=int)
    covered, alone = 0, 0
    for trial in range(100):
        right = np.repeat(draw.random(40) < 0.7, 6)
        predicted = np.where(right, 0, 1)
        low, high = (score(labels, predicted, 2, g, seed=trial) for g in (groups, None))
        covered += low.overall["accuracy"]["low"] <= 70 <= low.overall["accuracy"]["high"]
        alone += high.overall["accuracy"]["low"] <= 70 <= high.overall["accuracy"]["high"]
    assert covered >= 86
    assert alone <= 80


def exact(hits: int, trials: int) -> tuple[float, float]:
    low, high = binomtest(hits, trials).proportion_ci(0.95, "exact")
    return 100 * low, 100 * high


def f1_of(share: float) -> float:
    """F1 in percent from the share, in percent, that is right of clips true or predicted."""
    return 100 * 2 * share / (100 + share)


@pytest.mark.parametrize(("each", "trials"), [(1, 30), (5, 6)])
def test_perfect_and_hopeless_predictions_have_the_exact_interval(each: int, trials: int) -> None:
    labels, groups = np.arange(30) // 10, np.arange(30) // each
    for predicted, right in ((labels, 1), ((labels + 1) % 3, 0)):
        result = score(labels, predicted, 3, groups)
        for metrics, count in ((result.overall, trials), (result.by_class[1], trials // 3)):
            for name, interval in metrics.items():
                either = count if right or metrics is result.overall else 2 * count
                low, high = (
                    exact(right * either, either) if name == "f1" else exact(right * count, count)
                )
                ends = (f1_of(low), f1_of(high)) if name == "f1" else (low, high)
                assert interval["value"] == 100 * right
                assert (interval["low"], interval["high"]) == pytest.approx(ends)


def test_exact_intervals_count_the_clips_that_each_metric_is_a_share_of() -> None:
    """Six of 30 clips are predicted as class 0, all rightly: 54.1 to 100, not 88.4 to 100."""
    labels = np.repeat([0, 1], 30)
    predicted = np.where(np.arange(60) < 6, 0, 1)
    first = score(labels, predicted, 2).by_class[0]
    assert (first["precision"]["low"], first["precision"]["high"]) == pytest.approx(exact(6, 6))
    assert first["precision"]["low"] == pytest.approx(54.1, abs=0.05)
    assert first["recall"]["low"] < 20 < first["recall"]["high"] < 50
    second = score(labels, predicted, 2).by_class[1]
    assert (second["recall"]["low"], second["recall"]["high"]) == pytest.approx(exact(30, 30))
    assert second["recall"]["low"] == pytest.approx(88.4, abs=0.05)
    never = score(labels, np.ones(60, int), 2).by_class[0]
    assert (never["precision"]["low"], never["precision"]["high"]) == (0, 100)
    assert (never["f1"]["value"], never["f1"]["low"]) == (0, 0)
    assert never["f1"]["high"] == pytest.approx(f1_of(exact(0, 30)[1]))


def test_one_group_says_nothing_about_others() -> None:
    result = score(np.array([0, 0, 1]), np.array([0, 1, 1]), 2, np.zeros(3)).overall["accuracy"]
    assert (result["low"], result["high"]) == (0, 100)


def test_the_interval_of_f1_lies_about_its_value_where_classes_are_rare() -> None:
    draw = np.random.default_rng(0)
    share = 1 / np.arange(1, 31)
    labels, other = (draw.choice(30, 300, p=share / share.sum()) for _ in range(2))
    predicted = np.where(draw.random(300) < 0.5, labels, other)
    for name in ("precision", "f1"):
        result = score(labels, predicted, 30).overall[name]
        assert result["high"] - result["value"] == pytest.approx(
            result["value"] - result["low"], rel=0.35
        )


@pytest.mark.slow
def test_macro_metrics_cover_the_truth_where_classes_are_rare() -> None:
    draw = np.random.default_rng(5)
    share = 1 / np.arange(1, 51) ** 0.5
    share /= share.sum()
    joint = share[:, None] * (0.8 * np.eye(50) + 0.2 * share)
    hits, guessed = np.diag(joint), joint.sum(axis=0)
    truth = {
        "precision": hits / guessed,
        "recall": hits / share,
        "f1": 2 * hits / (guessed + share),
    }
    covered = dict.fromkeys(truth, 0)
    for trial in range(200):
        labels, other = (draw.choice(50, 400, p=share) for _ in range(2))
        predicted = np.where(draw.random(400) < 0.8, labels, other)
        result = score(labels, predicted, 50, seed=trial).overall
        for name in truth:
            covered[name] += result[name]["low"] <= 100 * truth[name].mean() <= result[name]["high"]
    assert min(covered.values()) >= 180, covered


@pytest.mark.slow
@pytest.mark.parametrize("n_groups", [6, 8, 10])
def test_few_groups_cover_the_truth(n_groups: int) -> None:
    """Percentiles alone covered 84, 88 and 90 % of the time."""
    draw, covered = np.random.default_rng(1), 0
    groups = np.repeat(np.arange(n_groups), 40)
    for trial in range(400):
        right = draw.random(len(groups)) < draw.beta(3.5, 1.5, n_groups)[groups]
        result = score(np.zeros_like(groups), np.where(right, 0, 1), 2, groups, seed=trial)
        covered += result.overall["accuracy"]["low"] <= 70 <= result.overall["accuracy"]["high"]
    assert covered / 400 >= {6: 0.87, 8: 0.9, 10: 0.92}[n_groups]


def test_the_same_seed_gives_the_same_intervals() -> None:
    labels, predicted = made()
    assert score(labels, predicted, 7).overall == score(labels, predicted, 7).overall


@pytest.mark.parametrize(
    ("labels", "predicted"), [([], []), ([0, 1], [0]), ([0, 3], [0, 1]), ([0, 1], [0, -1])]
)
def test_bad_arrays_are_refused(labels: list[int], predicted: list[int]) -> None:
    with pytest.raises(ValueError, match=r"need as many|outside the 3 classes"):
        confusion_matrix(np.array(labels, int), np.array(predicted, int), 3)
