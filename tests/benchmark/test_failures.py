"""Reasons are kept from run to run until there is a result."""

from pathlib import Path

import pytest

from benchmark.results.failures import FILE, read_failures, write_failures
from benchmark.results.schema import ResultError, read_results
from tests.benchmark.made_results import made

BIRDS, CARS = ("birds", "good", "linear-1"), ("cars", "good", "mlp-1")


def test_reasons_add_up_and_go_when_there_is_a_result(tmp_path: Path) -> None:
    assert read_failures(tmp_path) == {}
    write_failures(tmp_path, {BIRDS: "absent"}, [])
    write_failures(tmp_path, {CARS: "broke"}, [made("birds", "good", 0.5, protocol="mlp-1")])
    assert read_failures(tmp_path) == {BIRDS: "absent", CARS: "broke"}
    write_failures(tmp_path, {CARS: "broke again"}, [made("birds", "good", 0.5)])
    assert read_failures(tmp_path) == {CARS: "broke again"}
    write_failures(tmp_path, {}, [made("cars", "good", 0.5, protocol="mlp-1")])
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_no_result(tmp_path: Path) -> None:
    write_failures(tmp_path, {BIRDS: "absent"}, [])
    with pytest.raises(ResultError, match="holds no result"):
        read_results(tmp_path)


@pytest.mark.parametrize("text", ["[1]", "{", '[{"task": "a"}]'])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ResultError, match=FILE):
        read_failures(tmp_path)
