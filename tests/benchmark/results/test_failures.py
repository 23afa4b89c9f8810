"""Reasons are kept from run to run until there is a result."""

import multiprocessing
from pathlib import Path

import pytest

from benchmark.results.failures import FILE, read_failures, write_failures
from benchmark.results.schema import ResultError, read_results

BIRDS, CARS = ("birds", "good", "linear-1"), ("cars", "good", "mlp-1")


def test_reasons_add_up_and_go_when_there_is_a_result(tmp_path: Path) -> None:
    assert read_failures(tmp_path) == {}
    write_failures(tmp_path, {BIRDS: "absent"}, [])
    write_failures(tmp_path, {CARS: "broke"}, [("birds", "good", "mlp-1")])
    assert read_failures(tmp_path) == {BIRDS: "absent", CARS: "broke"}
    write_failures(tmp_path, {CARS: "broke again"}, [BIRDS])
    assert read_failures(tmp_path) == {CARS: "broke again"}
    write_failures(tmp_path, {}, [CARS])
    assert read_failures(tmp_path) == {}
    assert not (tmp_path / FILE).exists()


def test_the_file_is_no_result(tmp_path: Path) -> None:
    write_failures(tmp_path, {BIRDS: "absent"}, [])
    with pytest.raises(ResultError, match="holds no result"):
        read_results(tmp_path)


@pytest.mark.parametrize("text", ["[1]", "{", '[{"task": "a"}]', '[{"task": 1}', "[" * 100_000])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ResultError, match=FILE):
        read_failures(tmp_path)


def test_a_damaged_file_is_replaced_by_the_next_reason(tmp_path: Path) -> None:
    (tmp_path / FILE).write_text("{")
    write_failures(tmp_path, {BIRDS: "absent"}, [])
    assert read_failures(tmp_path) == {BIRDS: "absent"}


def keep(folder: Path, model: str) -> None:
    for i in range(8):
        write_failures(folder, {(f"task{i}", model, "linear-1"): "why"}, [])


def test_two_runs_in_one_folder_lose_no_reason(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    runs = [context.Process(target=keep, args=(tmp_path, model)) for model in ("a", "b")]
    for run in runs:
        run.start()
    for run in runs:
        run.join(60)
        assert run.exitcode == 0
    assert len(read_failures(tmp_path)) == 16
