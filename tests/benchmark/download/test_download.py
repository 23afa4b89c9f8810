"""From a server on loopback to a task's clips: what is there, what is asked, what cannot be had."""

import hashlib
import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from benchmark.data.clip import BenchmarkError, Task
from benchmark.data.registry import load_tasks
from benchmark.download import __main__ as download
from benchmark.download.extract import ExtractError, unpack
from benchmark.download.transfer import DownloadError
from tests.benchmark.file_server import Server, md5, tar_of, zip_of
from tests.synth import TREES

TASKS = load_tasks()
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
    assert f"partial in {tmp_path / 'data' / name}: {len(clips)} of {task.n_clips}" in said
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


@pytest.mark.parametrize("data", [*TASKS.values(), download.FSD50K], ids=lambda data: data.name)
def test_every_set_can_be_fetched_or_says_how(data: Task | download.Corpus) -> None:
    by_hand = isinstance(data, Task) and data.by_hand
    for source in data.sources:
        assert source.size >= 0
        algorithm, _, digest = source.checksum.partition(":")
        assert len(digest) == {"": 0, "md5": 32, "sha256": 64}[algorithm]
        assert by_hand or re.search(r"\.(zip|tar\.gz|z0\d)$", source.file)


def test_two_commands_for_one_set_bring_it_once(server: Server, tmp_path: Path) -> None:
    task = serve_task(server, "urbansound8k", tmp_path / "made")
    with ThreadPoolExecutor(3) as pool:
        said = list(pool.map(lambda _: download.bring(task, tmp_path / "data"), range(3)))
    assert len({tuple(lines) for lines in said}) == 1
    assert len(server.asked) == 1
    assert task.index(tmp_path / "data/urbansound8k") == task.index(tmp_path / "made")
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["urbansound8k"]


def test_an_archive_that_is_refused_is_fetched_anew_by_the_next_command(
    server: Server, tmp_path: Path
) -> None:
    task = serve_task(server, "esc50", tmp_path / "made")
    task = replace(task, sources=(replace(task.sources[0], checksum=""),))
    good = server.files["master.zip"]
    server.files["master.zip"] = good[: len(good) // 2]
    with pytest.raises(ExtractError, match="run the command again"):
        download.bring(task, tmp_path / "data")
    server.files["master.zip"] = good  # the publisher has fixed it
    download.bring(task, tmp_path / "data")
    assert len(task.index(tmp_path / "data/esc50")) == 30


def test_an_archive_stays_where_there_is_no_room_to_unpack_it(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = serve_task(server, "esc50", tmp_path / "made")
    fetched = tmp_path / "data/esc50.download/archives/master.zip"

    def usage(folder: Path) -> object:
        free = 0 if fetched.is_file() else 1 << 40
        return SimpleNamespace(free=free)

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", usage)
        with pytest.raises(BenchmarkError, match="make room and run the command again"):
            download.bring(task, tmp_path / "data")
    assert fetched.is_file()
    download.bring(task, tmp_path / "data")
    assert len(server.asked) == 1


def test_a_name_that_is_nearly_a_set_is_guessed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        download.main(["ESC-50"])
    assert "(did you mean esc50?)" in capsys.readouterr().err
