"""Folds cover every clip once, and nothing that belongs together is separated."""

import numpy as np
import pytest

from benchmark.data.clip import SplitPolicy, TaskDataError
from benchmark.data.split import make_folds


def test_every_clip_is_tested_once_and_the_next_fold_chooses() -> None:
    splits = np.array([f"fold{i}" for i in [10, 2, 1, 2, 10, 1, 3]])
    folds = make_folds("folds", splits, np.arange(7).astype(str))
    assert [fold.name for fold in folds] == ["fold1", "fold2", "fold3", "fold10"]
    assert np.array_equal(np.sort(np.concatenate([fold.test for fold in folds])), np.arange(7))
    for fold, chooser in zip(folds, ["fold2", "fold3", "fold10", "fold1"], strict=True):
        assert set(splits[fold.test]) == {fold.name}
        assert set(splits[fold.valid]) == {chooser}
        parts = [fold.train, fold.valid, fold.test]
        assert np.array_equal(np.sort(np.concatenate(parts)), np.arange(7))
        assert np.array_equal(fold.development, np.flatnonzero(splits != fold.name))


def test_a_fixed_split_is_taken_as_published() -> None:
    splits = np.array(["test", "train", "valid", "train"])
    (fold,) = make_folds("fixed", splits, np.arange(4).astype(str))
    assert [part.tolist() for part in (fold.train, fold.valid, fold.test)] == [[1, 3], [2], [0]]


@pytest.mark.parametrize(
    ("policy", "splits"),
    [("folds", ["fold1", "fold2", "fold3"]), ("fixed", ["train", "valid", "test"])],
)
def test_a_group_in_two_parts_is_refused(policy: SplitPolicy, splits: list[str]) -> None:
    groups = np.array(["anna", "ben", "anna"])
    with pytest.raises(TaskDataError, match="'anna'"):
        make_folds(policy, np.array(splits), groups)


@pytest.mark.parametrize(
    ("policy", "splits"),
    [("folds", ["fold1", "fold2"]), ("fixed", ["train", "test"]), ("fixed", ["fold1", "fold2"])],
)
def test_missing_parts_are_named(policy: SplitPolicy, splits: list[str]) -> None:
    with pytest.raises(TaskDataError, match="missing"):
        make_folds(policy, np.array(splits), np.array(["a", "b"]))
