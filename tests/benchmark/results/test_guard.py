"""One model's fault costs itself: a reason, a traceback in a file, and no state left behind."""

import asyncio
import os
from pathlib import Path

import pytest
import torch

from benchmark.results.failures import FILE, Guard, read_failures
from benchmark.results.schema import write_result
from tests.benchmark.made_results import made

KEY = ("birds", "some.module", "linear-1")


def raising(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    "error",
    [
        ValueError("bad\nnews"),
        SystemExit("no checkpoint"),
        SystemExit(0),
        asyncio.CancelledError("a task of the module"),
        torch.linalg.LinAlgError("x"),
    ],
)
def test_an_error_of_foreign_code_is_one_line_with_its_traceback_in_a_file(
    tmp_path: Path, error: BaseException
) -> None:
    guard = Guard(tmp_path / "out", (KeyError,))
    assert guard.attempt([KEY], raising, error) is None
    reason = guard.failures[KEY]
    assert reason.startswith(f"{type(error).__name__}: {' '.join(str(error).split())}")
    assert "\n" not in reason
    (path,) = (tmp_path / "out" / "tracebacks").iterdir()
    assert str(path) in reason
    assert "in raising" in path.read_text()
    assert read_failures(tmp_path / "out") == guard.failures  # as it arises


def test_an_expected_error_is_its_message_and_an_interrupt_passes(tmp_path: Path) -> None:
    guard = Guard(tmp_path, (ValueError,))
    guard.attempt([KEY, ("birds", "some.module", "knn-1")], raising, ValueError("put it there"))
    assert set(guard.failures.values()) == {"put it there"}
    assert len(guard.failures) == 2
    assert not (tmp_path / "tracebacks").exists()
    assert guard.attempt([KEY], raising, KeyboardInterrupt()) is None  # there is a reason already
    with pytest.raises(KeyboardInterrupt):
        Guard(tmp_path, ()).attempt([KEY], raising, KeyboardInterrupt())


def test_a_result_takes_back_the_reason_of_an_earlier_run(tmp_path: Path) -> None:
    Guard(tmp_path, ()).fail([KEY], "absent")
    guard = Guard(tmp_path, ())
    result = made(*KEY[:2], 0.5)
    assert guard.attempt([KEY], write_result, result, tmp_path)
    guard.add(result)
    assert guard.results == [result]
    assert read_failures(tmp_path) == {}


def test_reasons_that_cannot_be_written_cost_nothing_else(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / FILE).mkdir()
    guard = Guard(tmp_path, ())
    guard.fail([KEY], "absent")
    assert guard.failures == {KEY: "absent"}
    (line,) = capsys.readouterr().err.splitlines()
    assert "not kept" in line


def change_everything() -> int:
    torch.set_default_dtype(torch.float64)
    torch.set_grad_enabled(False)
    torch.use_deterministic_algorithms(True)
    torch.backends.cudnn.benchmark = True
    torch.set_float32_matmul_precision("medium")
    torch.set_default_device("meta")
    os.chdir("/")
    raise SystemExit


def test_what_foreign_code_changes_for_all_is_put_back(tmp_path: Path) -> None:
    def state() -> tuple[object, ...]:
        return (
            torch.get_default_dtype(),
            torch.is_grad_enabled(),
            torch.are_deterministic_algorithms_enabled(),
            torch.backends.cudnn.benchmark,
            torch.get_float32_matmul_precision(),
            torch.get_default_device(),
            Path.cwd(),
        )

    before = state()
    Guard(tmp_path, ()).attempt([KEY], change_everything)
    assert state() == before
