"""Onset F at its ends, and frame-wise probabilities that agree with scikit-learn."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from benchmark.probes.linear import logistic_path
from benchmark.probes.rows import ProbeError, every_row
from benchmark.stats.events import onset_f

LABELS = ("a", "b", "c")


def drawn(random: np.random.Generator, clips: int, most: int) -> dict[str, list[dict]]:
    """Events on a grid of 10 ms, so that distances of exactly the tolerance occur."""
    events = {}
    for clip in range(clips):
        starts = 10 * random.integers(0, 200, random.integers(0, most + 1))
        events[f"{clip}.wav"] = [
            {"label": str(random.choice(LABELS)), "start": float(s), "end": float(s + 100)}
            for s in starts
        ]
    return events


def test_what_is_exact_scores_1_and_what_is_empty_0() -> None:
    truth = drawn(np.random.default_rng(9), 3, 9)
    assert onset_f(truth, truth, 50) == 1
    assert onset_f(truth, {clip: [] for clip in truth}, 50) == 0
    late = {
        clip: [event | {"start": event["start"] + 50.01} for event in events[:1]]
        for clip, events in truth.items()
    }
    first = {clip: events[:1] for clip, events in truth.items()}
    assert onset_f(first, late, 50) == 0
    assert onset_f(first, late, 51) == 1


@pytest.mark.parametrize("width", [20, 350])
def test_probabilities_are_scikit_learn_s(width: int) -> None:
    random = np.random.default_rng(0)
    mix = random.standard_normal((width, width)) * 10 ** random.uniform(-2, 1, width)
    features = (3 + random.standard_normal((400, width)) @ mix).astype(np.float32)
    truth = features[:, :20] @ random.standard_normal((20, 3)) / 20
    truth += random.standard_normal((400, 3))
    targets = truth > np.quantile(truth, 0.8, axis=0)
    strengths = (1e-3, 1e-1, 1.0)
    probes = list(logistic_path(every_row(features[:300]), targets[:300], strengths))
    assert all(probe.converged.all() for probe in probes)
    ours = np.stack([probe.probabilities(every_row(features[300:])) for probe in probes], axis=1)
    assert ours.shape == (100, 3, 3)
    mean, scale = features[:300].mean(0), features[:300].std(0)
    for index, strength in enumerate(strengths):
        for label in range(3):
            theirs = LogisticRegression(C=strength, tol=1e-8, max_iter=10_000)
            theirs.fit((features[:300] - mean) / scale, targets[:300, label])
            expected = theirs.predict_proba((features[300:] - mean) / scale)[:, 1]
            np.testing.assert_allclose(ours[:, index, label], expected, atol=0.01)


def test_a_label_without_examples_is_never_found_and_bad_input_is_named() -> None:
    features = np.random.default_rng(1).standard_normal((50, 4)).astype(np.float32)
    targets = np.zeros((50, 2), bool)
    targets[:20, 0] = True
    (probe,) = logistic_path(every_row(features), targets, (1.0,))
    result = probe.probabilities(every_row(features))
    assert result[:, 1].max() < 0.05
    assert result[:20, 0].mean() > result[20:, 0].mean()
    with pytest.raises(ProbeError, match="targets have shape"):
        list(logistic_path(every_row(features), targets[:9], (1.0,)))
    features[3, 2] = np.nan
    with pytest.raises(ProbeError, match="feature 2"):
        list(logistic_path(every_row(features), targets, (1.0,)))
