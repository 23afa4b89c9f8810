"""Every command that the README and the docs show exists: make's targets, and modules to run."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
OTHERS = {"docs/leaderboard.csv"}  # in a clone of HEAR's repository
OURS = ("wavebyol_hear", "baselines", "pretrain", "benchmark", "tools", "tests")


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
def text() -> str:
    """All pages."""
    return "\n\n".join(page.read_text(encoding="utf-8") for page in PAGES)


def test_make_has_every_target_that_is_named(text: str) -> None:
    asked = set(targets(text))
    assert {"bench", "test"} <= asked
    database = subprocess.run(
        ["make", "--print-data-base", "--question", "--no-print-directory", "clean"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    ).stdout
    assert asked <= set(re.findall(r"^([\w.-]+):", database, flags=re.MULTILINE))


def test_python_can_run_every_module_that_is_named(text: str) -> None:
    asked = set(run_modules(text))
    assert asked
    for name in asked:
        path = ROOT.joinpath(*name.split("."))
        file = path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
        assert file.is_file(), f"the docs run {name}: {file} is absent"
        guarded = '__name__ == "__main__"' in file.read_text(encoding="utf-8")
        assert guarded or file.stem == "__main__", f"{file} runs nothing"


def test_links_to_files_of_the_repository_lead_somewhere() -> None:
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_files_that_pages_and_settings_name_are_there() -> None:
    name = re.compile(
        rf"(?<![\w./~-])(?:docs|{'|'.join(OURS)})/[\w./-]*\w\.(?:md|py|yaml|csv|sh)\b"
    )
    for page in [*PAGES, *ROOT.glob("*.md"), *(ROOT / "pretrain/configs").glob("*.yaml")]:
        named = set(name.findall(page.read_text(encoding="utf-8")))
        missing = {file for file in named - OTHERS if not (ROOT / file).exists()}
        assert not missing, f"{page.name} names files that are absent"


def test_the_readme_is_short() -> None:
    assert len(PAGES[0].read_text(encoding="utf-8").splitlines()) <= 120


def test_commands_are_read_from_code_alone() -> None:
    block = "```bash\nmake one A=b # make hay\nCI=1 python -m benchmark.run \\\n  -x\n```\n"
    text = f"To make sense, `make two`, and `python -m\npretrain`.\n{block}"
    assert targets(text) == ["one", "two"]
    assert run_modules(text) == ["benchmark.run", "pretrain"]


def test_every_test_that_shows_a_promise_is_there() -> None:
    page = (ROOT / "docs" / "reliability.md").read_text(encoding="utf-8")
    named = re.findall(r"`(tests/[\w/]+\.py)((?:::\w+)*)`", page)
    assert len(named) > 20
    for path, parts in named:
        code = (ROOT / path).read_text(encoding="utf-8")
        for part in filter(None, parts.split("::")):
            assert re.search(rf"(def|class) {part}\b", code), f"{path} has no {part}"
