"""A result survives the disk, and anything less than a whole result is refused."""

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest

from benchmark.results.schema import Result, ResultError, read_result, read_results, write_result

MAP: dict[str, Any] = {"x": [0.5, 0.1], "y": [0.5, 0.1], "label": [0, 1], "explained": [9.0, 1.0]}


def made(**changes: Any) -> Result:
    interval = {"value": 50.0, "low": 20.0, "high": 80.0}
    metrics = {name: interval for name in ("accuracy", "precision", "recall", "f1")}
    values: dict[str, Any] = {
        "task": "toy",
        "model": "some.module:/tmp/a b/weights--1.pt",
        "protocol": "linear-1",
        "n_clips": 2,
        "n_listed": 3,
        "classes": ["cat", "dog"],
        "metrics": metrics,
        "by_class": {"cat": dict.fromkeys(("precision", "recall", "f1"), interval)},
        "fold_mean": {"accuracy": 50.0, "deviation": 0.0},
        "folds": [{"name": "fold1", "n_test": 2, "metrics": metrics}],
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
    assert path.name == "toy--some.module_tmp_a_b_weights_1.pt_882e1891--linear-1.json"
    assert read_result(path) == result
    assert read_results(tmp_path / "new") == [result]
    assert result.labels().tolist() == [0, 1]
    assert result.predicted().tolist() == [0, 0]


def test_long_model_names_get_short_and_different_files() -> None:
    first, second = (made(model=f"m:/{c}/{'x' * 300}.pt").file_name for c in "ab")
    assert first != second
    assert len(first) < 200


def test_names_that_read_alike_get_different_files() -> None:
    models = ["m:runs/slim-1.pt", "m:runs/slim_1.pt", "m_runs_slim_1.pt"]
    assert len({made(model=model).file_name for model in models}) == 3
    tasks = ["собаки", "кошки", "_", "a-b", "a--b", "a b"]
    assert len({made(task=task).file_name for task in tasks}) == 6


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
        ({"folds": None}, "folds is NoneType, not list"),
        ({"bad_clips": None}, "bad_clips is NoneType"),
        ({"folds": [{"name": "a"}]}, r"folds\[0\] lacks metrics"),
        ({"untrained": 0}, "untrained is int"),
        ({"notes": "x"}, "notes is str"),
        ({"provenance": {"cost": {"parameters": 1}}}, "cost lacks"),
        ({"provenance": {"clips_per_second": "7"}}, "clips_per_second is str"),
        ({"corrupted": {"noise:0": {}}}, "noise:0 lacks"),
        ({"seeds": [1]}, "seeds is list"),
        ({"predictions": {**made().predictions, "label": [0, 2]}}, "not a class number"),
        ({"predictions": {**made().predictions, "predicted": [0, None]}}, "not a class number"),
        ({"predictions": {**made().predictions, "predicted": [0, 0.5]}}, "not a class number"),
        ({"predictions": {**made().predictions, "clip": ["a", 1]}}, "a clip is not text"),
        ({"predictions": {**made().predictions, "group": [["a"], "b"]}}, "a group is not text"),
        ({"predictions": {**made().predictions, "predicted": [0, 1]}}, "but predictions have 100"),
        ({"by_class": {"cat": {}}}, "by_class.cat lacks f1, precision, recall"),
        ({"seeds": {"count": 2, "accuracy": {"mean": "x", "deviation": 0.0}}}, "mean is str"),
        ({"map": {**MAP, "explained": []}}, "the map's columns"),
        ({"map": {**MAP, "x": [0.5]}}, "the map's columns"),
        ({"map": {**MAP, "label": [0, 2]}}, "the map holds what is not a class number"),
        ({"n_listed": 10**400}, "n_listed is int too large, not int"),
        ({"fold_mean": {"accuracy": 10**400}}, "fold_mean.accuracy is int too large"),
        ({"metric": "mAP", "unit": "own"}, "metrics lack mAP"),
        ({"metrics": {}}, "metrics must be"),
        ({"predictions": {"clip": []}}, "predictions need"),
        ({"bad_clips": [{"x": "y"}]}, r"bad_clips\[0\] lacks clip, reason"),
        ({"metrics": {**made().metrics, "f1": {"value": 101, "low": 0, "high": 1}}}, "f1 is no"),
    ],
)
def test_contradictions_are_refused(tmp_path: Path, changes: dict, message: str) -> None:
    with pytest.raises(ResultError, match=message):
        write_result(made(**changes), tmp_path)


def test_a_result_of_other_labels_is_not_replaced(tmp_path: Path) -> None:
    """Of two runs at once, too, of which neither sees the other's result at its start."""
    one, other = (
        made(provenance={**made().provenance, "labels_file": f"/{name}/labels.csv"})
        for name in ("one", "other")
    )
    path = write_result(one, tmp_path)
    assert write_result(one, tmp_path) == path
    with pytest.raises(ResultError, match="is the result of other labels"):
        write_result(other, tmp_path)
    assert read_result(path) == one


def test_damaged_files_are_named(tmp_path: Path) -> None:
    path = write_result(made(), tmp_path)
    whole = json.loads(path.read_text())
    broken = {
        "is not a JSON": path.read_text()[:100],
        "is not a result": "[]",
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


def test_a_result_of_a_newer_schema_is_left_out_by_name(tmp_path: Path) -> None:
    good = write_result(made(), tmp_path)
    values = json.loads(good.read_text()) | {"schema": 3, "model": "other"}
    (tmp_path / "toy--other--linear-1.json").write_text(json.dumps(values))
    (tmp_path / "toy--deep--linear-1.json").write_text("[" * 100_000)
    bad: list[str] = []
    assert read_results(tmp_path, bad) == [made()]
    assert [line.partition(":")[0].rpartition("/")[2] for line in bad] == [
        "toy--deep--linear-1.json",
        "toy--other--linear-1.json",
    ]
    assert "has schema 3, newer than 2; update" in bad[1]
    with pytest.raises(ResultError):
        read_results(tmp_path)


def test_an_absent_file_and_an_empty_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="cannot be read"):
        read_results(tmp_path / "absent.json")
    with pytest.raises(ResultError, match="holds no result"):
        read_results(tmp_path)


def test_the_record_has_what_the_contract_asks_for() -> None:
    asked = {"task", "model", "protocol", "n_clips", "metrics", "folds", "provenance"}
    assert asked <= {field.name for field in dataclasses.fields(Result)}


def test_a_pipe_among_results_is_left_out_and_not_waited_for(tmp_path: Path) -> None:
    write_result(made(), tmp_path)
    os.mkfifo(tmp_path / "birds--pipe--linear-1.json")
    bad: list[str] = []
    assert len(read_results(tmp_path, bad)) == 1
    assert "not a regular file" in bad[0]
