"""One label against the rest: scikit-learn's optimum, chosen on validation rows alone."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import average_precision_score

from benchmark.data.split import Fold
from benchmark.heareval.multilabel import select_and_predict
from benchmark.probes import rows as rows_module
from benchmark.probes.linear import logistic_path
from benchmark.probes.rows import ProbeError, Rows, every_row

C_GRID = (1e-3, 1e-2, 1e-1, 1.0)
FOLD = Fold("test", np.arange(0, 300), np.arange(300, 400), np.arange(400, 600))


def made(seed: int = 0, width: int = 40, labels: int = 4) -> tuple[np.ndarray, np.ndarray]:
    """Correlated features of very different scales, and labels that hang on some of them."""
    random = np.random.default_rng(seed)
    mix = random.standard_normal((width, width)) * 10 ** random.uniform(-2, 1, width)
    features = (3 + random.standard_normal((600, width)) @ mix).astype(np.float32)
    standard = (features - features.mean(0)) / features.std(0)
    truth = standard @ random.standard_normal((width, labels)) / 3
    truth += 2 * random.standard_normal(truth.shape)
    return features, truth > np.quantile(truth, 0.8, axis=0)


def mean_precision(scores: np.ndarray, targets: np.ndarray) -> float:
    return float(average_precision_score(targets, scores, average="macro"))


def theirs(features: np.ndarray, targets: np.ndarray, rows: np.ndarray, c: float):
    """Probabilities of all clips by scikit-learn, trained on some of them."""
    mean, scale = features[rows].mean(0), features[rows].std(0)
    standard = (features - mean) / scale
    columns = []
    for label in range(targets.shape[1]):
        one = LogisticRegression(C=c, tol=1e-8, max_iter=10_000)
        columns.append(one.fit(standard[rows], targets[rows, label]).predict_proba(standard)[:, 1])
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("width", [40, 320])
def test_choice_and_probabilities_are_those_of_scikit_learn(width: int) -> None:
    features, targets = made(width=width)
    selection, actual = select_and_predict(features, targets, FOLD, mean_precision, c_grid=C_GRID)
    assert selection.converged
    tried = [c for c, _ in selection.curve]
    assert tried == list(C_GRID[: len(tried)])
    values = [
        mean_precision(theirs(features, targets, FOLD.train, c)[FOLD.valid], targets[FOLD.valid])
        for c in tried
    ]
    assert len(tried) == len(C_GRID) or values[-3] > values[-2] > values[-1]
    np.testing.assert_allclose([value for _, value in selection.curve], values, atol=0.002)
    assert values[C_GRID.index(selection.value)] > max(values) - 0.002
    expected = theirs(features, targets, FOLD.development, selection.value)[FOLD.test]
    np.testing.assert_allclose(actual, expected, atol=0.01)
    wanted = mean_precision(expected, targets[FOLD.test])
    assert mean_precision(actual, targets[FOLD.test]) == pytest.approx(wanted, abs=0.003)


def test_the_test_rows_have_no_say() -> None:
    features, targets = made()
    once, _ = select_and_predict(features, targets, FOLD, mean_precision, c_grid=C_GRID)
    changed, others = features.copy(), targets.copy()
    changed[FOLD.test], others[FOLD.test] = 7.0, False
    again, _ = select_and_predict(changed, others, FOLD, mean_precision, c_grid=C_GRID)
    assert again == once


@pytest.mark.parametrize("resident", [1 << 30, 0])
def test_a_memory_map_and_blocks_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, resident: int
) -> None:
    features, targets = made()
    once, whole = select_and_predict(features, targets, FOLD, mean_precision, c_grid=C_GRID)
    features.tofile(tmp_path / "rows")
    mapped = np.memmap(tmp_path / "rows", np.float32, "r", shape=features.shape)
    monkeypatch.setattr(rows_module, "BLOCK_BYTES", 4096)
    monkeypatch.setattr(rows_module, "STREAM_BYTES", 4096)
    monkeypatch.setitem(rows_module.RESIDENT_BYTES, "cpu", resident)
    again, parts = select_and_predict(mapped, targets, FOLD, mean_precision, c_grid=C_GRID)
    assert again.value == once.value
    np.testing.assert_allclose(parts, whole, atol=1e-3)


def test_a_start_from_other_rows_changes_the_speed_alone() -> None:
    features, targets = made()
    rows = Rows(features, np.zeros(600), FOLD.train)
    (first,) = logistic_path(rows, targets[FOLD.train], (0.1,))
    (other,) = logistic_path(every_row(features[300:]), targets[300:], (1.0,))
    (again,) = logistic_path(rows, targets[FOLD.train], (0.1,), start=other)
    cold, warm = (one.probabilities(every_row(features[400:])) for one in (first, again))
    np.testing.assert_allclose(cold, warm, atol=0.005)


def test_no_strength_is_tried_after_two_falls_in_a_row() -> None:
    features, targets = made()
    measured = iter([0.5, 0.4, 0.7, 0.6, 0.5, 0.9])
    c_grid = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
    actual, _ = select_and_predict(
        features, targets, FOLD, lambda *_: next(measured), c_grid=c_grid
    )
    assert actual.curve == tuple(zip(c_grid, (0.5, 0.4, 0.7, 0.6, 0.5), strict=False))
    assert actual.value == 1e-3


def test_a_label_that_no_training_clip_has_is_never_found() -> None:
    features, targets = made()
    targets[FOLD.development, 2] = False
    selection, actual = select_and_predict(
        features, targets, FOLD, lambda *_: 1.0, c_grid=(1e-3, 1.0)
    )
    assert selection.converged
    assert actual[:, 2].max() < 1 / len(FOLD.development)
    assert actual[:, 1].max() > 0.3


def test_what_cannot_be_chosen_on_is_named() -> None:
    features, targets = made()
    with pytest.raises(ProbeError, match="fold test: the measure to select by is nan"):
        select_and_predict(features, targets, FOLD, lambda scores, truth: float("nan"))
    none = Fold("test", FOLD.train, FOLD.valid[:0], FOLD.test)
    with pytest.raises(ProbeError, match="no validation rows"):
        select_and_predict(features, targets, none, mean_precision)


def test_the_last_fit_reads_training_and_validation_rows() -> None:
    """A label that validation rows alone have is predicted; one that test rows alone have, not."""
    features, targets = made(labels=3)
    targets[:, :2] = False
    targets[FOLD.valid[:50], 0] = targets[FOLD.test[:50], 0] = True
    features[targets[:, 0]] += 3 * features.std(0)
    targets[FOLD.test[50:100], 1] = True
    _, result = select_and_predict(features, targets, FOLD, lambda *_: 1.0, c_grid=(0.1,))
    assert result[:50, 0].min() > 0.9 > result[50:, 0].max()
    assert result[:, 1].max() < 0.01


def test_a_test_row_changes_no_other_rows_probabilities() -> None:
    features, targets = made()
    changed = features.copy()
    changed[FOLD.test[1:]] = 1e4
    first, second = (
        select_and_predict(x, targets, FOLD, mean_precision, c_grid=C_GRID)[1][0]
        for x in (features, changed)
    )
    np.testing.assert_allclose(first, second, atol=1e-6)
