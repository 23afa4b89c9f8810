"""The head is the authors', training stops by validation rows, and the generator is left alone."""

import numpy as np
import pytest
import torch
from torch import nn

from benchmark.probes import mlp, mlp_head
from benchmark.probes.rows import ProbeError, Rows


def made(clips: int) -> tuple[np.ndarray, np.ndarray]:
    """A ring around a disc: no straight line tells them apart."""
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 2, clips)
    angle, radius = draw.uniform(0, 2 * np.pi, clips), 1 + 2 * labels + draw.uniform(0, 1, clips)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1).astype(np.float32), labels


def test_the_head_is_the_authors() -> None:
    features, labels = made(40)
    head = next(mlp_head.train(Rows(features, labels, np.arange(40)), 3, 1e-3))
    kinds = [type(layer) for layer in head]
    assert kinds == [mlp_head.Standardise, nn.Linear, nn.BatchNorm1d, nn.ReLU, nn.Linear]
    assert head[1].weight.shape == (4096, 2)
    assert head[4].weight.shape == (3, 4096)


def test_it_learns_what_no_line_can(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlp_head, "HIDDEN", 256)
    features, labels = made(600)
    rows, valid = (Rows(features, labels, np.arange(a, a + 300)) for a in (0, 300))
    tuned = mlp.choose(rows, valid, 2)
    assert max(accuracy for _, accuracy in tuned.choice.curve) > 95
    found = mlp_head.classify(mlp.refit(rows, tuned, 2), valid)
    assert (found == valid.targets()).mean() > 0.95


def test_training_stops_after_patience_and_says_when_it_did_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    features, labels = made(40)
    rows = Rows(features, labels, np.arange(40))
    rounds = []
    # Accuracy is best in round 3; the loss falls until round 5.
    seen = [(20, 3.0), (30, 2.5), (50, 2.0), (40, 1.8), (45, 1.7), *[(50, 1.9)] * 300]

    def heads(*given: object, **options: object) -> object:
        rounds.append(0)
        while True:
            yield None

    def judge(head: object, valid: Rows) -> tuple[float, float]:
        rounds[-1] += 1
        return seen[rounds[-1] - 1]

    monkeypatch.setattr(mlp, "train", heads)
    monkeypatch.setattr(mlp, "judge", judge)
    tuned = mlp.choose(rows, rows, 3)
    assert rounds == [5 + mlp.PATIENCE] * len(mlp.RATES)
    assert tuned.rounds == 3
    assert tuned.choice.converged
    assert tuned.choice.curve == tuple((rate, 50) for rate in mlp.RATES)
    assert tuned.choice.value == min(mlp.RATES)
    monkeypatch.setattr(mlp, "MOST_ROUNDS", 5)
    assert not mlp.choose(rows, rows, 3).choice.converged


def test_refit_trains_as_many_rounds_as_were_chosen() -> None:
    features, labels = made(40)
    rows = Rows(features, labels, np.arange(40))
    heads = mlp_head.train(rows, 2, 1e-3)
    for _ in range(4):
        wanted = {name: value.clone() for name, value in next(heads).state_dict().items()}
    choice = mlp.Choice(1e-3, ((1e-3, 50.0),))
    found = mlp.refit(rows, mlp.Tuned(choice, 4), 2).state_dict()
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


def test_the_global_generator_is_left_alone() -> None:
    features, labels = made(40)
    before = torch.random.get_rng_state()
    next(mlp_head.train(Rows(features, labels, np.arange(40)), 2, 1e-3, seed=5))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("clips", [129, 257])
def test_no_batch_has_a_single_row(clips: int) -> None:
    features, labels = made(clips)
    head = next(mlp_head.train(Rows(features, labels, np.arange(clips)), 2, 1e-3))
    assert all(torch.isfinite(value).all() for value in head.state_dict().values())


def test_a_single_row_is_refused() -> None:
    features, labels = made(40)
    one, others = Rows(features, labels, np.arange(1)), Rows(features, labels, np.arange(1, 40))
    with pytest.raises(ProbeError, match="needs two"):
        mlp.choose(one, others, 2)
