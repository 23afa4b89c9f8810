"""The mutation script: what it changes, what it reports, and that the work tree stays as it is."""

from pathlib import Path

import pytest

from tools.mutate import main, mutants

CODE = '''
"""A text with 3 numbers."""


def clip(value: int = 0, *, high: int = 9) -> int:
    """Return at most 9."""
    if value > high or value is None:
        raise ValueError(f"{value + 1} is above {abs(high)}")
    total = 0
    total += abs(value) * 2
    return dict(total=total, flag=True)["total"]
'''


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "code.py").write_text("def double(x):\n    return x + x\n\n\nUNUSED = 1\n")
    (tmp_path / "pack" / "results").mkdir(parents=True)  # a package with the name of an output
    (tmp_path / "pack" / "results" / "six.py").write_text("SIX = 6\n")
    (tmp_path / "test_code.py").write_text(
        "from code import double\nfrom pack.results.six import SIX\n\n\n"
        "def test_it():\n    assert double(3) == SIX\n"
    )
    return tmp_path


def test_every_kind_of_change_is_made_and_messages_and_annotations_are_left() -> None:
    made = {mutant.what for mutant in mutants(CODE)}
    assert made == {
        "0 -> 1",
        "9 -> 10",
        "value > high or value is None -> value > high and value is None",
        "value > high -> value >= high",
        "value is None -> value is not None",
        "total += abs(value) * 2 -> pass",
        "abs(value) * 2 -> abs(value) / 2",
        "abs(value) -> value",
        "2 -> 3",
        "return dict(total=total, flag=True)['total'] -> return None",
        "total=total -> left out",
        "flag=True -> left out",
        "True -> False",
    }


def test_a_mutant_differs_in_one_place_of_its_line() -> None:
    plain = mutants("a = 1\nb = 1 < 2\n")
    assert [(m.line, m.what) for m in plain] == [
        (1, "1 -> 2"),
        (2, "1 < 2 -> 1 <= 2"),
        (2, "1 -> 2"),
        (2, "2 -> 3"),
    ]
    assert [m.source for m in plain] == [
        "a = 2\nb = 1 < 2",
        "a = 1\nb = 1 <= 2",
        "a = 1\nb = 2 < 2",
        "a = 1\nb = 1 < 3",
    ]


def test_survivors_and_the_score_are_printed_and_the_work_tree_is_not_touched(
    project: Path, capsys: pytest.CaptureFixture
) -> None:
    before = {path: path.read_text() for path in project.rglob("*.py")}
    file, root = str(project / "code.py"), str(project)
    assert main([file, "--tests", "test_code.py", "--root", root]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "code.py:5: 1 -> 2",
        "code.py: 2 of 3 mutants killed (67 %)",
    ]
    assert {path: path.read_text() for path in project.rglob("*.py")} == before


def test_a_sample_is_that_of_its_seed(project: Path, capsys: pytest.CaptureFixture) -> None:
    file, root = str(project / "code.py"), str(project)
    assert main([file, "--tests", "test_code.py", "--root", root, "--sample", "1"]) == 0
    assert "of 1 mutants killed" in capsys.readouterr().out


def test_tests_that_fail_anyway_and_files_outside_are_refused(
    project: Path, capsys: pytest.CaptureFixture
) -> None:
    file, root = str(project / "code.py"), str(project)
    (project / "test_code.py").write_text("def test_it():\n    assert False\n")
    assert main([file, "--tests", "test_code.py", "--root", root]) == 1
    assert "fail without a mutant" in capsys.readouterr().err
    with pytest.raises(SystemExit) as stop:
        main([__file__, "--tests", "test_code.py", "--root", root])
    assert stop.value.code == 2
