"""Embeddings in two dimensions, for the figures of a report."""

from typing import Any

import numpy as np

MOST_ROWS = 2000
DIGITS = 3


def embedding_map(embeddings: np.ndarray, labels: np.ndarray, *, seed: int = 0) -> dict[str, Any]:
    """Return the first two principal components of at most `MOST_ROWS` rows.

    Features are standardized by the rows drawn; the components are scaled so that the larger of
    all coordinates is 1, and signed so that the coordinate furthest from 0 is positive.

    Returns:
        `x`, `y` and `label` of each row drawn, and `explained`: the share of the variance, in
        percent, along x and along y.

    Shape:
        embeddings, possibly memory-mapped, `[n, D]`, labels `[n]`.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(len(embeddings))[:MOST_ROWS])
    features = np.asarray(embeddings[rows], dtype=np.float64)
    deviation = features.std(axis=0)
    features = (features - features.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    # The smaller of the two products of the matrix with itself has the same eigenvalues.
    wide = features.shape[1] > len(features)
    product = features @ features.T if wide else features.T @ features
    values, vectors = np.linalg.eigh(product)
    values = np.maximum(values[::-1], 0.0)
    axes = vectors[:, ::-1][:, :2]
    points = axes * np.sqrt(values[:2]) if wide else features @ axes
    # One row or one feature has a single component: the other is zero.
    points = np.pad(points, ((0, 0), (0, 2 - points.shape[1])))
    furthest = points[np.abs(points).argmax(axis=0), [0, 1]]
    points *= np.where(furthest < 0, -1.0, 1.0) / (np.abs(furthest).max() or 1.0)
    share = np.pad(100.0 * values[:2] / (values.sum() or 1.0), (0, max(0, 2 - len(values))))
    x, y = np.round(points.T, DIGITS).tolist()
    return {
        "x": x,
        "y": y,
        "label": np.asarray(labels[rows]).tolist(),
        "explained": np.round(share, 1).tolist(),
    }
