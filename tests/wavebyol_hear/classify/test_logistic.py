"""Logistic regression against scikit-learn, and the choice of its penalty."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score
from sklearn.preprocessing import StandardScaler

from wavebyol_hear.classify.logistic import fit, score, select


def clouds(
    rows: int, width: int, classes: int, distance: float = 2.0
) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(0)
    labels = np.arange(rows) % classes
    centres = generator.normal(size=(classes, width)) * 2 / np.sqrt(width)
    values = centres[labels] + generator.normal(size=(rows, width))
    return (5 + 3 * values).astype(np.float32), np.eye(classes, dtype=bool)[labels]


@pytest.mark.parametrize(("rows", "width"), [(60, 200), (200, 30)])
@pytest.mark.parametrize("l2", [1.0, 0.01])
def test_it_finds_scikit_learns_solution(rows: int, width: int, l2: float) -> None:
    values, targets = clouds(rows, width, 4)
    (*_, solution) = fit(values, targets, [10.0, l2], multilabel=False)
    scaled = StandardScaler().fit_transform(values.astype(np.float64))
    other = LogisticRegression(C=1 / (l2 * rows), max_iter=5000, tol=1e-8)
    logits = other.fit(scaled, targets.argmax(1)).decision_function(scaled)
    mine = solution.logits(values)
    mine -= mine.mean(1, keepdims=True)  # softmax does not see a constant
    np.testing.assert_allclose(mine, logits - logits.mean(1, keepdims=True), atol=0.02)


def test_several_labels_are_judged_class_by_class() -> None:
    values, one = clouds(120, 20, 3)
    targets = one | np.roll(one, 1, axis=1) & (np.arange(120) % 2 == 0)[:, None]
    (solution,) = fit(values, targets, [0.1], multilabel=True)
    scaled = StandardScaler().fit_transform(values.astype(np.float64))
    for index in range(3):
        other = LogisticRegression(C=1 / (0.1 * 120), max_iter=5000, tol=1e-8)
        logits = other.fit(scaled, targets[:, index]).decision_function(scaled)
        np.testing.assert_allclose(solution.logits(values)[:, index], logits, atol=0.02)


def test_features_that_never_change_are_passed_over() -> None:
    values, targets = clouds(60, 10, 3)
    dead = np.concatenate([values, np.full((60, 2), 7.0, np.float32)], axis=1)
    (solution,) = fit(dead, targets, [0.1], multilabel=False)
    (without,) = fit(values, targets, [0.1], multilabel=False)
    assert (solution.weight[:, -2:] == 0).all()
    np.testing.assert_allclose(solution.logits(dead), without.logits(values), atol=1e-3)


def test_mean_average_precision_is_that_of_scikit_learn() -> None:
    generator = np.random.default_rng(1)
    targets, logits = generator.random((50, 4)) < 0.3, generator.normal(size=(50, 4))
    targets[:, 3] = False  # a class without clips is left out
    wanted = np.mean([average_precision_score(targets[:, k], logits[:, k]) for k in range(3)])
    assert score(logits, targets, multilabel=True) == pytest.approx(wanted)


def test_labels_without_meaning_score_at_chance() -> None:
    generator = np.random.default_rng(2)
    values = generator.normal(size=(200, 300)).astype(np.float32)
    targets = np.eye(4, dtype=bool)[generator.integers(4, size=200)]
    result = select(values, targets, [f"fold{i % 5}" for i in range(200)], fixed=False)
    assert 0.13 < result.score < 0.37
    assert result.l2 >= 1  # nothing is to be learned, so little is


def test_a_fixed_split_never_trains_on_its_test_part() -> None:
    values, targets = clouds(150, 20, 3)
    parts = np.array(["train", "valid", "test"])[np.arange(150) // 50]
    first = select(values, targets, parts.tolist(), fixed=True)
    shuffled = targets.copy()
    shuffled[parts == "test"] = np.roll(targets[parts == "test"], 1, axis=1)
    second = select(values, shuffled, parts.tolist(), fixed=True)
    np.testing.assert_array_equal(first.solution.weight, second.solution.weight)
    assert first.score > 0.6 > 0.3 > second.score
    assert first.of_folds == (first.score,)
