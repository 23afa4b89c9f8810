"""Every command that README.md shows exists: make's targets, and modules that python runs."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
OURS = ("wavebyol_hear", "pretrain", "benchmark")


def commands(text: str) -> list[str]:
    """The lines of a Markdown text's code blocks, broken ones joined, and its inline code."""
    fence = re.compile(r"^```[^\n]*\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)
    blocks = "\n".join(fence.findall(text)).replace("\\\n", " ").splitlines()
    inline = re.findall(r"`([^`]+)`", fence.sub("", text))
    return blocks + [" ".join(code.split()) for code in inline]


def targets(text: str) -> list[str]:
    """What the commands ask make for, their variables (NAME=value) left out."""
    calls = [re.split(r"[#;&|]", line)[0].split() for line in commands(text)]
    return [
        word
        for call in calls
        if "make" in call
        for word in call[call.index("make") + 1 :]
        if "=" not in word and not word.startswith("-")
    ]


def run_modules(text: str) -> list[str]:
    """The modules of ours that the commands run with `python -m`."""
    named = re.findall(r"python[\d.]* -m ([\w.]+)", "\n".join(commands(text)))
    return [name for name in named if name.split(".")[0] in OURS]


@pytest.fixture(scope="module")
def readme() -> str:
    if not README.is_file():
        pytest.skip("README.md is not written yet")
    return README.read_text(encoding="utf-8")


def test_make_has_every_target_of_the_readme(readme: str) -> None:
    asked = set(targets(readme))
    assert {"bench", "test"} <= asked
    database = subprocess.run(
        ["make", "--print-data-base", "--question", "--no-print-directory", "clean"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    assert asked <= set(re.findall(r"^([\w.-]+):", database, flags=re.MULTILINE))


def test_python_can_run_every_module_of_the_readme(readme: str) -> None:
    asked = set(run_modules(readme))
    assert asked
    for name in asked:
        path = ROOT.joinpath(*name.split("."))
        file = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
        assert file.is_file(), f"README.md runs {name}: {file} is absent"
        guarded = '__name__ == "__main__"' in file.read_text(encoding="utf-8")
        assert guarded or file.stem == "__main__", f"{file} runs nothing"


def test_commands_are_read_from_code_alone() -> None:
    block = "```bash\nmake one A=b # make hay\nCI=1 python -m benchmark.run \\\n  -x\n```\n"
    text = f"To make sense, `make two`, and `python -m\npretrain`.\n{block}"
    assert targets(text) == ["one", "two"]
    assert run_modules(text) == ["benchmark.run", "pretrain"]
