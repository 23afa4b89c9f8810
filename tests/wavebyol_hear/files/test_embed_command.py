"""wavebyol embed: what it writes, and what bad input gets, through the command itself."""

import errno
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from baselines import log_mel
from tests.wavebyol_hear.files.mixed_audio import make_bad, make_mixed
from wavebyol_hear.__main__ import main
from wavebyol_hear.audio import read_audio
from wavebyol_hear.files import atomic, embed_parts, load

pq = pytest.importorskip("pyarrow.parquet")

MODEL = "baselines.log_mel"


def tone(path: Path, seconds: float, rate: int = 16_000, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = 0.1 * np.random.default_rng(seed).standard_normal(round(seconds * rate))
    soundfile.write(path, wave, rate)
    return path


def embed(*arguments: object, model: str = MODEL) -> int:
    return main(["embed", *map(str, arguments), "--model", model])


def paths(out: Path) -> list[str]:
    return [str(path) for path in load(out)[0]["path"].to_pylist()]


def errors(out: Path) -> dict[str, str]:
    rows = pq.read_table(out / "errors.parquet").to_pylist()
    return {row["path"]: row["reason"] for row in rows}


def expected(path: Path) -> np.ndarray:
    """The embedding through the HEAR API itself."""
    model = log_mel.load_model()
    wave = torch.from_numpy(read_audio(path, model.sample_rate))
    scene: np.ndarray = log_mel.get_scene_embeddings(wave[None], model)[0].numpy()
    return scene


def test_rows_are_those_of_the_hear_api(tmp_path: Path) -> None:
    make_mixed(tmp_path / "a", 15)
    assert embed(tmp_path / "a", "--out", tmp_path / "out") == 0
    index, array = load(tmp_path / "out")
    assert len(array) == 15
    assert errors(tmp_path / "out") == {}
    listed = sorted(os.fsencode(p) for p in (tmp_path / "a").rglob("*") if p.is_file())
    for row, values in zip(index.to_pylist(), array, strict=True):
        escaped = row["path"].encode().replace(b"\\xe9", b"\xe9")
        assert escaped in listed
        path = os.fsdecode(escaped)
        assert np.allclose(values, expected(Path(path)), atol=1e-5)
        header = soundfile.info(path)
        assert row["sample_rate"] == header.samplerate
        assert row["start"] == 0
        assert row["end"] == row["duration"]
        if not path.endswith("mp3"):
            assert row["duration"] == header.frames / header.samplerate


@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_one_array_and_an_index_hold_the_same_rows(tmp_path: Path, dtype: str) -> None:
    make_mixed(tmp_path / "a", 12)
    options = ("--dtype", dtype, "--part-size", 5)
    assert embed(tmp_path / "a", "--out", tmp_path / "parts", *options) == 0
    for _ in range(2):  # the second time there is nothing to do
        done = embed(f"{tmp_path}/a/", "--out", tmp_path / "one", "--format", "npy", *options)
        assert done == 0
    names = {p.name for p in (tmp_path / "one").iterdir() if p.suffix != ".lock"}
    assert names == {"embeddings.npy", "index.parquet", "errors.parquet", "manifest.json"}
    (index, array), (index_one, one) = load(tmp_path / "parts"), load(tmp_path / "one")
    assert isinstance(one, np.memmap)
    assert one.dtype == dtype
    assert np.array_equal(array, one)
    assert index.equals(index_one)
    tone(tmp_path / "a" / "new.wav", 0.2)
    assert embed(tmp_path / "a", "--out", tmp_path / "one", "--format", "npy", *options) == 0
    assert len(load(tmp_path / "one")[1]) == 13


def test_windows_cover_a_file_and_are_embedded_as_files_of_their_own(tmp_path: Path) -> None:
    wave = 0.1 * np.random.default_rng(1).standard_normal(16_000 * 3 + 800)
    (tmp_path / "a").mkdir()
    soundfile.write(tmp_path / "a/long.wav", wave, 16_000, subtype="FLOAT")
    tone(tmp_path / "a/short.wav", 0.5)
    done = embed(tmp_path / "a", "--out", tmp_path / "o", "--window", 1, "--hop", 0.75)
    assert done == 0
    index, array = load(tmp_path / "o")
    spans = list(zip(index["start"].to_pylist(), index["end"].to_pylist(), strict=True))
    assert spans == [(0, 1), (0.75, 1.75), (1.5, 2.5), (2.05, 3.05), (0, 0.5)]
    for (start, end), values in list(zip(spans, array, strict=True))[:4]:
        piece = wave[round(start * 16_000) : round(end * 16_000)]
        soundfile.write(tmp_path / "piece.wav", piece, 16_000, subtype="FLOAT")
        assert np.allclose(values, expected(tmp_path / "piece.wav"), atol=1e-5)


def test_timestamps_are_rows_around_the_models_instants(tmp_path: Path) -> None:
    path = tone(tmp_path / "a/one.wav", 0.7, 44_100)
    assert embed(tmp_path / "a", "--out", tmp_path / "o", "--timestamps") == 0
    index, array = load(tmp_path / "o")
    model = log_mel.load_model()
    wave = torch.from_numpy(read_audio(path, model.sample_rate))[None]
    values, ms = log_mel.get_timestamp_embeddings(wave, model)
    assert np.allclose(array, values[0].numpy(), atol=1e-5)
    starts, ends = np.array(index["start"]), np.array(index["end"])
    middles = (starts + ends)[1:-1] / 2
    assert np.allclose(middles, ms[0, 1:-1].numpy() / 1000, atol=1e-6)
    assert np.allclose(starts[2:], ends[1:-1])


def test_long_files_are_decoded_to_disk_with_the_same_numbers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_mixed(tmp_path / "a", 8, (0.5, 1.0))
    shapes = ((), ("--window", "0.25"), ("--timestamps",))
    whole = []
    for number, options in enumerate(shapes):
        assert embed(tmp_path / "a", "--out", tmp_path / f"w{number}", *options) == 0
        whole.append(load(tmp_path / f"w{number}"))
    monkeypatch.setattr("wavebyol_hear.files.decode.LONG_BYTES", 1000)
    for number, options in enumerate(shapes):
        assert embed(tmp_path / "a", "--out", tmp_path / f"l{number}", *options) == 0
        index, array = load(tmp_path / f"l{number}")
        assert index.equals(whole[number][0])
        assert np.allclose(array, whole[number][1], atol=1e-5)


def test_each_bad_file_is_an_error_with_its_reason_and_the_rest_is_embedded(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reasons = make_bad(tmp_path / "a")
    tone(tmp_path / "a/good.wav", 0.3)
    soundfile.write(tmp_path / "flac-named.mp3", np.zeros(8000), 16_000, format="FLAC")
    (tmp_path / "flac-named.mp3").rename(tmp_path / "a/flac-named.mp3")
    assert embed(tmp_path / "a", "--out", tmp_path / "o") == 1
    assert paths(tmp_path / "o") == [f"{tmp_path}/a/flac-named.mp3", f"{tmp_path}/a/good.wav"]
    noted = {Path(path).name: reason for path, reason in errors(tmp_path / "o").items()}
    assert noted.keys() == reasons.keys()
    for name, part in reasons.items():
        assert part in noted[name], noted[name]
        assert str(tmp_path) not in noted[name].split("(")[0]
    said = capsys.readouterr()
    for name in reasons:
        assert name.replace("\n", "\\n") in said.err
    assert f"8 files are not embedded, see {tmp_path}/o/errors.parquet" in said.out


def test_a_folder_that_cannot_be_read_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tone(tmp_path / "a/good.wav", 0.3)
    (tmp_path / "a/closed").mkdir()
    real = os.scandir

    def refuse(path: str) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", refuse)
    assert embed(tmp_path / "a", "--out", tmp_path / "o") == 1
    assert errors(tmp_path / "o") == {
        f"{tmp_path}/a/closed": "this folder cannot be read (Permission denied)"
    }


def test_what_may_pass_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tone(tmp_path / "a/good.wav", 0.3)
    tone(tmp_path / "a/odd.wav", 0.3)
    real = embed_parts.decode

    def failing(source: str, *arguments: Any, **options: Any) -> Any:
        if "odd" in source:
            from wavebyol_hear.audio import AudioUnavailableError

            raise AudioUnavailableError(f"{source}: cannot be read now (stale file handle)")
        return real(source, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(embed_parts, "decode", failing)
        assert embed(tmp_path / "a", "--out", tmp_path / "o") == 1
    table = pq.read_table(tmp_path / "o/errors.parquet")
    assert table["try_again"].to_pylist() == [True]
    assert embed(tmp_path / "a", "--out", tmp_path / "o") == 0
    assert len(load(tmp_path / "o")[1]) == 2


def test_added_changed_and_removed_files_are_noticed(tmp_path: Path) -> None:
    for number in range(6):
        tone(tmp_path / f"a/{number}.wav", 0.2, seed=number)
    out = tmp_path / "o"
    assert embed(tmp_path / "a", "--out", out, "--part-size", 2) == 0
    before = {p.name: p.stat().st_mtime_ns for p in out.glob("part-*")}
    tone(tmp_path / "a/6.wav", 0.2, seed=6)
    (tmp_path / "a/5.wav").unlink()
    tone(tmp_path / "a/2.wav", 0.3, seed=9)
    assert embed(tmp_path / "a", "--out", out, "--part-size", 2) == 0
    after = {p.name: p.stat().st_mtime_ns for p in out.glob("part-*")}
    kept = before.keys() & after.keys()
    assert len(kept) == 1
    assert {before[name] for name in kept} == {after[name] for name in kept}
    array = load(out)[1]
    assert [Path(p).stem for p in paths(out)] == list("012346")
    assert np.allclose(array[2], expected(tmp_path / "a/2.wav"), atol=1e-5)


@pytest.mark.parametrize("form", ["parquet", "npy"])
def test_the_end_says_how_many_rows_there_are_also_where_nothing_was_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
) -> None:
    for number in range(3):
        tone(tmp_path / f"a/{number}.wav", 1.0, seed=number)
    (tmp_path / "a/bad.wav").write_bytes(b"RIFF")
    out = tmp_path / "o"
    line = f"{out}: done, 6 rows; 1 file is not embedded, see {out}/errors.parquet"
    for _ in range(2):
        embed(tmp_path / "a", "--out", out, "--format", form, "--window", 0.5, "--part-size", 2)
        assert capsys.readouterr().out.splitlines()[-1] == line
        assert len(load(out)[1]) == 6


def test_shares_of_several_processes_make_one_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    make_mixed(tmp_path / "a", 20)
    assert embed(tmp_path / "a", "--out", tmp_path / "one", "--part-size", 3) == 0
    options = ("--out", tmp_path / "many", "--part-size", 3)
    assert embed(tmp_path / "a", *options, "--part", "2/3") == 0
    assert "others are not yet" in capsys.readouterr().out
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "5")
    monkeypatch.setenv("SLURM_ARRAY_TASK_MIN", "4")
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "3")
    assert embed(tmp_path / "a", *options) == 0  # 1/3
    monkeypatch.setenv("RANK", "0")
    assert embed(tmp_path / "a", *options, "--part", "/3") == 0
    assert "others are not yet" not in capsys.readouterr().out.splitlines()[-1]
    first, second = (
        {p.name: p.read_bytes() for p in (tmp_path / d).glob("part-*")} for d in ("one", "many")
    )
    assert first == second


def test_the_jobs_of_a_slurm_script_make_one_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each job runs the script's command with what SLURM sets; no job is without a share."""
    make_mixed(tmp_path / "a b", 10)
    options = ("--out", tmp_path / "many", "--part-size", 3)
    script = tmp_path / "job.sh"
    assert embed(tmp_path / "a b", *options, "--part", "/2", "--sbatch", script) == 0
    assert not (tmp_path / "many").exists()
    lines = script.read_text().splitlines()
    assert "#SBATCH --array=0-1" in lines
    run, program, *words = shlex.split(lines[-1])
    assert (run, program) == ("srun", "wavebyol")
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "2")
    for job in ("0", "1"):
        monkeypatch.setenv("SLURM_ARRAY_TASK_ID", job)
        assert main(words) == 0
    assert len(paths(tmp_path / "many")) == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--timestamps", "--window", "1"], "drop one of them"),
        (["--hop", "1"], "add --window"),
        (["--part", "3/3"], "give I/N"),
        (["--part", "/3"], "give I/N"),
        (["--batch-seconds", "nan"], "give seconds"),
        (["--window", "abc"], "'abc': give seconds"),
        (["--part-size", "0"], "'0': give a whole number, 1 or more"),
        (["--model", "no.such.module"], "no.such.module: cannot be imported"),
        (["--device", "cuda:99"], "try cpu"),
    ],
)
def test_arguments_that_make_no_sense_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    tone(tmp_path / "a.wav", 0.1)
    try:
        status = main(["embed", str(tmp_path / "a.wav"), "--out", str(tmp_path / "o"), *options])
    except SystemExit as error:
        status = int(error.code or 0)
    assert status == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_a_folder_of_other_options_or_another_model_is_refused_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tone(tmp_path / "a/a.wav", 0.1)
    source, out = tmp_path / "a", tmp_path / "o"
    assert embed(source, "--out", out) == 0
    changes: list[tuple[list[object], str]] = [
        ([source, "--window", 2], "window 0.0, now 2.0"),
        ([source, "--dtype", "float16"], "dtype 'float32', now 'float16'"),
        ([source, "--format", "npy"], "format 'parquet', now 'npy'"),
        ([tone(tmp_path / "b.wav", 0.1)], f"was made from {source}; name these too"),
    ]
    for arguments, message in changes:
        assert embed(*arguments, "--out", out) == 2
        (line,) = capsys.readouterr().err.splitlines()[-1:]
        assert message in line
        assert line.startswith(f"wavebyol embed: error: {out}: ")
    assert embed(source, "--out", out, model="baselines.content_random") == 2
    assert "was made with other options (model 'baselines.log_mel'" in capsys.readouterr().err
    monkeypatch.setattr("wavebyol_hear.files.embed_manifest._weights_file", lambda spec: "other")
    assert embed(source, "--out", out) == 2
    assert "the weights file of baselines.log_mel was another" in capsys.readouterr().err
    monkeypatch.undo()
    assert embed(source, "--out", tmp_path) == 2
    assert "holds other files" in capsys.readouterr().err
    tone(tmp_path / "a/b.wav", 0.1)
    monkeypatch.setattr("wavebyol_hear.files.embed_manifest.tensors_hash", lambda model: "other")
    assert embed(source, "--out", out) == 2
    assert "was made with other options (weights hash" in capsys.readouterr().err
    (out / "manifest.json").write_text("{")
    assert embed(source, "--out", out) == 2
    assert "manifest.json: is damaged" in capsys.readouterr().err


def test_a_full_disk_is_one_line_and_leaves_no_half_part(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tone(tmp_path / "a/a.wav", 0.1)

    def full(self: object, *_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("pyarrow.parquet.ParquetWriter.write_batch", full)
        assert embed(tmp_path / "a", "--out", tmp_path / "o") == 2
    assert capsys.readouterr().err.splitlines()[-1] == (
        f"wavebyol embed: error: {tmp_path}/o: the disk is full; make room and run it again"
    )
    assert not list((tmp_path / "o").glob("part-*"))
    assert embed(tmp_path / "a", "--out", tmp_path / "o") == 0


def test_the_same_command_twice_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tone(tmp_path / "a.wav", 0.1)
    (tmp_path / "o").mkdir()
    with atomic.lock(tmp_path / "o/in-use-0-of-1.lock", "x", "y"):
        assert embed(tmp_path / "a.wav", "--out", tmp_path / "o") == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert f"{tmp_path}/o is in use by process {os.getpid()}" in line


def test_an_interrupt_is_one_line_and_its_status(tmp_path: Path) -> None:
    make_mixed(tmp_path / "a", 10)
    (tmp_path / "slow_model.py").write_text(
        "import time\nfrom baselines.log_mel import *\nfrom baselines import log_mel\n"
        "def get_scene_embeddings(audio, model):\n    open('called', 'w')\n    time.sleep(60)\n"
    )
    call = [sys.executable, "-m", "wavebyol_hear", "embed", "a", "--out", "o"]
    with subprocess.Popen(
        [*call, "--model", "slow_model"], cwd=tmp_path, stderr=subprocess.PIPE, text=True
    ) as process:
        while not (tmp_path / "called").exists():
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "interrupted: finished work is kept" in err.splitlines()[-1]
    assert "Traceback" not in err


@pytest.mark.parametrize("options", [(), ("--window", "0.1"), ("--timestamps",)])
def test_clips_on_which_the_model_fails_are_errors_and_their_neighbors_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: tuple[str, ...]
) -> None:
    (tmp_path / "fragile_model.py").write_text(
        "from baselines import log_mel\nfrom baselines.log_mel import load_model\n"
        "def check(audio):\n    if audio.abs().max() > 0.9:\n        raise RuntimeError('loud')\n"
        "def get_scene_embeddings(audio, model):\n    check(audio)\n"
        "    values = log_mel.get_scene_embeddings(audio, model)\n"
        "    values[audio.abs().amax(1) == 0] = float('nan')\n    return values\n"
        "def get_timestamp_embeddings(audio, model):\n    check(audio)\n"
        "    values, ms = log_mel.get_timestamp_embeddings(audio, model)\n"
        "    values[audio.abs().amax(1) == 0] = float('nan')\n    return values, ms\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for seed in range(4):
        tone(tmp_path / f"a/good-{seed}.wav", 0.25, seed=seed)
    for name, level in (("loud", 0.95), ("silent", 0.0)):
        soundfile.write(tmp_path / f"a/{name}.wav", np.full(4000, level), 16_000)
    out = tmp_path / "o"
    assert embed(tmp_path / "a", "--out", out, *options, model="fragile_model") == 1
    assert {Path(path).stem for path in paths(out)} == {f"good-{n}" for n in range(4)}
    table = pq.read_table(out / "errors.parquet").to_pylist()
    noted = {Path(row["path"]).stem: (row["reason"], row["try_again"]) for row in table}
    assert noted.keys() == {"loud", "silent"}
    assert "RuntimeError: loud" in noted["loud"][0]
    assert "NaN or infinity" in noted["silent"][0]
    assert (noted["loud"][1], noted["silent"][1]) == (True, False)
    assert np.isfinite(load(out)[1]).all()
