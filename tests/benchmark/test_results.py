"""A result survives the disk, and anything less than a whole result is refused."""

import dataclasses
import json
from pathlib import Path

import pytest

from benchmark.results.schema import Result, ResultError, read_result, read_results, write_result


def made(**changes: object) -> Result:
    interval = {"value": 50.0, "low": 20.0, "high": 80.0}
    metrics = {name: interval for name in ("accuracy", "precision", "recall", "f1")}
    values = {
        "task": "toy",
        "model": "some.module:/tmp/a b/weights--1.pt",
        "protocol": "linear-1",
        "n_clips": 2,
        "n_listed": 3,
        "classes": ["cat", "dog"],
        "metrics": metrics,
        "by_class": {"cat": {"f1": interval}},
        "fold_mean": {"accuracy": 50.0, "deviation": 0.0},
        "folds": [{"name": "fold1", "n_test": 2}],
        "predictions": {"clip": ["a[1]", 'b "quoted"'], "label": [0, 1], "predicted": [0, 0]},
        "bad_clips": [{"clip": "c", "reason": "c.wav: is empty"}],
        "untrained": False,
        "partial": None,
        "notes": [],
        "provenance": {"git_revision": "unknown", "seeds": {"bootstrap": 0}},
    }
    return Result(**{**values, **changes})


def test_what_is_read_is_what_was_written(tmp_path: Path) -> None:
    result = made()
    path = write_result(result, tmp_path / "new")
    assert path.name == "toy--some.module_tmp_a_b_weights_1.pt--linear-1.json"
    assert read_result(path) == result
    assert read_results(tmp_path / "new") == [result]
    assert result.labels().tolist() == [0, 1]
    assert result.predicted().tolist() == [0, 0]


def test_long_model_names_get_short_and_different_files() -> None:
    first, second = (made(model=f"m:/{c}/{'x' * 300}.pt").file_name for c in "ab")
    assert first != second
    assert len(first) < 200


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = write_result(made(), tmp_path)
    before = path.read_text()
    with pytest.raises(ResultError, match="JSON compliant"):
        write_result(made(provenance={"seconds": float("nan")}), tmp_path)
    assert path.read_text() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"n_clips": 3}, "n_clips is 3"),
        ({"metrics": {}}, "metrics must be"),
        ({"predictions": {"clip": []}}, "predictions need"),
        ({"metrics": {**made().metrics, "f1": {"value": 101, "low": 0, "high": 1}}}, "f1 is no"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(ResultError, match=message):
        write_result(made(**changes), tmp_path)


def test_damaged_files_are_named(tmp_path: Path) -> None:
    path = write_result(made(), tmp_path)
    whole = json.loads(path.read_text())
    broken = {
        "is no JSON": path.read_text()[:100],
        "is no result": "[]",
        "holds NaN": path.read_text().replace("50.0", "NaN"),
        "lacks provenance": json.dumps({k: v for k, v in whole.items() if k != "provenance"}),
        "has unknown extra": json.dumps({**whole, "extra": 1}),
    }
    for message, text in broken.items():
        path.write_text(text)
        with pytest.raises(ResultError, match=message) as error:
            read_result(path)
        assert str(path) in str(error.value)


def test_a_file_from_before_a_field_was_added_is_read(tmp_path: Path) -> None:
    path = write_result(made(), tmp_path)
    values = json.loads(path.read_text())
    del values["seeds"]
    path.write_text(json.dumps(values))
    assert read_result(path) == made()


def test_an_absent_file_and_an_empty_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="cannot be read"):
        read_results(tmp_path / "absent.json")
    with pytest.raises(ResultError, match="holds no result"):
        read_results(tmp_path)


def test_the_record_has_what_the_contract_asks_for() -> None:
    asked = {"task", "model", "protocol", "n_clips", "metrics", "folds", "provenance"}
    assert asked <= {field.name for field in dataclasses.fields(Result)}
