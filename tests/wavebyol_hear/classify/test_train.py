"""From labeled files to a saved classifier, and what bad input gets."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.wavebyol_hear.classify.conftest import CLASSES, sound
from wavebyol_hear import __main__ as command
from wavebyol_hear import load_model
from wavebyol_hear.audio import AudioError
from wavebyol_hear.classify.model import Classifier
from wavebyol_hear.embed import Embedder

MODEL = ("--model", "wavebyol_hear?preset=slim&pooling=global")


def write(root: Path, table: str, encoding: str = "utf-8") -> Path:
    for kind in CLASSES:
        for index in range(4):
            soundfile.write(root / f"{kind}{index}.wav", sound(kind, index), 16_000)
    path = root / "labels.csv"
    path.write_bytes(table.encode(encoding))
    return path


def rows(label: Callable[[str, int], str] = lambda kind, index: kind) -> list[str]:
    return [f"{kind}{i}.wav,{label(kind, i)}" for kind in CLASSES for i in range(4)]


def split(row: str) -> list[str]:
    return row.split(",")


@pytest.mark.parametrize(
    ("table", "encoding"),
    [
        ("\n".join(["path,label", *rows()]), "utf-8"),
        ("\r\n".join(["path;label", *(row.replace(",", ";") for row in rows())]), "utf-8-sig"),
        (
            "\n".join(["label,path", *(f'"{label}",{path}' for path, label in map(split, rows()))]),
            "utf-16",
        ),
    ],
)
def test_tables_of_all_sorts_are_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], table: str, encoding: str
) -> None:
    out = tmp_path / "mine"
    assert (
        command.main(["train", str(write(tmp_path, table, encoding)), "--out", str(out), *MODEL])
        == 0
    )
    printed = capsys.readouterr().out
    assert "12 clips, 3 classes; labels.csv has no split: 4 folds were drawn" in printed
    assert "cross-validated accuracy: 100.0 %" in printed
    model = load_model(str(out))
    assert isinstance(model, Classifier)
    assert model.classes == CLASSES
    assert next(iter(model.predict(sound("low", 77), 16_000))) == "low"


def test_a_fixed_split_is_scored_on_its_test_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = ("train", "train", "valid", "test")
    lines = [f"{row},{parts[i % 4]}" for i, row in enumerate(rows(lambda kind, _: str(len(kind))))]
    table = write(tmp_path, "\n".join(["path,label,split", *lines]))
    assert command.main(["train", str(table), "--out", str(tmp_path / "mine"), *MODEL]) == 0
    assert "accuracy on the 3 test clips: 100.0 %" in capsys.readouterr().out
    model = load_model(str(tmp_path / "mine"))
    assert isinstance(model, Classifier)
    assert model.classes == ("3", "4", "5")  # numbers are names


def test_several_labels_of_a_clip(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def both(kind: str, _: int) -> str:
        return "noise" if kind == "noise" else f"{kind};tone"

    table = write(tmp_path, "\n".join(["path,label", *rows(both)]))
    assert command.main(["train", str(table), "--out", str(tmp_path / "mine"), *MODEL]) == 0
    assert "cross-validated mean average precision: 100.0 %" in capsys.readouterr().out
    assert command.main(["predict", str(tmp_path / "mine"), str(tmp_path / "low1.wav")]) == 0
    assert ",low;tone," in capsys.readouterr().out


@pytest.mark.parametrize(
    ("table", "line"),
    [
        ("path,label\nlow0.wav,low\nnone.wav,low", "labels.csv, line 3: no file"),
        ("path,label\nlow0.wav,low\nlow0.wav,low", "labels.csv, line 3: low0.wav is listed before"),
        ("path,label\nlow0.wav,\nlow1.wav,low", "labels.csv, line 2: the label is ''"),
        ("path,label\nlow0.wav,a\nlow1.wav,b\nlow2.wav,b", "line 2: the class 'a' has one clip"),
        ("path,label\nlow0.wav,a\nlow1.wav,a", "the only class is 'a'"),
        ("file,name\nlow0.wav,a", "label"),
    ],
)
def test_bad_tables_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], table: str, line: str
) -> None:
    out = tmp_path / "mine"
    assert command.main(["train", str(write(tmp_path, table)), "--out", str(out), *MODEL]) == 2
    error = capsys.readouterr().err
    assert line in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_other_bad_arguments_are_one_line(
    folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "mine")
    for arguments, line in (
        ([str(folders), "--out", str(tmp_path)], "is a folder: name a file"),
        ([str(folders), "--out", str(tmp_path / "no" / "file")], "make it first"),
        ([str(folders), "--out", str(folders / "low" / "0.wav")], "exists and is not a classifier"),
        ([str(folders), "--out", out, "--model", "baselines.log_mel"], "is not an encoder of ours"),
        ([str(tmp_path / "absent.csv"), "--out", out], "absent.csv"),
        ([str(folders), "--out", out, "--seed", "-1"], "--seed is -1: give 0 or more"),
    ):
        kept = {path: path.read_bytes() for path in folders.rglob("*.wav")}
        assert command.main(["train", *arguments]) == 2
        error = capsys.readouterr().err
        assert line in error
        assert error.count("\n") == 1
        assert kept == {path: path.read_bytes() for path in kept}


def test_damaged_files_are_named_and_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The classifier is that of a table without them."""
    table, bad = write(tmp_path, "\n".join(["path,label", *rows()])), ("low2.wav", "high1.wav")
    for name in bad:
        (tmp_path / name).write_bytes(b"no sound")
    assert command.main(["train", str(table), "--out", str(tmp_path / "mine"), *MODEL]) == 1
    printed = capsys.readouterr()
    lines = [line for line in printed.err.splitlines() if line.startswith("left out: ")]
    assert {Path(line.split(": ")[1]).name for line in lines} == {*bad}
    assert "10 clips, 3 classes" in printed.out
    table.write_text("\n".join(["path,label", *(r for r in rows() if split(r)[0] not in bad)]))
    assert command.main(["train", str(table), "--out", str(tmp_path / "other"), *MODEL]) == 0
    one, other = (load_model(str(tmp_path / name)) for name in ("mine", "other"))
    assert isinstance(one, Classifier)
    assert isinstance(other, Classifier)
    np.testing.assert_allclose(one.head.weight, other.head.weight, atol=1e-5)


def test_a_class_that_damaged_files_leave_too_small_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    table = write(tmp_path, "\n".join(["path,label", *rows()]))
    for i in range(3):
        (tmp_path / f"low{i}.wav").write_bytes(b"no sound")
    assert command.main(["train", str(table), "--out", str(tmp_path / "mine"), *MODEL]) == 2
    assert "the class 'low' has one clip" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "mine").exists()


def test_the_commonest_confusions_of_unseen_clips_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two clips of one sound have the label of the other."""

    def swapped(kind: str, index: int) -> str:
        return "high" if kind == "low" and index < 2 else kind

    table = write(tmp_path, "\n".join(["path,label", *rows(swapped)]))
    assert command.main(["train", str(table), "--out", str(tmp_path / "mine"), *MODEL]) == 0
    printed = capsys.readouterr().out
    assert "commonest confusions: " in printed
    assert "high taken for low (" in printed
    assert " of 6)" in printed
    assert "noise taken for" not in printed


def test_a_fault_of_the_moment_is_no_row_of_chance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where embedding fails and yet each file can be read, nothing is trained."""

    def fail(*_: object) -> None:
        raise AudioError("low1.wav: cannot be read now")

    table = write(tmp_path, "\n".join(["path,label", *rows()]))
    monkeypatch.setattr(Embedder, "embed", fail)
    assert command.main(["train", str(table), "--out", str(tmp_path / "mine"), *MODEL]) == 2
    assert "low1.wav: cannot be read now" in capsys.readouterr().err.splitlines()[-1]
    assert not (tmp_path / "mine").exists()


def test_a_saved_classifier_keeps_its_encoder_bit_for_bit(classifier: Path) -> None:
    model, plain = load_model(str(classifier)), load_model(preset="slim")
    wave = sound("high", 50).astype(np.float32)
    np.testing.assert_array_equal(model.embed(wave, 16_000), plain.embed(wave, 16_000))
