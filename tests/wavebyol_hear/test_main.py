"""The command `wavebyol`: its table, its help and how it fails."""

import subprocess
import sys
from pathlib import Path

import pytest

from wavebyol_hear import __main__ as command
from wavebyol_hear import __version__
from wavebyol_hear.files.extras import MissingExtraError, require

DOUBLE = """
def add_arguments(parser):
    parser.add_argument("number", type=int)
def run(args):
    if args.number == 13:
        from wavebyol_hear.files.atomic import LockedError
        raise LockedError("13 is\\nin use")
    if args.number == 0:
        open("/no/such/file")
    if args.number < 0:
        raise ValueError("a bug")
    print(2 * args.number)
    return args.number
"""


@pytest.fixture
def table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A command table of one made-up sub-command."""
    (tmp_path / "made_up_double.py").write_text(DOUBLE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(command, "COMMANDS", {"double": command.Command("made_up_double", "do 2x")})


@pytest.mark.usefixtures("table")
def test_a_command_gets_its_arguments_and_gives_the_status(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert command.main(["double", "21"]) == 21
    assert capsys.readouterr().out == "42\n"
    assert command.main([]) == 0
    assert "double     do 2x" in capsys.readouterr().out
    assert command.main(["--version"]) == 0
    assert capsys.readouterr().out == f"wavebyol {__version__}\n"
    with pytest.raises(SystemExit) as caught:
        command.main(["double", "--help"])
    assert caught.value.code == 0
    assert "usage: wavebyol double" in capsys.readouterr().out


@pytest.mark.usefixtures("table")
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["doublex", "1"], "wavebyol: error: no command 'doublex': did you mean double?"),
        (["xyz"], "wavebyol: error: no command 'xyz': there are double"),
        (["double", "x"], "wavebyol double: error: argument number: invalid int value: 'x'"),
        (["double", "13"], "wavebyol double: error: 13 is in use"),
        (["double", "0"], "wavebyol double: error: /no/such/file: No such file or directory"),
    ],
)
def test_what_fails_is_one_line_and_status_2(
    arguments: list[str], line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = command.main(arguments)
    except SystemExit as error:
        status = int(error.code or 0)
    assert status == 2
    assert capsys.readouterr().err.splitlines()[-1] == line


@pytest.mark.usefixtures("table")
def test_a_fault_of_ours_is_not_passed_off_as_a_message() -> None:
    with pytest.raises(ValueError, match="a bug"):
        command.main(["double", "-1"])


def test_the_help_waits_for_no_large_library() -> None:
    code = (
        "import sys; from wavebyol_hear.__main__ import main; main([]);"
        "print(sorted({'torch', 'numpy', 'pyarrow', 'soundfile'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_every_command_of_the_table_has_a_help(capsys: pytest.CaptureFixture[str]) -> None:
    for name in command.COMMANDS:
        with pytest.raises(SystemExit) as caught:
            command.main([name, "--help"])
        assert caught.value.code == 0
        assert f"usage: wavebyol {name}" in capsys.readouterr().out


def test_a_missing_extra_is_named() -> None:
    with pytest.raises(MissingExtraError) as caught:
        require("no_such_package.part", "files", "wavebyol embed")
    assert str(caught.value) == ("wavebyol embed needs no_such_package: pip install '.[files]'")
