"""The map is scikit-learn's PCA of a seeded sample."""

import json

import numpy as np
import pytest
from sklearn.decomposition import PCA
from sklearn.preprocessing import StandardScaler

from benchmark.stats import embedding_map as module
from benchmark.stats.embedding_map import embedding_map


@pytest.mark.parametrize("shape", [(300, 20), (50, 200)], ids=["more rows", "fewer rows"])
def test_it_is_the_pca_of_standardised_rows(shape: tuple[int, int]) -> None:
    draw = np.random.default_rng(0)
    features = (draw.normal(size=(shape[0], 3)) * [5, 2, 1]) @ draw.normal(size=(3, shape[1]))
    features = (features + 0.1 * draw.normal(size=shape)).astype(np.float32)
    labels = np.arange(shape[0]) % 7
    result = embedding_map(features, labels)
    pca = PCA(2).fit(StandardScaler().fit_transform(features))
    wanted = pca.transform(StandardScaler().fit_transform(features))
    wanted *= np.sign(wanted[np.abs(wanted).argmax(axis=0), [0, 1]]) / np.abs(wanted).max()
    assert np.abs(np.stack([result["x"], result["y"]], 1) - wanted).max() < 2e-3
    assert result["label"] == labels.tolist()
    assert result["explained"] == pytest.approx(100 * pca.explained_variance_ratio_, abs=0.06)


def test_of_many_rows_a_seeded_sample_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MOST_ROWS", 50)
    features = np.random.default_rng(0).normal(size=(400, 5)).astype(np.float32)
    maps = [embedding_map(features, np.arange(400), seed=seed) for seed in (0, 0, 1)]
    assert len(maps[0]["x"]) == len(set(maps[0]["label"])) == 50
    assert maps[0] == maps[1]
    assert maps[0]["label"] != maps[2]["label"]


@pytest.mark.parametrize("shape", [(1, 5), (5, 1), (6, 3)])
def test_too_little_to_see_is_still_a_map(shape: tuple[int, int]) -> None:
    result = embedding_map(np.ones(shape, np.float32), np.zeros(shape[0], int))
    assert len(result["x"]) == len(result["y"]) == shape[0]
    assert set(result["x"] + result["y"]) == {0.0}
    json.dumps(result, allow_nan=False)
