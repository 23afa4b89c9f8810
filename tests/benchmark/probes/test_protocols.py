"""What every protocol keeps: no test row before the choice, chance at chance, the same heads."""

import sys
from typing import Any

import numpy as np
import pytest

from benchmark.data.split import Fold, make_folds
from benchmark.probes import protocols
from benchmark.probes.protocols import PROTOCOLS, Protocol
from benchmark.probes.rows import Examples, ProbeError
from benchmark.stats.metrics import score
from tests.benchmark.guarded import Guarded

# Fine-tuning reads sound, not embeddings: its own test guards its test clips.
HEADS = {name: protocol for name, protocol in PROTOCOLS.items() if name != "finetune"}
EVERY = pytest.mark.parametrize("protocol", HEADS.values(), ids=list(HEADS))


@pytest.fixture(autouse=True)
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hidden layer of 64 and less patience do for so few rows, and are much faster."""
    monkeypatch.setattr(protocols, "HIDDEN", 64)
    monkeypatch.setattr(protocols, "PATIENCE", 3)


def made(clips: int, *, seed: int = 0) -> tuple[np.ndarray, np.ndarray, list[Fold]]:
    """Classes that are apart, with features of very different scales."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 5, clips)
    features = draw.normal(size=(clips, 40)) + 1.5 * draw.normal(size=(5, 40))[labels]
    features = features * np.logspace(-2, 2, 40) + 10
    splits = np.array([f"fold{i % 3}" for i in range(clips)])
    folds = make_folds("folds", splits, np.arange(clips).astype(str))
    return features.astype(np.float32), labels, folds


@EVERY
def test_test_rows_are_not_read_before_every_choice_and_fit_is_made(
    protocol: Protocol, monkeypatch: pytest.MonkeyPatch
) -> None:
    features, labels, folds = made(200)
    guards: list[Any] = [Guarded(x, folds[0].test) for x in (features, labels)]
    module = sys.modules[protocol.evaluate.__module__]
    finish = module.predict_test

    def disarm(*args: object, **options: object) -> object:
        for guard in guards:
            guard.armed = False
        return finish(*args, **options)

    monkeypatch.setattr(module, "predict_test", disarm)
    # One fold: the training rows of another may be this one's test rows.
    guarded = protocol.evaluate(Examples(guards[0], guards[1], folds[:1], 5))
    assert not guards[0].armed
    plain = protocol.evaluate(Examples(features, labels, folds[:1], 5))
    assert np.array_equal(guarded.predicted, plain.predicted)


@EVERY
def test_a_leak_of_the_test_rows_into_training_is_caught(protocol: Protocol) -> None:
    features, labels, folds = made(200)
    fold = folds[0]
    leaking = Fold("leak", np.sort(np.append(fold.train, fold.test[0])), fold.valid, fold.test)
    guard: Any = Guarded(features, fold.test)
    with pytest.raises(AssertionError, match="before the choice"):
        protocol.evaluate(Examples(guard, labels, [leaking], 5))


@EVERY
def test_test_rows_change_neither_the_choice_nor_each_others_classes(protocol: Protocol) -> None:
    features, labels, folds = made(200)
    corrupted = features.copy()
    corrupted[folds[0].test[1:]] = 1e6
    actual, wanted = (
        protocol.evaluate(Examples(x, labels, folds[:1], 5)) for x in (corrupted, features)
    )
    assert actual.selections == wanted.selections
    assert actual.predicted[0] == wanted.predicted[0]


@EVERY
def test_classes_apart_are_told_apart_and_shuffled_labels_give_chance(protocol: Protocol) -> None:
    features, labels, folds = made(600)
    actual = protocol.evaluate(Examples(features, labels, folds, 5))
    assert actual.rows.tolist() == list(range(600))
    assert (actual.predicted == labels).mean() > 0.95
    shuffled = np.random.default_rng(1).permutation(labels)
    actual = protocol.evaluate(Examples(features, shuffled, folds, 5))
    accuracy = score(shuffled, actual.predicted, 5).overall["accuracy"]
    assert accuracy["low"] <= 20 <= accuracy["high"]


@EVERY
def test_the_heads_of_an_outcome_repeat_its_predictions(protocol: Protocol) -> None:
    features, labels, folds = made(200)
    actual = protocol.evaluate(Examples(features, labels, folds, 5))
    for index, fold in enumerate(folds):
        rows = fold.test[::-1]
        again = actual.predict(index, features[rows])
        assert np.array_equal(again, actual.predicted[np.searchsorted(actual.rows, rows)])
        assert actual.predict(index, features[:0]).shape == (0,)


@EVERY
def test_the_choice_is_the_best_of_its_curve(protocol: Protocol) -> None:
    features, labels, folds = made(200)
    for selection in protocol.evaluate(Examples(features, labels, folds, 5)).selections:
        curve = dict(selection.curve)
        assert len(curve) > 2
        assert curve[selection.value] == max(curve.values())


@EVERY
def test_the_seed_decides_all_that_is_random(protocol: Protocol) -> None:
    features, _, folds = made(200)
    labels = np.random.default_rng(1).integers(0, 5, 200)
    runs = [
        protocol.evaluate(Examples(features, labels, folds, 5), seed=seed) for seed in (0, 0, 1)
    ]
    assert np.array_equal(runs[0].predicted, runs[1].predicted)
    assert runs[0].selections == runs[1].selections
    assert np.array_equal(runs[0].predicted, runs[2].predicted) != protocol.random


@EVERY
@pytest.mark.parametrize(
    ("part", "message"), [("train", "no training rows"), ("valid", "no validation rows")]
)
def test_an_empty_part_is_named(protocol: Protocol, part: str, message: str) -> None:
    features, labels, folds = made(50)
    parts = {"train": folds[0].train, "valid": folds[0].valid} | {part: np.arange(0)}
    with pytest.raises(ProbeError, match=message):
        protocol.evaluate(Examples(features, labels, [Fold("a", **parts, test=folds[0].test)], 5))


@EVERY
def test_a_label_or_a_feature_out_of_range_is_named(protocol: Protocol) -> None:
    features, labels, folds = made(50)
    with pytest.raises(ProbeError, match="label 4 is not one of the 4"):
        protocol.evaluate(Examples(features, labels, folds, 4))
    features[folds[0].train[3], 7] = np.nan
    with pytest.raises(ProbeError, match="feature 7"):
        protocol.evaluate(Examples(features, labels, folds[:1], 5))


def test_versions_and_settings_are_each_protocols_own() -> None:
    assert [p.version for p in PROTOCOLS.values()] == [f"{name}-1" for name in PROTOCOLS]
    assert len({p.setting for p in HEADS.values()}) == len(HEADS)


@pytest.mark.parametrize("name", ["linear", "knn"])  # mlp: see test_mlp
@pytest.mark.parametrize("swapped", [False, True])
def test_the_last_fit_reads_training_and_validation_rows(name: str, swapped: bool) -> None:
    """A class that only validation rows or only training rows have is predicted."""
    generator = np.random.default_rng(0)
    labels = np.repeat([0, 1, 0, 1, 2, 2, 0, 1, 2], 20)
    features = generator.normal(size=(180, 8)) + 8 * np.eye(3, 8)[labels]
    train, valid = np.arange(40), np.arange(40, 120)
    if swapped:
        train, valid = valid, train
    fold = Fold("test", train, valid, np.arange(120, 180))
    result = PROTOCOLS[name].evaluate(Examples(features.astype(np.float32), labels, [fold], 3))
    assert result.rows.tolist() == fold.test.tolist()
    assert (result.predicted == labels[fold.test]).mean() > 0.95


@EVERY
def test_every_fold_is_what_it_is_alone(protocol: Protocol) -> None:
    """No fold reads another's rows or selection: each of several tests as it does by itself."""
    features, labels, folds = made(200)
    together = protocol.evaluate(Examples(features, labels, folds, 5))
    for i, fold in enumerate(folds):
        alone = protocol.evaluate(Examples(features, labels, [fold], 5))
        assert alone.selections[0].value == together.selections[i].value
        same = alone.predicted == together.predicted[np.searchsorted(together.rows, fold.test)]
        assert same.mean() > 0.98


@EVERY
def test_converged_is_said_of_every_part(protocol: Protocol) -> None:
    features, labels, folds = made(200)
    result = protocol.evaluate(Examples(features, labels, folds[:1], 5))
    assert result.converged == all(selection.converged for selection in result.selections)
