"""Settings: differences only, and every mistake one line with its file, its key and a remedy."""

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from wavebyol_hear.files.settings import SettingsError, check_range, load_settings, merge


@dataclass(frozen=True)
class Net:
    width: int = 8
    depth: int = 2

    def __post_init__(self) -> None:
        if self.width % self.depth:
            raise ValueError(f"a width of {self.width} cannot be cut in {self.depth}")


@dataclass(frozen=True)
class Optim:
    lr: float = 0.1
    betas: tuple[float, float] = (0.9, 0.99)
    rates: tuple[float, ...] = (0.1,)
    count: tuple[int, int] | None = (2, 5)
    name: Literal["adam", "sgd"] = "adam"
    nesterov: bool = False
    seconds: float | None = None

    def __post_init__(self) -> None:
        check_range(self, "lr", "seconds", above=0)
        check_range(self, "betas", minimum=0, maximum=1)


@dataclass(frozen=True)
class Settings:
    note: str = ""
    steps: int = 10
    net: Net = field(default_factory=Net)
    optim: Optim = field(default_factory=Optim)


PRESETS: dict[type, dict[str, Net]] = {Net: {"wide": Net(64, 4)}}


def load(text: str, folder: Path, *sets: str) -> Settings:
    path = folder / "my.yaml"
    path.write_text(text, encoding="utf-8")
    return load_settings(Settings(), path, sets=sets, presets=PRESETS)


def test_files_then_assignments_change_only_what_they_name(tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("steps: 5\noptim: {lr: 1e-3, betas: [0, 1]}\n")
    (tmp_path / "mine.yaml").write_text("optim: {lr: 1e-4}\nnet: wide\n")
    sets = ["net.depth=2", "optim.count=null", "optim.rates=3e-5", "steps=1e3"]
    files = tmp_path / "base.yaml", tmp_path / "mine.yaml"
    assert load_settings(Settings(), *files, sets=sets, presets=PRESETS) == Settings(
        steps=1000,
        net=Net(64, 2),
        optim=Optim(lr=1e-4, betas=(0.0, 1.0), count=None, rates=(3e-5,)),
    )


def test_nothing_named_changes_nothing(tmp_path: Path) -> None:
    assert load("", tmp_path) == load("{}", tmp_path) == load_settings(Settings()) == Settings()


def test_a_preset_may_be_changed(tmp_path: Path) -> None:
    assert load("net: {preset: wide, depth: 8}", tmp_path).net == Net(64, 8)
    assert load("net: {depth: 4}", tmp_path).net == Net(8, 4)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step: 3", "step is not a setting: the nearest is steps"),
        ("optim: {beta: 3}", "optim.beta is not a setting: the nearest is optim.betas"),
        ("1: 2", "1 is not a setting: the nearest is"),
        ("steps: many", "steps is 'many': it takes a whole number"),
        ("steps: 2.5", "steps is 2.5: it takes a whole number"),
        ("steps: true", "steps is True: it takes a whole number"),
        ("steps: null", "steps is None: it takes a whole number"),
        ("steps: [1]", "steps is [1]: it takes a whole number"),
        ("note: 3", "note is 3: it takes text"),
        ("optim: {lr: .inf}", "optim.lr is inf: it takes a number"),
        ("optim: {lr: .nan}", "optim.lr is nan: it takes a number"),
        ("optim: {lr: 0}", "optim.lr is 0.0: give more than 0"),
        ("optim: {seconds: -1}", "optim.seconds is -1.0: give more than 0"),
        ("optim: {betas: [0.5, 2]}", "optim.betas is (0.5, 2.0): give 0 to 1"),
        ("optim: {betas: [0.5]}", "optim.betas is [0.5]: it takes a list of 2 numbers"),
        ("optim: {betas: '12'}", "optim.betas is '12': it takes a list of 2 numbers"),
        ("optim: {betas: [a, b]}", "optim.betas is ['a', 'b']: it takes a list of 2 numbers"),
        ("optim: {count: [1, 2.5]}", "optim.count is [1, 2.5]: it takes a list of 2 whole numbers"),
        ("optim: {nesterov: 1}", "optim.nesterov is 1: it takes true or false"),
        ("optim: {name: lion}", "optim.name is 'lion': it is one of adam, sgd"),
        ("optim: {name: [adam]}", "optim.name is ['adam']: it is one of adam, sgd"),
        ("optim: 3", "optim is 3: it takes a mapping of settings"),
        ("net: 3", "net is 3: it takes a preset's name or a mapping"),
        ("net: narrow", "net: no preset 'narrow'; it is one of wide"),
        ("net: {preset: [1]}", "net: no preset [1]; it is one of wide"),
        ("net: {depth: 3}", "net: a width of 8 cannot be cut in 3"),
        ("- 1", "holds no mapping of settings"),
        ("a: [", "is not YAML: "),
        ("a: " + "[" * 100_000, "is not a YAML file of settings: nested too deep"),
        ("steps: 2024-13-45", "is not YAML: "),
    ],
)
def test_a_mistake_is_one_line_with_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load(text, tmp_path)
    assert str(caught.value).startswith(str(tmp_path / "my.yaml"))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("steps", "--set steps has no '='"),
        ("steps=[", "--set steps=[ is not YAML"),
        ("optim.lrr=1", "--set optim.lrr is not a setting: the nearest is optim.lr"),
        ("steps.x=1", "--set steps is {'x': 1}: it takes a whole number"),
    ],
)
def test_a_wrong_assignment_is_named(assignment: str, message: str) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(Settings(), sets=[assignment])
    assert str(caught.value).startswith(message)


def test_a_value_that_unfolds_without_end_is_shown_short(tmp_path: Path) -> None:
    bomb = "a0: &a0 [x, x]\n" + "".join(
        f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
    )
    with pytest.raises(SettingsError, match="a0 is not a setting"):
        load(bomb, tmp_path)
    nested = "".join(f"- &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 30))
    with pytest.raises(SettingsError) as caught:
        load("steps:\n- &a0 [x]\n" + nested, tmp_path)
    assert len(str(caught.value)) < 10_000


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"absent\.yaml is not a file"):
        load_settings(Settings(), tmp_path / "absent.yaml")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SettingsError, match="pipe is not a file"):
        load_settings(Settings(), tmp_path / "pipe")
    (tmp_path / "odd.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SettingsError, match=r"odd\.yaml is not YAML"):
        load_settings(Settings(), tmp_path / "odd.yaml")


def test_values_of_python_merge_as_those_of_yaml_do() -> None:
    assert merge(Settings(), {"optim": {"betas": (0, 0.5)}}).optim.betas == (0.0, 0.5)


def test_without_pyyaml_one_line_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['yaml'] = None\n"
        "from dataclasses import dataclass\n"
        "from wavebyol_hear.files.settings import load_settings, SettingsError\n"
        "@dataclass(frozen=True)\n"
        "class A:\n    b: int = 1\n"
        "assert load_settings(A()) == A()\n"
        "try:\n    load_settings(A(), sets=['b=2'])\n"
        "except SettingsError as error:\n    print(error)\n"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install pyyaml" in output.stdout
