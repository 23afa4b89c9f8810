"""The store holds what the files hold, however often its making was killed."""

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from benchmark.leaks.search import StoreReader
from pretrain.data.store import Store, StoreError
from pretrain.data.store_build import build, decode, decode_part
from pretrain.data.store_sources import SourceError, parts_of
from pretrain.store import main
from tests.pretrain.synthetic_sources import build_here, sound, wav, write_tar
from wavebyol_hear.files.atomic import LockedError, lock

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "sounds"
    (place / "deep").mkdir(parents=True)
    (place / "a.wav").write_bytes(wav(sound(0, 3000)))
    (place / "deep" / "b.wav").write_bytes(wav(sound(1, 1000, channels=2)))
    (place / "c.flac").write_bytes(b"this is no sound")
    (place / "d.wav").write_bytes(wav(sound(2, 0)))
    return place


def test_a_folder_is_kept_to_the_last_bit_but_one(folder: Path, tmp_path: Path) -> None:
    store = build_here([str(folder)], tmp_path / "store")
    assert store.clip_ids == ("a.wav", "deep/b.wav")
    assert store.lengths.tolist() == [3000, 1000]
    assert store.starts.tolist() == [0, 3000]
    assert (store.starts.dtype, store.lengths.dtype) == (torch.int64, torch.int32)
    for number, wave in enumerate((sound(0, 3000), sound(1, 1000, channels=2))):
        error = store.clip(number).numpy() / 32767 - wave.mean(axis=1)
        assert np.abs(error).max() < 1.5 / 32767


def test_bad_files_are_listed_and_cost_no_other(folder: Path, tmp_path: Path) -> None:
    build_here([str(folder)], tmp_path / "store")
    bad = (tmp_path / "store" / "bad.tsv").read_text().splitlines()
    assert len(bad) == 2
    assert "c.flac: not readable as audio" in bad[0]
    assert "d.wav: holds no samples" in bad[1]


def test_other_rates_are_resampled() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000).astype(np.float32)
    got = decode(wav(tone * 0.5, 48_000)) / 32767
    want = 0.5 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    assert len(got) == 16_000
    assert np.abs(got - want)[200:-200].max() < 1e-3


def test_louder_than_full_scale_is_clipped_not_wrapped(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.full(8, 1.7, np.float32), 16_000, subtype="FLOAT")
    assert decode(tmp_path / "x.wav").tolist() == [32767] * 8


def test_non_finite_is_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.full(8, np.nan, np.float32), 16_000, subtype="FLOAT")
    with pytest.raises(ValueError, match="NaN"):
        decode(tmp_path / "x.wav")


def many_tars(place: Path, tars: int, clips: int) -> None:
    place.mkdir()
    for i in range(tars):
        waves = {f"{i}-{j}.wav": wav(sound(97 * i + j, 4000 + j)) for j in range(clips)}
        write_tar(place / f"{i:02d}.tar", waves)


def test_killed_and_started_again_it_ends_with_the_same_store(tmp_path: Path) -> None:
    many_tars(tmp_path / "tars", tars=6, clips=120)
    whole = build_here([str(tmp_path / "tars")], tmp_path / "whole")
    out = tmp_path / "out"
    command = [sys.executable, "-m", "pretrain.store", str(tmp_path / "tars"), "--out", str(out)]
    options: dict = {"cwd": ROOT, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    first = subprocess.Popen([*command, "--workers", "1"], **options)
    for _ in range(3000):
        done = list((out / "parts").glob("*.json"))
        if done or first.poll() is not None:
            break
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.wait()
    assert done
    assert not (out / "store.json").exists(), "the kill came too late to test anything"
    # What was done is not done again: the shard could not even be read any more
    shard = tmp_path / "tars" / f"{int(done[0].stem):02d}.tar"
    stat = shard.stat()
    shard.write_bytes(bytes(stat.st_size))
    os.utime(shard, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert main([*command[3:], "--workers", "1"]) == 0
    assert Store.open(out).hash == whole.hash
    assert torch.equal(Store.open(out).files[0], whole.files[0])
    assert not (out / "parts").exists()


def test_verify_finds_one_changed_sample_and_one_changed_name(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "store"
    build_here([str(folder)], out)
    assert main(["--verify", "--out", str(out)]) == 0
    assert "are what was sealed" in capsys.readouterr().out
    for name in ("samples.i16", "index.csv"):
        content = (out / name).read_bytes()
        (out / name).write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
        assert main(["--verify", "--out", str(out)]) == 1
        assert capsys.readouterr().err.count("\n") == 1
        (out / name).write_bytes(content)
    assert main(["--verify", "--out", str(tmp_path / "none")]) == 1
    assert "no finished store" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--out", str(out)])


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_stopped_it_says_one_line_and_no_good_clip_is_called_bad(
    tmp_path: Path, number: signal.Signals, code: int
) -> None:
    (tmp_path / "tars").mkdir()
    long = io.BytesIO()
    soundfile.write(long, sound(0, 44_100 * 15), 44_100, format="OGG")
    write_tar(tmp_path / "tars/a.tar", {f"{i:02d}.ogg": long.getvalue() for i in range(60)})
    out = tmp_path / "out"
    command = [sys.executable, "-m", "pretrain.store", str(tmp_path / "tars"), "--out", str(out)]
    started = subprocess.Popen(
        [*command, "--workers", "1"], cwd=ROOT, stderr=subprocess.PIPE, start_new_session=True
    )
    half = out / "parts" / "000000.half"
    for _ in range(6000):
        if (half.exists() and half.stat().st_size) or started.poll() is not None:
            break
        time.sleep(0.01)
    os.killpg(started.pid, number)  # the workers, too, as a terminal does
    begin = time.monotonic()
    _, said = started.communicate(timeout=60)
    assert time.monotonic() - begin < 10  # two seconds on a machine with nothing else to do
    assert started.returncode == code
    assert b"Traceback" not in said
    assert said.rstrip().endswith(b"interrupted: finished work is kept; the same command resumes")
    assert main([*command[3:], "--workers", "1"]) == 0
    assert (out / "bad.tsv").read_text() == ""
    assert len(Store.open(out)) == 60


def test_a_failure_of_the_moment_is_tried_again(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that gives EIO is no bad file: its part has no record until it can be read."""
    (part,) = parts_of(str(folder))
    real = Path.open

    def failing(self: Path, *args: object, **kwargs: object) -> object:
        if self.name == "c.flac":
            raise OSError(5, "Input/output error")
        return real(self, *args, **kwargs)  # type: ignore[call-overload]

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", failing)
        with pytest.raises(OSError, match="Input/output error"):
            decode_part(part, tmp_path / "000000.json")
    assert not (tmp_path / "000000.json").exists()
    decode_part(part, tmp_path / "000000.json")
    assert "c.flac" in (tmp_path / "000000.json").read_text()


def test_two_builds_of_one_store_do_not_meet(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    with (
        lock(tmp_path / "store" / "store.lock", "the store", "wait"),
        pytest.raises(LockedError, match="choose another --out"),
    ):
        build([str(folder)], tmp_path / "store", workers=1)


def test_killed_while_joining_it_joins_the_rest(tmp_path: Path) -> None:
    many_tars(tmp_path / "tars", tars=3, clips=5)
    source = [str(tmp_path / "tars")]
    whole = build_here(source, tmp_path / "whole")
    out = tmp_path / "out"
    (out / "parts").mkdir(parents=True)
    for i, part in enumerate(parts_of(source[0])):
        decode_part(part, out / "parts" / f"{i:06d}.json")
    # As a kill in the middle of the second part leaves it: the first is joined and deleted
    first = (out / "parts" / "000000.i16").read_bytes()
    second = (out / "parts" / "000001.i16").read_bytes()
    (out / "samples.i16").write_bytes(first + second[:777])
    (out / "parts" / "000000.i16").unlink()
    build(source, out, workers=1)
    assert torch.equal(Store.open(out).files[0], whole.files[0])
    assert Store.open(out).hash == whole.hash


def test_a_store_of_several_files_is_that_of_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same clips under the same hash, for the leak finder's own reader too."""
    many_tars(tmp_path / "tars", tars=5, clips=3)  # of 8 kB a clip
    source = str(tmp_path / "tars")
    whole = build_here([source], tmp_path / "whole")
    out = tmp_path / "out"
    assert main([source, "--out", str(out), "--workers", "1", "--max-file", "50e-6"]) == 0
    store = Store.open(out)
    assert [len(file) for file in store.files] == [2 * 12_003, 2 * 12_003, 12_003]
    assert sorted(path.name for path in out.glob("*.i16")) == [
        "samples-001.i16",
        "samples-002.i16",
        "samples.i16",
    ]
    assert store.hash == whole.hash
    assert store.clip_ids == whole.clip_ids
    reader = StoreReader(out)
    for number in range(len(whole)):
        assert torch.equal(store.clip(number), whole.clip(number))
        assert np.array_equal(reader.read(number) * 32768, whole.clip(number).numpy())
    Store.verify(out)
    content = (out / "samples-002.i16").read_bytes()
    (out / "samples-002.i16").write_bytes(content[:-3] + bytes([content[-3] ^ 1]) + content[-2:])
    assert main(["--verify", "--out", str(out)]) == 1
    assert "samples from 0 to 12003 of file 2 are not what" in capsys.readouterr().err
    (out / "samples.i16").rename(tmp_path / "other")  # of another size, together the same
    (out / "samples-002.i16").rename(out / "samples.i16")
    (tmp_path / "other").rename(out / "samples-002.i16")
    assert main(["--verify", "--out", str(out)]) == 1
    assert "samples.i16: 24006 bytes, but store.json says 48012" in capsys.readouterr().err
    (out / "samples.i16").unlink()
    with pytest.raises(StoreError, match=r"samples\.i16: 0 bytes, but"):
        Store.open(out)


def test_a_damaged_store_is_not_called_built(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "store"
    words = [str(folder), "--out", str(out), "--workers", "1"]
    assert main(words) == 0
    (out / "bad.tsv").unlink()
    assert main(words) == 0
    capsys.readouterr()
    seal = (out / "store.json").read_text()
    about = json.loads(seal)
    for parts in (5, [["x", "y"]], [*about["parts"], [1, "x"]], [[-1, "x"], [4002, "y"]]):
        (out / "store.json").write_text(json.dumps(about | {"parts": parts}))
        assert main(["--verify", "--out", str(out)]) == 1
        assert capsys.readouterr().err.endswith("its parts are damaged; delete the folder\n")
    for text in ("5", seal[:40], json.dumps({"format": about["format"]})):
        (out / "store.json").write_text(text)
        assert main(words) == 1
        error = capsys.readouterr().err
        assert "store.json" in error
        assert error.count("\n") == 1
    (out / "store.json").write_text(seal)
    os.truncate(out / "samples.i16", 100)
    assert main(words) == 1
    assert "samples.i16: 100 bytes, but" in capsys.readouterr().err
    (out / "plan.txt").unlink()
    with pytest.raises(SourceError, match=r"plan\.txt is gone"):
        build([str(folder)], out, workers=1)


def test_a_join_goes_on_with_the_files_it_began_with(tmp_path: Path) -> None:
    many_tars(tmp_path / "tars", tars=3, clips=5)
    source = [str(tmp_path / "tars")]
    whole = build_here(source, tmp_path / "whole")
    out = tmp_path / "out"
    (out / "parts").mkdir(parents=True)
    for i, part in enumerate(parts_of(source[0])):
        decode_part(part, out / "parts" / f"{i:06d}.json")
    # As a kill in the second file leaves it, of which the first part is joined and deleted
    (out / "parts" / "files.txt").write_text("[[0], [1, 2]]")
    (out / "parts" / "000000.i16").rename(out / "samples.i16")
    (out / "parts" / "000001.i16").rename(out / "samples-001.i16")
    build(source, out, workers=1, max_bytes=1)
    store = Store.open(out)
    assert len(store.files) == 2
    assert torch.equal(torch.cat(store.files), whole.files[0])
    assert store.hash == whole.hash


def test_a_finished_store_is_left_alone(folder: Path, tmp_path: Path) -> None:
    store = build_here([str(folder)], tmp_path / "store")
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "store").glob("s*")}
    assert build([str(folder)], tmp_path / "store", workers=1)["hash"] == store.hash
    assert before == {file: file.stat().st_mtime_ns for file in before}


def test_a_seal_that_is_no_json_is_named(folder: Path, tmp_path: Path) -> None:
    build_here([str(folder)], tmp_path / "store")
    for text in ("{", "[" * 100_000):
        (tmp_path / "store" / "store.json").write_text(text)
        with pytest.raises(StoreError, match=r"store\.json: no JSON .*; delete the folder and"):
            Store.open(tmp_path / "store")
    (tmp_path / "store" / "store.json").write_text("[1]")
    with pytest.raises(StoreError, match="is not of format"):
        Store.open(tmp_path / "store")


def test_the_hash_sees_samples_and_index(tmp_path: Path) -> None:
    hashes = set()
    for number, (name, seed) in enumerate((("a", 0), ("a", 1), ("b", 0))):
        place = tmp_path / str(number) / "same"
        place.mkdir(parents=True)
        (place / f"{name}.wav").write_bytes(wav(sound(seed, 100)))
        hashes.add(build_here([str(place)], tmp_path / f"store{number}").hash)
    assert len(hashes) == 3


def test_other_sources_are_refused(folder: Path, tmp_path: Path) -> None:
    build_here([str(folder)], tmp_path / "store")
    (folder / "new.wav").write_bytes(wav(sound(5, 100)))
    with pytest.raises(SourceError, match="other sources"):
        build([str(folder)], tmp_path / "store", workers=1)
    (folder / "new.wav").unlink()
    build([str(folder)], tmp_path / "store", workers=1)
    (folder / "a.wav").write_bytes(wav(sound(6, 3001)))  # replaced under its name
    with pytest.raises(SourceError, match="other sources"):
        build([str(folder)], tmp_path / "store", workers=1)


def test_open_names_what_is_wrong(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"python -m pretrain\.store"):
        Store.open(tmp_path)
    build_here([str(folder)], tmp_path / "store")
    index = tmp_path / "store" / "index.csv"
    whole = index.read_text()
    for old, new, message in (
        (",3000,1000,", ",99999999,1000,", "do not lie end to end"),
        (",3000,1000,", ",3000,-1000,", "do not lie end to end"),
        (",3000,1000,", ",3000,many,", "index.csv or store.json is damaged"),
        ("length", "size", "index.csv or store.json is damaged"),
    ):
        index.write_text(whole.replace(old, new))
        with pytest.raises(StoreError, match=message):
            Store.open(tmp_path / "store")
    index.write_text(whole)
    os.truncate(tmp_path / "store" / "samples.i16", 100)
    with pytest.raises(StoreError, match="100 bytes, but"):
        Store.open(tmp_path / "store")


def test_parts_built_apart_train_as_one_store(tmp_path):
    """Four shards in one store, and in two stores of every second shard."""
    sources = tmp_path / "tars"
    sources.mkdir()
    for shard in range(4):
        clips = {f"s{shard}c{i}.wav": wav(sound(10 * shard + i, 2000 + i)) for i in range(3)}
        write_tar(sources / f"{shard}.tar", clips)
    for number in range(2):
        words = [str(sources), "--out", str(tmp_path / f"part{number}"), "--workers", "1"]
        assert main([*words, "--part", f"{number}/2"]) == 0
    whole = build_here([str(sources)], tmp_path / "whole")
    parts = Store.join([Store.open(tmp_path / f"part{number}") for number in range(2)])
    assert len(parts.files) == 2
    assert sorted(parts.clip_ids) == sorted(whole.clip_ids)
    for number, name in enumerate(parts.clip_ids):
        assert torch.equal(parts.clip(number), whole.clip(whole.clip_ids.index(name)))
    assert parts.hash != whole.hash
    with pytest.raises(SystemExit):
        main([str(sources), "--out", str(tmp_path / "x"), "--part", "2/2"])


def test_a_part_beyond_the_sources_is_named(tmp_path, capsys):
    (tmp_path / "a.wav").write_bytes(wav(sound(0, 2000)))
    words = [str(tmp_path), "--out", str(tmp_path / "out"), "--part", "1/2"]
    assert main(words) == 1
    assert "part 1/2: the sources have 1 parts only" in capsys.readouterr().err
