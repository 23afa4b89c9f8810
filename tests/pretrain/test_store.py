"""The store holds what the files hold, however often its making was killed."""

import csv
import http.server
import io
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from pretrain.store import Store, StoreError, main
from pretrain.store_build import build, decode, decode_part
from pretrain.store_sources import Meta, SourceError, parts_of

ROOT = Path(__file__).resolve().parents[2]


def sound(seed: int, samples: int, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (samples, channels)).astype(np.float32)


def wav(wave: np.ndarray, rate: int = 16_000) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, wave, rate, format="WAV", subtype="PCM_16")
    return file.getvalue()


def write_tar(path: Path, members: dict[str, bytes]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))


def build_here(sources: list[str], out: Path) -> Store:
    """Build without worker processes: decode the parts here, and let `build` go on from there."""
    (out / "parts").mkdir(parents=True)
    for i, part in enumerate(part for source in sources for part in parts_of(source)):
        decode_part(part, out / "parts" / f"{i:06d}.json")
    build(sources, out, workers=1)
    return Store.open(out)


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
    assert "c.flac: not readable as sound" in bad[0]
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


def test_fsd50k_keeps_labels_and_licence_and_leaves_the_test_set_alone(tmp_path: Path) -> None:
    root = tmp_path / "FSD50K"
    for part in ("dev_audio", "eval_audio", "ground_truth", "metadata"):
        (root / f"FSD50K.{part}").mkdir(parents=True)
    for name in ("64760", "16399"):
        (root / "FSD50K.dev_audio" / f"{name}.wav").write_bytes(wav(sound(1, 500), 44_100))
    (root / "FSD50K.eval_audio" / "37199.wav").write_bytes(wav(sound(2, 500), 44_100))
    (root / "FSD50K.ground_truth" / "dev.csv").write_text(
        'fname,labels,mids,split\n64760,"Bark,Dog","/m/05tny_,/m/0bt9lr",train\n16399,Rain,/m/06mb1,val\n'
    )
    (root / "FSD50K.ground_truth" / "eval.csv").write_text(
        "fname,labels,mids\n37199,Rain,/m/06mb1\n"
    )
    (root / "FSD50K.metadata" / "dev_clips_info_FSD50K.json").write_text(
        '{"64760": {"license": "CC0"}, "16399": {"license": "CC BY 4.0"}}'
    )
    store = build_here([str(root)], tmp_path / "store")
    assert store.clip_ids == ("16399", "64760")
    assert store.labels == ("Rain", "Bark,Dog")
    assert store.licences == ("CC BY 4.0", "CC0")
    assert store.sources == ("FSD50K dev (val)", "FSD50K dev (train)")


def test_tar_shards_by_url_hold_what_the_local_ones_hold(tmp_path: Path) -> None:
    served = tmp_path / "served"
    served.mkdir()
    write_tar(
        served / "x-00.tar",
        {"k1.wav": wav(sound(1, 700)), "k1.cls": b"3", "k2.wav": wav(sound(2, 900))},
    )
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(served))
    handler.log_message = lambda *_: None  # type: ignore[attr-defined]
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/x-00.tar"
        far = build_here([url], tmp_path / "far")
        server.shutdown()
    near = build_here([str(served)], tmp_path / "near")
    assert far.clip_ids == near.clip_ids == ("k1", "k2")
    assert far.labels == near.labels == ("3", "")
    assert torch.equal(far.samples, near.samples)
    assert near.lengths.tolist() == [700, 900]


def test_the_index_beside_real_shards_describes_their_clips(
    shared_corpus: Path, tmp_path: Path
) -> None:
    some: dict[str, bytes] = {}
    with tarfile.open(shared_corpus / "corpus-00.tar") as tar:
        for entry in tar:
            file = tar.extractfile(entry)
            if entry.name.endswith(".ogg") and file is not None:
                some[entry.name] = file.read()
            if len(some) == 12:
                break
    write_tar(tmp_path / "corpus-00.tar", some)
    (tmp_path / "index.csv").write_bytes((shared_corpus / "index.csv").read_bytes())
    store = build_here([str(tmp_path / "corpus-00.tar")], tmp_path / "store")
    with (shared_corpus / "index.csv").open(newline="") as lines:
        rows = {row["id"]: row for row in csv.DictReader(lines)}
    assert len(store) == 12
    for number, clip_id in enumerate(store.clip_ids):
        row = rows[clip_id]
        assert store.lengths[number] / 16_000 == pytest.approx(float(row["seconds"]), abs=1e-3)
        assert store.kinds[number] == row["kind"]
        assert store.sources[number] == row["source"]
        assert store.licences[number] == row["licence"]
        assert store.clip(number).float().std() > 10


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
    (tmp_path / "tars" / f"{int(done[0].stem):02d}.tar").write_bytes(b"no tar")
    assert main([*command[3:], "--workers", "1"]) == 0
    assert Store.open(out).hash == whole.hash
    assert torch.equal(Store.open(out).samples, whole.samples)
    assert not (out / "parts").exists()


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
    assert torch.equal(Store.open(out).samples, whole.samples)
    assert Store.open(out).hash == whole.hash


def test_a_finished_store_is_left_alone(folder: Path, tmp_path: Path) -> None:
    store = build_here([str(folder)], tmp_path / "store")
    before = {file: file.stat().st_mtime_ns for file in (tmp_path / "store").glob("s*")}
    assert build([str(folder)], tmp_path / "store", workers=1)["hash"] == store.hash
    assert before == {file: file.stat().st_mtime_ns for file in before}


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


def test_missing_sources_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(tmp_path / "absent"), "--out", str(tmp_path / "store")]) == 1
    assert "absent: no folder, tar shard or URL" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="no audio"):
        parts_of(str(tmp_path / "empty"))


def test_a_cut_off_shard_stops_the_build_and_is_named(tmp_path: Path) -> None:
    write_tar(tmp_path / "x.tar", {f"{i}.wav": wav(sound(i, 4000)) for i in range(5)})
    data = (tmp_path / "x.tar").read_bytes()
    (tmp_path / "x.tar").write_bytes(data[:20_000])
    (part,) = parts_of(str(tmp_path / "x.tar"))
    with pytest.raises(Exception, match=r"end of data|x\.tar"):
        decode_part(part, tmp_path / "000000.json")
    assert not (tmp_path / "000000.json").exists()


def test_open_names_what_is_wrong(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"python -m pretrain\.store"):
        Store.open(tmp_path)
    build_here([str(folder)], tmp_path / "store")
    os.truncate(tmp_path / "store" / "samples.i16", 100)
    with pytest.raises(StoreError, match="100 bytes of samples"):
        Store.open(tmp_path / "store")


def test_large_folders_are_cut_into_parts(tmp_path: Path) -> None:
    for i in range(501):
        (tmp_path / f"{i:04d}.wav").touch()
    parts = parts_of(str(tmp_path))
    assert [len(part.files) for part in parts] == [500, 1]
    assert parts[0].default == Meta(source=tmp_path.name)
