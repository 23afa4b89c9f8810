"""The probe against scikit-learn, streamed against resident, and its limits."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from benchmark.probes.linear import fit
from benchmark.probes.rows import RESIDENT_BYTES, Rows


def made(
    clips: int, width: int, classes: int, *, apart: float = 0.5, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Correlated, rectified features of very different scales, as embeddings have."""
    draw = np.random.default_rng(seed)
    labels = draw.permutation(np.arange(clips) % classes)
    hidden = draw.normal(size=(clips, 32)) + apart * draw.normal(size=(classes, 32))[labels]
    features = np.maximum(hidden @ draw.normal(size=(32, width)) + 0.5, 0)
    features += 0.3 * draw.normal(size=features.shape)
    return (features * np.logspace(-3, 3, width) + 50).astype(np.float32), labels


def every(features: np.ndarray, labels: np.ndarray) -> Rows:
    return Rows(features, labels, np.arange(len(features)))


def reference(rows: Rows, c: float) -> tuple[StandardScaler, LogisticRegression]:
    """The optimum in float64: scikit-learn's float32 L-BFGS stops 0.2 points beside it."""
    features = rows.features[rows.index].astype(np.float64)
    scaler = StandardScaler().fit(features)
    model = LogisticRegression(C=c, tol=1e-9, max_iter=5000, solver="newton-cg")
    return scaler, model.fit(scaler.transform(features), rows.targets())


@pytest.mark.parametrize("width", [40, 500], ids=["more rows than features", "fewer rows"])
def test_weights_and_predictions_equal_scikit_learn(width: int) -> None:
    features, labels = made(900, width, 6)
    fold = np.arange(900) % 3
    folds = [Rows(features, labels, np.flatnonzero(fold != i)) for i in range(3)]
    c_grid = np.array([1e-4, 1e-2, 1.0])
    fitted = fit(folds, np.tile(c_grid, (3, 1)), 6)
    assert fitted.converged.all()
    result, wanted = np.zeros((3, 900), int), np.zeros((3, 900), int)
    for number, rows in enumerate(folds):
        test = np.flatnonzero(fold == number)
        result[:, test] = fitted.predict(number, Rows(features, labels, test))
        for column, c in enumerate(c_grid):
            scaler, model = reference(rows, c)
            tested = scaler.transform(features[test].astype(np.float64))
            wanted[column, test] = model.predict(tested)
            weight = fitted.weight[number, :, column].numpy().T
            assert np.abs(weight - model.coef_).max() <= 0.03 * np.abs(model.coef_).max()
    # 0.3 points of accuracy over the folds, and the very same class for nearly every clip.
    difference = (result == labels).mean(axis=1) - (wanted == labels).mean(axis=1)
    assert np.abs(difference).max() <= 0.003
    assert (result == wanted).mean() >= 0.99


@pytest.mark.parametrize("absent", [0, 3, 5])
def test_a_class_absent_from_folds_of_unequal_length_changes_nothing(absent: int) -> None:
    features, labels = made(240, 300, 6, apart=1.0)
    rows = np.flatnonzero(labels != absent)
    folds = [Rows(features, labels, part) for part in (rows, rows[:90], rows[60:])]
    c_grid = np.array([1e-3, 1e-1])
    together = fit(folds, np.tile(c_grid, (3, 1)), 6)
    for number, part in enumerate(folds):
        alone = fit([part], c_grid[None], 6)
        asked = Rows(features, labels, rows)
        assert (together.predict(number, asked) == alone.predict(0, asked)).mean() >= 0.99
        assert torch.allclose(together.weight[number], alone.weight[0], atol=1e-3)


def test_streamed_blocks_give_the_resident_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, labels = made(700, 60, 5)
    file = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, features.shape)
    file[:] = features
    order = np.random.default_rng(0).permutation(700)
    folds = [Rows(file, labels, np.sort(order[:400])), Rows(file, labels, np.sort(order[150:]))]
    c_grid = np.array([[1e-3, 1e-1], [1e-2, 1e-1]])
    held = fit(folds, c_grid, 5)
    monkeypatch.setitem(RESIDENT_BYTES, "cpu", 0)
    streamed = fit(folds, c_grid, 5)
    torch.testing.assert_close(held.weight, streamed.weight, rtol=0.01, atol=2e-3)
    test = every(features, labels)
    for number in range(2):
        assert (held.predict(number, test) == streamed.predict(number, test)).mean() > 0.998


@pytest.mark.parametrize("width", [30, 400], ids=["axes used again", "new axes"])
def test_a_start_elsewhere_ends_at_the_same_optimum(width: int) -> None:
    features, labels = made(300, width, 4)
    search = [Rows(features, labels, np.arange(a, a + 150)) for a in (0, 100)]
    final = [Rows(features, labels, np.arange(a, a + 200)) for a in (0, 100)]
    warm = fit(search, np.array([[1e-3, 0.1]] * 2), 4).at([1, 0])
    c_grid = np.array([[0.1], [1e-3]])
    started = fit(final, c_grid, 4, start=warm)
    fresh = fit(final, c_grid, 4)
    largest = fresh.weight.abs().amax(dim=(1, 2, 3), keepdim=True)
    assert ((started.weight - fresh.weight).abs() / largest).max() < 0.02
    test = every(features, labels)
    for fold in range(2):
        assert (started.predict(fold, test) == fresh.predict(fold, test)).mean() > 0.99


def test_a_fold_is_what_it_is_alone() -> None:
    features, labels = made(300, 30, 4)
    folds = [Rows(features, labels, np.arange(200)), Rows(features, labels, np.arange(50, 300))]
    together = fit(folds, np.array([[0.1], [0.01]]), 4)
    alone = fit(folds[1:], np.array([[0.01]]), 4)
    torch.testing.assert_close(together.weight[1], alone.weight[0], rtol=0.01, atol=1e-3)


def test_a_class_without_training_rows_is_never_predicted_and_changes_nothing() -> None:
    features, labels = made(200, 20, 4)
    c_grid = np.array([[0.1]])
    plain = fit([every(features, labels)], c_grid, 4)
    wider = fit([every(features, labels + 1)], c_grid, 6)
    wanted = plain.predict(0, every(features, labels))
    result = wider.predict(0, every(features, labels))
    assert np.array_equal(result, wanted + 1)


def test_constant_and_enormous_features_are_harmless() -> None:
    features, labels = made(200, 20, 4)
    wider = np.concatenate([features, np.full((200, 3), 1e6), features[:, :1] * 1e8], axis=1)
    fitted = fit([every(wider.astype(np.float32), labels)], np.array([[0.1]]), 4)
    assert torch.isfinite(fitted.weight).all()
    assert fitted.weight[0, 20:23].abs().max() < 1e-5


def test_the_same_numbers_twice() -> None:
    features, labels = made(300, 30, 4)
    first, second = (fit([every(features, labels)], np.array([[0.1, 1.0]]), 4) for _ in range(2))
    assert torch.equal(first.weight, second.weight)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": np.full(50, 7)}, "label 7"),
        ({"index": np.arange(0)}, "no training rows"),
        ({"features": np.full((50, 3), np.nan, np.float32)}, "NaN or infinite"),
    ],
)
def test_bad_input_is_named(change: dict, message: str) -> None:
    good = {"features": np.ones((50, 3), np.float32), "labels": np.arange(50) % 2}
    rows = Rows(**{**good, "index": np.arange(50), **change})
    with pytest.raises(ValueError, match=message):
        fit([rows], np.array([[1.0]]), 2)


def test_c_of_zero_is_refused() -> None:
    features, labels = made(50, 5, 2)
    with pytest.raises(ValueError, match="must be above 0"):
        fit([every(features, labels)], np.array([[0.0]]), 2)


@pytest.mark.parametrize("failing", [1, 2], ids=["float32 fails", "float64 fails, too"])
def test_axes_that_cannot_be_computed_change_nothing(
    failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torch's solver may give up where eigenvalues repeat, as they do of features that repeat."""
    features, labels = made(200, 20, 4)
    features = np.repeat(features, 3, axis=1)
    c = np.array([[0.1]])
    wanted = fit([every(features, labels)], c, 4)
    eigh, calls = torch.linalg.eigh, []

    def fails(matrix: torch.Tensor) -> object:
        calls.append(matrix.dtype)
        if len(calls) <= failing:
            raise torch.linalg.LinAlgError("failed to converge")
        return eigh(matrix)

    monkeypatch.setattr(torch.linalg, "eigh", fails)
    result = fit([every(features, labels)], c, 4)
    assert calls == [torch.float32, torch.float64]
    assert result.converged.all()
    torch.testing.assert_close(result.weight, wanted.weight, rtol=0.01, atol=1e-3)


@pytest.mark.parametrize("clips", [60, 400])
def test_features_that_are_all_alike_are_harmless(clips: int) -> None:
    """Every feature 64 times over, some constant: rank 2 of 192."""
    features, labels = made(clips, 2, 3, apart=3.0)
    features = np.concatenate([np.repeat(features, 64, 1), np.ones((clips, 64), np.float32)], 1)
    result = fit([every(features, labels)], np.array([[1e-2, 1.0]]), 3)
    assert torch.isfinite(result.weight).all()
    # Copies of one feature share its weight evenly.
    assert result.weight[0, :64].std(dim=0).max() < 0.02 * result.weight.abs().max()
