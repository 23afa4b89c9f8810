"""The choice sees validation rows only; chance stays chance; numbers repeat."""

import inspect
from typing import Any

import numpy as np
import pytest

from benchmark.data.split import Fold, make_folds
from benchmark.probes.protocols import evaluate_linear as evaluate
from benchmark.probes.protocols import select_c
from benchmark.probes.rows import Examples, Rows
from benchmark.stats.metrics import score
from tests.benchmark.guarded import Guarded


def made(clips: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[Fold]]:
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 5, clips)
    features = draw.normal(size=(clips, 40)) + draw.normal(size=(5, 40))[labels]
    splits = np.array([f"fold{i % 4}" for i in range(clips)])
    return (
        features.astype(np.float32),
        labels,
        make_folds("folds", splits, np.arange(clips).astype(str)),
    )


def test_no_parameter_of_the_choice_could_carry_test_data() -> None:
    assert list(inspect.signature(select_c).parameters) == [
        "train", "valid", "n_classes", "device",
    ]  # fmt: skip


def test_test_rows_are_not_read_before_every_choice_and_fit_is_made(monkeypatch) -> None:
    features, labels, folds = made(200)
    guard: Any = Guarded(features, folds[0].test)
    label_guard: Any = Guarded(labels, folds[0].test)
    from benchmark.probes import protocols

    def disarm(*args: Any, **options: Any) -> Any:
        fitted = fit(*args, **options)
        guard.armed = label_guard.armed = False
        return fitted

    fit = protocols.fit
    monkeypatch.setattr(protocols, "fit", disarm)
    guarded = evaluate(Examples(guard, label_guard, folds[:1], 5))
    assert not guard.armed
    plain = evaluate(Examples(features, labels, folds[:1], 5))
    assert np.array_equal(guarded.predicted, plain.predicted)


def test_the_guard_does_raise() -> None:
    features, labels, folds = made(200)
    guard: Any = Guarded(features, folds[0].test)
    leaked = Rows(guard, labels, folds[0].test)
    with pytest.raises(AssertionError, match="before the choice"):
        select_c([leaked], [leaked], 5)


def test_test_rows_do_not_change_the_choice() -> None:
    features, labels, folds = made(200)
    corrupted = features.copy()
    corrupted[folds[0].test] = 1e6
    actual, wanted = (
        evaluate(Examples(x, labels, folds[:1], 5)).selections for x in (corrupted, features)
    )
    assert actual == wanted


def test_the_choice_is_the_best_of_the_curve_and_a_tie_goes_to_the_stronger() -> None:
    features, labels, folds = made(200)
    for selection in evaluate(Examples(features, labels, folds, 5)).selections:
        best = max(accuracy for _, accuracy in selection.curve)
        assert selection.value == min(c for c, accuracy in selection.curve if accuracy == best)


def test_shuffled_labels_give_chance() -> None:
    features, labels, folds = made(800)
    true = evaluate(Examples(features, labels, folds, 5))
    assert (true.predicted == labels).mean() > 0.8
    shuffled = np.random.default_rng(1).permutation(labels)
    result = evaluate(Examples(features, shuffled, folds, 5))
    accuracy = score(shuffled, result.predicted, 5).overall["accuracy"]
    assert accuracy["low"] <= 20 <= accuracy["high"]


def test_the_same_numbers_twice() -> None:
    features, labels, folds = made(200)
    first, second = (evaluate(Examples(features, labels, folds, 5)) for _ in range(2))
    assert np.array_equal(first.predicted, second.predicted)
    assert first.selections == second.selections


def test_an_empty_validation_part_is_named() -> None:
    features, labels, folds = made(50)
    train, none = (Rows(features, labels, rows) for rows in (folds[0].train, np.arange(0)))
    with pytest.raises(ValueError, match="no validation rows"):
        select_c([train], [none], 5)
