"""The head is the authors', training stops by validation rows, and the generator is left alone."""

from itertools import islice

import numpy as np
import pytest
import torch
from torch import nn

from benchmark.data.split import Fold
from benchmark.probes import protocols as mlp
from benchmark.probes.rows import Examples, ProbeError, Rows, Selection, every_row


def made(clips: int) -> tuple[np.ndarray, np.ndarray]:
    """A ring around a disc: no straight line tells them apart."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 2, clips)
    angle, radius = draw.uniform(0, 2 * np.pi, clips), 1 + 2 * labels + draw.uniform(0, 1, clips)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).astype(np.float32), labels


def test_the_head_is_the_authors() -> None:
    features, labels = made(40)
    head = next(mlp.train_mlp(Rows(features, labels, np.arange(40)), 3, 1e-3))
    assert isinstance(head, nn.Sequential)
    kinds = [type(layer) for layer in head]
    assert kinds == [mlp.Standardize, nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    assert head[1].weight.shape == (4096, 2)
    assert head[4].weight.shape == (3, 4096)


def test_it_learns_what_no_line_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlp, "HIDDEN", 256)
    features, labels = made(600)
    rows, valid = (Rows(features, labels, np.arange(a, a + 300)) for a in (0, 300))
    selection, epochs = mlp.select_epochs(rows, valid, 2)
    assert max(accuracy for _, accuracy in selection.curve) > 95
    head = next(islice(mlp.train_mlp(rows, 2, selection.value), epochs - 1, None))
    assert mlp.validate(head, valid)[0] > 95


def test_training_stops_after_patience_and_says_when_it_did_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    features, labels = made(40)
    rows = Rows(features, labels, np.arange(40))
    iterations = []
    # Accuracy is best in round 3; the loss falls until round 5.
    seen = [(20, 3.0), (30, 2.5), (50, 2.0), (40, 1.8), (45, 1.7), *[(50, 1.9)] * 300]

    def heads(*args: object, **options: object) -> object:
        iterations.append(0)
        while True:
            yield None

    def judge(head: object, valid: Rows) -> tuple[float, float]:
        iterations[-1] += 1
        return seen[iterations[-1] - 1]

    monkeypatch.setattr(mlp, "train_mlp", heads)
    monkeypatch.setattr(mlp, "validate", judge)
    selection, epochs = mlp.select_epochs(rows, rows, 3)
    assert iterations == [5 + mlp.PATIENCE] * len(mlp.LEARNING_RATES)
    assert epochs == 3
    assert selection.converged
    assert selection.curve == tuple((rate, 50) for rate in mlp.LEARNING_RATES)
    assert selection.value == min(mlp.LEARNING_RATES)
    monkeypatch.setattr(mlp, "MAX_EPOCHS", 5)
    assert not mlp.select_epochs(rows, rows, 3)[0].converged


def test_the_last_fit_is_that_of_training_and_validation_rows_at_the_rate_and_epochs_selected(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    features, labels = made(60)
    fold = Fold("test", np.arange(20), np.arange(20, 40), np.arange(40, 60))
    selection = Selection(3e-4, ((3e-4, 50.0),))
    monkeypatch.setattr(mlp, "HIDDEN", 64)
    monkeypatch.setattr(mlp, "select_epochs", lambda *rows, **options: (selection, 4))
    result = mlp.evaluate_mlp(Examples(features, labels, [fold], 2), seed=3)
    heads = mlp.train_mlp(Rows(features, labels, np.arange(40)), 2, 3e-4, seed=3)
    expected = mlp.mlp_logits(next(islice(heads, 3, None)), every_row(features)).argmax(dim=1)
    assert result.predict(0, features).tolist() == expected.tolist()
    assert result.predicted.tolist() == expected[40:].tolist()


def test_the_global_generator_is_left_alone() -> None:
    features, labels = made(40)
    before = torch.random.get_rng_state()
    next(mlp.train_mlp(Rows(features, labels, np.arange(40)), 2, 1e-3, seed=5))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("clips", [129, 257])
def test_no_batch_has_a_single_row(clips: int) -> None:
    features, labels = made(clips)
    head = next(mlp.train_mlp(Rows(features, labels, np.arange(clips)), 2, 1e-3))
    assert all(torch.isfinite(value).all() for value in head.state_dict().values())


def test_a_single_row_is_refused() -> None:
    features, labels = made(40)
    one, others = Rows(features, labels, np.arange(1)), Rows(features, labels, np.arange(1, 40))
    with pytest.raises(ProbeError, match="needs two"):
        mlp.select_epochs(one, others, 2)
