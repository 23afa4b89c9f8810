"""Classes and probabilities of files, as CSV."""

import csv
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.wavebyol_hear.classify.conftest import CLASSES, sound
from wavebyol_hear import __main__ as command
from wavebyol_hear import load_model
from wavebyol_hear.classify.model import Classifier
from wavebyol_hear.classify.predict import listed


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def test_a_fresh_process_predicts_what_python_predicts(classifier: Path, tmp_path: Path) -> None:
    paths = []
    for kind in CLASSES:
        paths.append(tmp_path / f"new {kind}.wav")
        soundfile.write(paths[-1], sound(kind, 99), 16_000)
    arguments = ["-m", "wavebyol_hear", "predict", str(classifier), str(tmp_path)]
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=True)
    rows = table(done.stdout)
    assert [row["label"] for row in rows] == [*CLASSES]
    assert [row["path"] for row in rows] == [str(path) for path in paths]
    model = load_model(str(classifier), precision="fp32")
    assert isinstance(model, Classifier)
    predictions = model.predict(paths)
    assert isinstance(predictions, list)
    for row, prediction in zip(rows, predictions, strict=True):
        assert next(iter(prediction)) == row["label"]
        assert sum(prediction.values()) == pytest.approx(1, abs=1e-5)
        for name, value in prediction.items():
            assert float(row[name]) == pytest.approx(value, abs=1e-3)


def test_windows_say_when(
    classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "two.wav"
    soundfile.write(path, np.concatenate([sound("low", 1, 2.0), sound("high", 1, 2.0)]), 16_000)
    arguments = ["--timestamps", "--window", "1", "--hop", "1", "--out", str(tmp_path / "out.csv")]
    assert command.main(["predict", str(classifier), str(path), *arguments]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'out.csv'}: 4 rows\n"
    rows = table((tmp_path / "out.csv").read_text())
    assert [(row["start"], row["end"]) for row in rows] == [
        (f"{i}.000", f"{i + 1}.000") for i in range(4)
    ]
    assert [row["label"] for row in rows] == ["low", "low", "high", "high"]
    assert command.main(["predict", str(classifier), str(path), *arguments]) == 0  # once more


def test_a_name_that_is_not_utf_8_is_written_with_escapes(
    classifier: Path, folders: Path, tmp_path: Path
) -> None:
    name = os.fsencode(tmp_path / "sounds") + b"/caf\xe9.wav"
    (tmp_path / "sounds").mkdir()
    Path(os.fsdecode(name)).write_bytes((folders / "low" / "0.wav").read_bytes())
    out = tmp_path / "out.csv"
    arguments = ["predict", str(classifier), str(tmp_path / "sounds"), "--out", str(out)]
    assert command.main(arguments) == 0
    (row,) = table(out.read_text())
    assert row["path"].endswith("caf\\xe9.wav")
    assert row["label"] == "low"


def test_only_predictions_are_replaced(
    classifier: Path, folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wave = folders / "low" / "0.wav"
    (tmp_path / "labels.csv").write_text("path,label\na.wav,low\n")
    for out in (tmp_path / "labels.csv", classifier, wave):
        kept = out.read_bytes()
        assert command.main(["predict", str(classifier), str(wave), "--out", str(out)]) == 2
        assert "name another file" in capsys.readouterr().err
        assert out.read_bytes() == kept


def test_a_file_that_cannot_be_read_is_named_and_passed_over(
    classifier: Path, folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.wav").write_bytes(b"no sound")
    files = [str(tmp_path / "bad.wav"), str(folders / "low" / "0.wav")]
    assert command.main(["predict", str(classifier), *files]) == 1
    printed = capsys.readouterr()
    assert [row["label"] for row in table(printed.out)] == ["low"]
    assert "bad.wav" in printed.err
    assert printed.err.count("\n") == 1


def test_bad_arguments_are_one_line(
    classifier: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from wavebyol_hear.checkpoint import save_encoder

    save_encoder(tmp_path / "plain", load_model(preset="slim").encoder, {})
    (tmp_path / "empty").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "a.tar").touch()
    for arguments, line in (
        ([str(tmp_path / "absent"), "x.wav"], "absent cannot be read"),
        ([str(tmp_path / "plain"), "x.wav"], "holds an encoder without a head"),
        ([str(classifier), "x.wav", "--timestamps", "--hop", "0"], "--hop is 0: give seconds"),
        ([str(classifier), "x.wav", "--window", "1"], "--window without --timestamps: add"),
        ([str(classifier), "x.wav", "--timestamps", "--window", "inf"], "--window is inf: give"),
        ([str(tmp_path / "pipe"), "x.wav"], "pipe: is not a regular file"),
        ([str(classifier), "x.wav", "--out", str(tmp_path / "pipe")], "pipe"),
        ([str(classifier), "x.wav", "--out", str(tmp_path / "no" / "o")], "make it first"),
        ([str(classifier), "x.wav"], "x.wav: no such file or folder; correct the path"),
        ([str(classifier), str(tmp_path / "empty")], "no audio file found"),
        ([str(classifier), str(tmp_path / "a.tar")], "give audio files, folders or lists on disk"),
    ):
        assert command.main(["predict", *arguments]) == 2
        error = capsys.readouterr().err
        assert line in error
        assert error.count("\n") == 1


def test_a_folder_s_audio_files_are_taken_but_for_hidden_ones(tmp_path: Path) -> None:
    for name in ("b.wav", "a/c.flac", "._b.wav", ".trash/d.wav", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    files = [Path(item.path) for item in listed([str(tmp_path), str(tmp_path / "._b.wav")])]
    assert files == [tmp_path / name for name in ("b.wav", "a/c.flac", "._b.wav")]


def test_lists_name_files_and_a_missing_one_fails_alone(
    classifier: Path, folders: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [folders / "low" / "0.wav", folders / "high" / "1.wav", "absent.wav"]
    (tmp_path / "list.txt").write_text("".join(f"{name}\n" for name in names), "utf-8-sig")
    (tmp_path / "list.csv").write_text("path,label\n" + "".join(f"{n},x\n" for n in names))
    for source in ("@" + str(tmp_path / "list.txt"), str(tmp_path / "list.csv")):
        assert command.main(["predict", str(classifier), source]) == 1
        printed = capsys.readouterr()
        assert [row["label"] for row in table(printed.out)] == ["low", "high"]
        assert printed.err.count("\n") == 1
        assert "absent.wav" in printed.err
