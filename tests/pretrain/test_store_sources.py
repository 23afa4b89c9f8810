"""FSD50K, tar shards and their index become clips with what is known of them."""

import csv
import gzip
import http.server
import io
import os
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from pretrain.data.store_build import decode_part
from pretrain.data.store_sources import Meta, SourceError, parts_of
from pretrain.store import main
from tests.pretrain.synthetic_sources import build_here, column, sound, wav, write_tar


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
    assert column(tmp_path / "store", "labels") == ["Rain", "Bark,Dog"]
    assert column(tmp_path / "store", "licence") == ["CC BY 4.0", "CC0"]
    assert column(tmp_path / "store", "source") == ["FSD50K dev (val)", "FSD50K dev (train)"]


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
    for name in ("far", "near"):
        assert column(tmp_path / name, "labels") == ["3", ""]
    assert torch.equal(far.files[0], near.files[0])
    assert near.lengths.tolist() == [700, 900]


def test_shards_in_an_object_store_are_read_and_one_that_is_not_there_is_an_error() -> None:
    pytest.importorskip("upath", reason="pip install '.[s3]'")
    fsspec: Any = pytest.importorskip("fsspec")
    shard = io.BytesIO()
    with tarfile.open(fileobj=shard, mode="w") as archive:
        data = wav(sound(1, 700))
        member = tarfile.TarInfo("k1.wav")
        member.size = len(data)
        archive.addfile(member, io.BytesIO(data))
    fsspec.filesystem("memory").pipe_file("/shards/x.tar", shard.getvalue())
    (part,) = parts_of("memory://shards/x.tar")
    assert [(raw.clip_id, raw.audio) for raw in part.clips()] == [("k1", data)]
    (absent,) = parts_of("memory://shards/y.tar")
    with pytest.raises(FileNotFoundError):
        list(absent.clips())


def test_the_index_beside_shards_describes_their_clips(tmp_path: Path) -> None:
    header = ("id", "seconds", "kind", "source", "licence")
    rows = [
        (f"c{i}", f"{0.1 * (i + 1):.3f}", ("speech", "music")[i % 2], f"archive {i}", "CC0")
        for i in range(4)
    ]
    members = {f"{row[0]}.wav": wav(sound(i, 1600 * (i + 1))) for i, row in enumerate(rows)}
    write_tar(tmp_path / "corpus-00.tar", members)
    with (tmp_path / "index.csv").open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows, ("of another shard", "9", "x", "y", "z")])
    store = build_here([str(tmp_path / "corpus-00.tar")], tmp_path / "store")
    assert len(store) == 4
    for number, clip_id in enumerate(store.clip_ids):
        row = dict(zip(header, rows[int(clip_id[1:])], strict=True))
        assert store.lengths[number] / 16_000 == pytest.approx(float(row["seconds"]), abs=1e-3)
        assert store.kinds[number] == row["kind"]
        for name in ("source", "licence"):
            assert column(tmp_path / "store", name)[number] == row[name]
        assert store.clip(number).float().std() > 10


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
    with pytest.raises(tarfile.ReadError, match="end of data"):
        decode_part(part, tmp_path / "000000.json")
    assert not (tmp_path / "000000.json").exists()


def cut_at_a_members_end(data: bytes) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        return data[: tar.getmembers()[2].offset]


def header_damaged(data: bytes) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        at = tar.getmembers()[2].offset
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def wrong_crc(data: bytes) -> bytes:
    packed = bytearray(gzip.compress(data))
    packed[-8] ^= 1
    return bytes(packed)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (cut_at_a_members_end, "the archive's end is not marked"),
        (header_damaged, "damaged: bad checksum"),
        (wrong_crc, "CRC check failed"),
        (lambda data: gzip.compress(data)[:-3000], "ended before the end-of-stream"),
    ],
)
def test_a_damaged_shard_is_named_with_its_reason(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    damage: Callable[[bytes], bytes],
    reason: str,
) -> None:
    write_tar(tmp_path / "x.tar", {f"{i}.wav": wav(sound(i, 4000)) for i in range(5)})
    data = damage((tmp_path / "x.tar").read_bytes())
    (tmp_path / "x.tar").write_bytes(data)
    (part,) = parts_of(str(tmp_path / "x.tar"))
    with pytest.raises((tarfile.TarError, OSError, EOFError), match=reason):
        decode_part(part, tmp_path / "000000.json")
    assert not (tmp_path / "000000.json").exists()


@pytest.mark.parametrize("pack", [lambda data: data, gzip.compress])
def test_whole_shards_are_read_packed_or_not(
    tmp_path: Path, pack: Callable[[bytes], bytes]
) -> None:
    write_tar(tmp_path / "x.tar", {"a/k.wav": wav(sound(1, 700)), "a/k.CLS": b"3", "no_dot": b""})
    (tmp_path / "y.tar.gz").write_bytes(pack((tmp_path / "x.tar").read_bytes()))
    store = build_here([str(tmp_path / "y.tar.gz")], tmp_path / "store")
    assert (store.clip_ids, column(tmp_path / "store", "labels")) == (("a/k",), ["3"])


@contextmanager
def serving(answer: Callable[[http.server.BaseHTTPRequestHandler], None]) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answer(self)

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/a.tar"
        server.shutdown()


def test_the_text_of_a_servers_error_is_told(tmp_path: Path) -> None:
    def refuse(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_error(404)

    with serving(refuse) as url:
        command = [sys.executable, "-m", "pretrain.store", url, "--out", str(tmp_path / "store")]
        done = subprocess.run([*command, "--workers", "1"], capture_output=True, text=True)
        assert done.returncode == 1
        assert f"{url}: HTTPError: HTTP Error 404: Not Found" in done.stderr
        assert "Traceback" not in done.stderr
    (part,) = parts_of(url)
    with pytest.raises(OSError, match="Connection refused"):
        list(part.clips())


def test_a_body_shorter_than_promised_is_an_error(tmp_path: Path) -> None:
    write_tar(tmp_path / "x.tar", {"a.wav": wav(sound(1, 700))})
    data = (tmp_path / "x.tar").read_bytes()

    def shorten(handler: http.server.BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data) + 1000))
        handler.end_headers()
        handler.wfile.write(data)

    with serving(shorten) as url:
        (part,) = parts_of(url)
        with pytest.raises(OSError, match=f"ended after {len(data)} of {len(data) + 1000} bytes"):
            list(part.clips())


def test_the_name_of_a_file_is_never_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_tar(tmp_path / "a.tar", {"a.wav": wav(sound(1, 700))})
    named = tmp_path / "pipe:touch MARKER; cat a.tar #.tar"
    named.write_bytes((tmp_path / "a.tar").read_bytes())
    monkeypatch.chdir(tmp_path)
    store = build_here(["."], tmp_path / "store")
    assert len(store) == 2
    assert not (tmp_path / "MARKER").exists()
    (typed,) = parts_of("pipe:cat a.tar")
    assert [raw.clip_id for raw in typed.clips()] == ["a"]


def test_a_folder_is_read_through_links_and_without_hidden_files(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root, elsewhere = tmp_path / "root", tmp_path / "elsewhere"
    for folder in (root / "deep", root / ".ipynb_checkpoints", elsewhere):
        folder.mkdir(parents=True)
    kept = [root / "a.wav", root / "deep" / "b.WAV", elsewhere / "c.flac"]
    hidden = [root / "._a.wav", root / ".ipynb_checkpoints" / "a.wav"]
    for path in (*kept, *hidden, root / "d.m4a", root / "e.M4A", root / "notes.txt"):
        path.touch()
    (root / "linked").symlink_to(elsewhere)
    (root / "deep" / "round").symlink_to(root)  # a circle
    (root / "gone.wav").symlink_to(root / "nowhere.wav")
    os.mkfifo(root / "pipe.wav")
    (part,) = parts_of(str(root))
    assert [clip_id for clip_id, _ in part.files] == ["a.wav", "deep/b.WAV", "linked/c.flac"]
    assert "2 files are left out: .m4a" in caplog.text
    assert "2 files are left out: audio names that are no files" in caplog.text


def test_a_folder_that_may_not_be_listed_is_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "closed").mkdir()
    (tmp_path / "a.wav").touch()
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    (part,) = parts_of(str(tmp_path))
    assert len(part.files) == 1
    assert "closed: cannot be listed" in caplog.text
    assert "Permission denied" in caplog.text


def test_a_name_that_is_no_utf8_is_kept(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    name = os.fsencode(tmp_path) + b"/src/caf\xe9"
    for ending, data in ((b".wav", wav(sound(1, 500))), (b".flac", b"no sound")):
        with open(name + ending, "wb") as file:
            file.write(data)
    store = build_here([str(tmp_path / "src")], tmp_path / "store")
    assert store.clip_ids == ("caf\\xe9.wav",)
    assert "caf\\xe9.flac" in (tmp_path / "store" / "bad.tsv").read_text()


def test_large_folders_are_cut_into_parts(tmp_path: Path) -> None:
    for i in range(501):
        (tmp_path / f"{i:04d}.wav").touch()
    parts = parts_of(str(tmp_path))
    assert [len(part.files) for part in parts] == [500, 1]
    assert parts[0].default == Meta(source=tmp_path.name)
