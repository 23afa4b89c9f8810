"""From a server on loopback to a task's clips: resuming, verifying, and what must not unpack."""

import hashlib
import io
import json
import re
import shutil
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from benchmark.download import __main__ as download
from benchmark.download import transfer
from benchmark.download.extract import ExtractError, unpack
from benchmark.download.fsd50k import FSD50K
from benchmark.download.transfer import BLOCK_BYTES, DownloadError, fetch
from benchmark.records import Corpus, Source, Task
from benchmark.tasks.registry import load_tasks
from tests.synth import TREES

TASKS = load_tasks()


class Server(ThreadingHTTPServer):
    """Serves `files` with ranges and ETags; breaks each answer off after `breaks.pop(0)` bytes."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.breaks: list[int] = []
        self.busy = 0
        self.asked: list[tuple[str, str | None]] = []
        self.served = 0
        self.tags = True

    def source(self, name: str, checksum: str = "", **more) -> Source:
        return Source(f"http://127.0.0.1:{self.server_port}/{name}", checksum, **more)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        content = self.server.files.get(self.path[1:])
        wanted = self.headers["Range"]
        self.server.asked.append((self.path[1:], wanted))
        if content is None or self.server.busy:
            self.send_error(503 if self.server.busy else 404)
            self.server.busy -= self.server.busy > 0
            return
        tag = f'"{hashlib.md5(content).hexdigest()}"'
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) if wanted else 0
        if self.headers["If-Range"] not in (None, tag):
            start = 0
        if start and start >= len(content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(content)}")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(206 if start else 200)
        if self.server.tags:
            self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        body = content[start:]
        if self.server.breaks:
            body = body[: self.server.breaks.pop(0)]
            self.close_connection = True
        self.wfile.write(body)
        self.server.served += len(body)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(transfer, "WAIT_SECONDS", 0.0)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def md5(content: bytes) -> str:
    return "md5:" + hashlib.md5(content).hexdigest()


def zip_of(folder: Path) -> bytes:
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
    return memory.getvalue()


def tar_of(folder: Path) -> bytes:
    """As the official tars of Speech Commands: members named ./..."""
    memory = io.BytesIO()
    with tarfile.open(fileobj=memory, mode="w:gz") as archive:
        archive.add(folder, ".")
    return memory.getvalue()


OFFICIAL = {
    "esc50": ("master.zip", zip_of),
    "urbansound8k": ("UrbanSound8K.tar.gz", tar_of),
    "speech_commands": ("speech_commands_v0.02.tar.gz", tar_of),
    "ravdess": ("Audio_Speech_Actors_01-24.zip", zip_of),
}


def serve_task(server: Server, name: str, folder: Path) -> Task:
    """The task, with its archive as the server has it."""
    file, pack = OFFICIAL[name]
    assert TASKS[name].sources[0].file == file
    TREES[name](folder)
    server.files[file] = pack(folder)
    return replace(TASKS[name], sources=(server.source(file, md5(server.files[file])),))


@pytest.mark.parametrize("name", OFFICIAL)
def test_an_official_archive_becomes_the_task(name: str, server: Server, tmp_path: Path) -> None:
    task = serve_task(server, name, tmp_path / "made")
    said = "\n".join(download.bring(task, tmp_path / "data"))
    clips = task.index(tmp_path / "data" / name)
    assert clips == task.index(tmp_path / "made")
    for clip in clips:
        brought = (tmp_path / "data" / name / clip.path).read_bytes()
        assert brought == (tmp_path / "made" / clip.path).read_bytes()
    assert f"partial in {tmp_path / 'data' / name}: {len(clips)} of {task.sample_counts}" in said
    assert task.licence in said
    assert [path.name for path in (tmp_path / "data").iterdir()] == [name]


def test_a_second_call_asks_nothing(server: Server, tmp_path: Path) -> None:
    task = serve_task(server, "esc50", tmp_path / "made")
    download.bring(task, tmp_path / "data")
    asked = list(server.asked)
    download.bring(task, tmp_path / "data")
    assert server.asked == asked == [("master.zip", None)]


def test_nsynth_comes_in_three_archives(server: Server, tmp_path: Path) -> None:
    TREES["nsynth"](tmp_path / "made")
    sources = []
    for folder in sorted((tmp_path / "made").iterdir()):
        alone = tmp_path / "alone" / folder.name
        shutil.copytree(folder, alone / folder.name)
        file = f"{folder.name}.jsonwav.tar.gz"
        server.files[file] = tar_of(alone)
        sources.append(server.source(file))
    task = replace(TASKS["nsynth"], sources=tuple(sources))
    said = "\n".join(download.bring(task, tmp_path / "data"))
    assert task.index(tmp_path / "data/nsynth") == task.index(tmp_path / "made")
    # Without a published checksum the command says what it found.
    for file, content in server.files.items():
        assert f"{file} has sha256:{hashlib.sha256(content).hexdigest()}" in said


def test_a_broken_transfer_goes_on(server: Server, tmp_path: Path) -> None:
    content = bytes(range(256)) * 4000
    server.files["a.zip"] = content
    server.breaks = [5 * BLOCK_BYTES, 3 * BLOCK_BYTES + 100]
    path, remark = fetch(server.source("a.zip", md5(content)), tmp_path)
    assert path.read_bytes() == content
    assert remark == ""
    assert server.served == len(content) + 100  # none came twice but those of a broken block
    wanted = [f"bytes={blocks * BLOCK_BYTES}-" for blocks in (5, 8)]
    assert [asked for _, asked in server.asked] == [None, *wanted]


@pytest.mark.parametrize("known", [True, False])
def test_the_next_command_goes_on_too(known: bool, server: Server, tmp_path: Path) -> None:
    content = bytes(range(256)) * 4000
    server.files["a.zip"] = content
    source = server.source("a.zip", md5(content) if known else "")
    server.breaks = [4 * BLOCK_BYTES, 0, 0, 0, 0, 0]
    with pytest.raises(DownloadError, match="262144 bytes are kept"):
        fetch(source, tmp_path)
    server.breaks.clear()
    path, _ = fetch(source, tmp_path)
    assert path.read_bytes() == content
    assert server.served == len(content)
    assert [file.name for file in tmp_path.iterdir()] == ["a.zip"]


def test_two_versions_of_a_file_are_never_joined(server: Server, tmp_path: Path) -> None:
    server.files["a.zip"] = b"old" * 1000
    server.breaks = [500, 0, 0, 0, 0, 0]
    with pytest.raises(DownloadError):
        fetch(server.source("a.zip"), tmp_path)
    server.files["a.zip"] = b"new" * 1000
    server.breaks.clear()
    path, _ = fetch(server.source("a.zip"), tmp_path)
    assert path.read_bytes() == b"new" * 1000


def test_without_checksum_and_version_a_transfer_starts_anew(
    server: Server, tmp_path: Path
) -> None:
    server.tags = False
    server.files["a.zip"] = b"abc" * 1000
    server.breaks = [500]
    path, _ = fetch(server.source("a.zip"), tmp_path)
    assert path.read_bytes() == b"abc" * 1000
    assert server.asked == [("a.zip", None)] * 2


def test_a_transfer_cut_off_after_its_last_byte_is_done(server: Server, tmp_path: Path) -> None:
    content = b"abc" * 1000
    server.files["a.zip"] = content
    (tmp_path / "a.zip.part").write_bytes(content)
    path, _ = fetch(server.source("a.zip", md5(content)), tmp_path)
    assert path.read_bytes() == content
    assert server.served == 0


def test_a_wrong_checksum_is_refused(server: Server, tmp_path: Path) -> None:
    task = serve_task(server, "esc50", tmp_path / "made")
    bad = replace(task, sources=(replace(task.sources[0], checksum="md5:" + "0" * 32),))
    with pytest.raises(DownloadError, match="the checksum is not md5:0000"):
        download.bring(bad, tmp_path / "data")
    assert not (tmp_path / "data/esc50").exists()
    assert list((tmp_path / "data/esc50.download/archives").iterdir()) == []
    download.bring(task, tmp_path / "data")
    assert (tmp_path / "data/esc50/ESC-50-master/meta/esc50.csv").is_file()


def test_a_repacked_archive_is_taken_and_remarked(server: Server, tmp_path: Path) -> None:
    task = serve_task(server, "esc50", tmp_path / "made")
    old = replace(task.sources[0], checksum="md5:" + "0" * 32, repacked=True)
    said = download.bring(replace(task, sources=(old,)), tmp_path / "data")
    assert f"{md5(server.files['master.zip'])}, not md5:0000" in said[0]
    assert json.loads((tmp_path / "data/esc50" / download.DONE).read_text())["remarks"] == said[:1]


def test_a_busy_server_is_asked_again(server: Server, tmp_path: Path) -> None:
    server.files["a.zip"], server.busy = b"abc", 2
    path, _ = fetch(server.source("a.zip", md5(b"abc")), tmp_path)
    assert path.read_bytes() == b"abc"
    assert len(server.asked) == 3


def test_a_missing_archive_is_named(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=r"404.*absent\.zip"):
        fetch(server.source("absent.zip"), tmp_path)


def test_a_full_disk_is_told_before_the_transfer(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.files["a.zip"] = b"abc" * 1000
    usage = shutil.disk_usage(tmp_path)._replace(free=2999)
    monkeypatch.setattr(transfer.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(DownloadError, match="make room"):
        fetch(server.source("a.zip"), tmp_path)


def test_what_lies_there_is_never_overwritten(server: Server, tmp_path: Path) -> None:
    task = serve_task(server, "esc50", tmp_path / "data/esc50")
    with pytest.raises(DownloadError, match=r"holds something already.*30 of 2000 clips"):
        download.bring(task, tmp_path / "data")
    assert server.asked == []


def test_a_half_unpacked_set_is_not_there(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = serve_task(server, "speech_commands", tmp_path / "made")

    def stop(parts: list[Path], folder: Path) -> None:
        unpack(parts, folder)
        (folder / "yes/00000000_nohash_0.wav").unlink()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(download, "unpack", stop)
        with pytest.raises(KeyboardInterrupt):
            download.bring(task, tmp_path / "data")
    assert not (tmp_path / "data/speech_commands").exists()
    download.bring(task, tmp_path / "data")
    assert len(task.index(tmp_path / "data/speech_commands")) == 18
    assert len(server.asked) == 1  # the archive was kept


def split_zip(whole: bytes, cuts: list[int]) -> list[bytes]:
    """Cut a ZIP into parts and give each member and the directory its part and place there.

    The fields are those of APPNOTE.TXT, 4.3.12 and 4.3.16.
    """
    data = bytearray(whole)
    ends = [*cuts, len(data)]

    def part_of(place: int) -> tuple[int, int]:
        number = sum(place >= cut for cut in cuts)
        return number, place - (0 if number == 0 else cuts[number - 1])

    tail = data.rindex(b"PK\5\6")
    directory = int.from_bytes(data[tail + 16 : tail + 20], "little")
    at = directory
    while data[at : at + 4] == b"PK\1\2":
        number, place = part_of(int.from_bytes(data[at + 42 : at + 46], "little"))
        data[at + 34 : at + 36] = number.to_bytes(2, "little")
        data[at + 42 : at + 46] = place.to_bytes(4, "little")
        at += 46 + sum(int.from_bytes(data[at + i : at + i + 2], "little") for i in (28, 30, 32))
    number, place = part_of(directory)
    data[tail + 4 : tail + 6] = len(cuts).to_bytes(2, "little")
    data[tail + 6 : tail + 8] = number.to_bytes(2, "little")
    data[tail + 16 : tail + 20] = place.to_bytes(4, "little")
    return [bytes(data[a:b]) for a, b in zip([0, *cuts], ends, strict=True)]


@pytest.mark.parametrize("in_directory", [False, True])
def test_fsd50k_comes_in_parts(in_directory: bool, server: Server, tmp_path: Path) -> None:
    audio = tmp_path / "made/FSD50K.dev_audio"
    audio.mkdir(parents=True)
    for number in range(20):
        noise = hashlib.shake_128(b"%d" % number).digest(5000 + number)
        (audio / f"{number}.wav").write_bytes(noise)
    whole = zip_of(tmp_path / "made")
    directory = whole.index(b"PK\1\2")
    cuts = [30_000, directory + 100 if in_directory else 70_000]  # inside members and directory
    for suffix, part in zip(("z01", "z02", "zip"), split_zip(whole, cuts), strict=True):
        server.files[f"FSD50K.dev_audio.{suffix}"] = part
    sources = tuple(server.source(name, md5(part)) for name, part in server.files.items())
    corpus = replace(FSD50K, sources=sources)
    download.bring(corpus, tmp_path / "data")
    brought = tmp_path / "data/fsd50k/FSD50K.dev_audio"
    assert {p.name: p.read_bytes() for p in brought.iterdir()} == {
        p.name: p.read_bytes() for p in audio.iterdir()
    }


def test_a_part_that_is_missing_is_named(tmp_path: Path) -> None:
    parts = [tmp_path / "a.z02", tmp_path / "a.zip"]
    for part in parts:
        part.write_bytes(b"PK")
    with pytest.raises(ExtractError, match=r"the part a\.z01 is missing.*zip -s 0"):
        unpack(parts, tmp_path / "out")


def write_zip(path: Path, name: str, mode: int) -> None:
    member = zipfile.ZipInfo(name)
    member.external_attr = mode << 16
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("good.wav", b"good")
        archive.writestr(member, b"/etc/passwd")


def write_tar(path: Path, name: str, kind: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, "/etc/passwd"
    with tarfile.open(path, "w:gz") as archive:
        archive.addfile(tarfile.TarInfo("good.wav"))
        archive.addfile(member)


@pytest.mark.parametrize(
    "name", ["../evil", "/tmp/evil", "a/../../evil", "a\\..\\evil", "C:/evil", "a/.."]
)
@pytest.mark.parametrize("suffix", ["zip", "tar.gz"])
def test_a_path_that_leaves_the_folder_is_refused(name: str, suffix: str, tmp_path: Path) -> None:
    archive = tmp_path / f"a.{suffix}"
    if suffix == "zip":
        write_zip(archive, name, 0o100644)
    else:
        write_tar(archive, name, tarfile.REGTYPE)
    with pytest.raises(ExtractError, match="leads out of the folder"):
        unpack([archive], tmp_path / "out/inner")
    assert not list(tmp_path.rglob("evil"))


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE]
)
def test_links_and_devices_in_a_tar_are_refused(kind: bytes, tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar.gz", "odd", kind)
    with pytest.raises(ExtractError, match="'odd' is a link or a device"):
        unpack([tmp_path / "a.tar.gz"], tmp_path / "out")
    assert not (tmp_path / "out/odd").exists()


@pytest.mark.parametrize("mode", [0o120777, 0o020666, 0o010644])
def test_links_and_devices_in_a_zip_are_refused(mode: int, tmp_path: Path) -> None:
    write_zip(tmp_path / "a.zip", "odd", mode)
    with pytest.raises(ExtractError, match="'odd' is a link or a device"):
        unpack([tmp_path / "a.zip"], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("suffix", ["zip", "tar.gz"])
def test_a_damaged_archive_is_named(suffix: str, tmp_path: Path) -> None:
    (tmp_path / "made").mkdir()
    (tmp_path / "made/a.wav").write_bytes(hashlib.shake_128(b"a").digest(50_000))
    content = zip_of(tmp_path / "made") if suffix == "zip" else tar_of(tmp_path / "made")
    archive = tmp_path / f"a.{suffix}"
    archive.write_bytes(content[:20_000])
    with pytest.raises(ExtractError, match="cannot be unpacked"):
        unpack([archive], tmp_path / "out")


def test_sets_that_no_command_can_fetch_get_instructions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert download.main(["voxceleb1", "voxforge", "--data-dir", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert "form" in said
    assert "voxforge_urls.txt" in said
    assert str(tmp_path / "voxceleb1") in said
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_what_failed_and_goes_on(
    server: Server,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    good = serve_task(server, "esc50", tmp_path / "made")
    gone = replace(TASKS["ravdess"], sources=(server.source("gone.zip", size=9),))
    monkeypatch.setattr(download, "load_tasks", lambda: {"esc50": good, "ravdess": gone})
    asked = ["ravdess", "esc50", "--data-dir", str(tmp_path / "data")]
    assert download.main(asked) == 1
    out, err = capsys.readouterr()
    assert "gone.zip" in err
    assert "partial in" in out
    assert download.main(["esc50", "--data-dir", str(tmp_path / "data")]) == 0
    with pytest.raises(SystemExit) as caught:
        download.main(["nonsense"])
    assert caught.value.code == 2


@pytest.mark.parametrize("data", [*TASKS.values(), FSD50K], ids=lambda data: data.name)
def test_every_set_can_be_fetched_or_says_how(data: Task | Corpus) -> None:
    by_hand = isinstance(data, Task) and data.by_hand
    for source in data.sources:
        assert source.size >= 0
        algorithm, _, digest = source.checksum.partition(":")
        assert len(digest) == {"": 0, "md5": 32, "sha256": 64}[algorithm]
        assert by_hand or re.search(r"\.(zip|tar\.gz|z0\d)$", source.file)
