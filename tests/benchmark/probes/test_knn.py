"""Neighbours against scikit-learn's, and blocks of any size give the same."""

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from benchmark.probes import protocols as knn
from benchmark.probes.rows import Rows, every_row


def made(clips: int, width: int = 30) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 6, clips)
    features = draw.normal(size=(clips, width)) + 0.4 * draw.normal(size=(6, width))[labels]
    return (features * np.logspace(-2, 2, width) + 5).astype(np.float32), labels


@pytest.mark.parametrize("work_bytes", [1 << 26, 1 << 13], ids=["one block", "many blocks"])
def test_votes_equal_scikit_learn(monkeypatch: pytest.MonkeyPatch, work_bytes: int) -> None:
    monkeypatch.setattr(knn, "NEIGHBOR_BYTES", work_bytes)
    features, labels = made(600)
    train, rest = np.arange(400), features[400:]
    result = knn.Neighbors(Rows(features, labels, train), 6).predict(every_row(rest), knn.COUNTS)
    scaler = StandardScaler().fit(features[:400].astype(np.float64))
    for index, count in enumerate(knn.COUNTS):
        model = KNeighborsClassifier(count, metric="cosine", weights=lambda far: 2.0 - far)
        model.fit(scaler.transform(features[:400]), labels[:400])
        wanted = model.predict(scaler.transform(rest))
        assert (result[index] == wanted).mean() >= 0.995


def test_of_fewer_rows_than_neighbours_all_vote() -> None:
    features, labels = made(12)
    few = knn.Neighbors(Rows(features, labels, np.arange(5)), 6)
    result = few.predict(every_row(features), [5, 100])
    assert np.array_equal(result[0], result[1])


def test_a_tie_of_counts_goes_to_the_larger() -> None:
    features, labels = made(300)
    selection = knn.select_count(
        Rows(features, labels, np.arange(200)), Rows(features, labels, np.arange(200, 300)), 6
    )
    best = max(accuracy for _, accuracy in selection.curve)
    assert selection.value == max(count for count, accuracy in selection.curve if accuracy == best)


def test_rows_are_read_from_a_memory_map(tmp_path) -> None:
    features, labels = made(300)
    file = np.lib.format.open_memmap(tmp_path / "x.npy", "w+", np.float32, features.shape)
    file[:] = features
    views = [Rows(x, labels, np.arange(0, 300, 2)) for x in (features, file)]
    one, other = (knn.Neighbors(view, 6).predict(every_row(features), [5]) for view in views)
    assert np.array_equal(one, other)
