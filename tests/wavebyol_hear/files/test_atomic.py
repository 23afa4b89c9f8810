"""Files that appear whole, hashes and locks."""

import hashlib
import logging
import os
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from wavebyol_hear.files.atomic import (
    LockedError,
    atomic_write,
    check_writable,
    file_hash,
    lock,
    regular,
    write_text,
)


@pytest.mark.parametrize("fsync", [False, True])
def test_file_appears_whole_when_the_block_ends(tmp_path: Path, fsync: bool) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with atomic_write(path, fsync=fsync) as file:
        file.write(b"new")
        file.flush()
        assert path.read_bytes() == b"old"
        assert Path(file.name).parent == tmp_path
        assert str(os.getpid()) in Path(file.name).name
    assert path.read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_behind_by_an_error(tmp_path: Path, error: type[BaseException]) -> None:
    (tmp_path / "old").write_bytes(b"old")
    for name in ("old", "new"):
        with pytest.raises(error), atomic_write(tmp_path / name) as file:  # noqa: PT012
            file.write(b"half")
            raise error
    assert os.listdir(tmp_path) == ["old"]
    assert (tmp_path / "old").read_bytes() == b"old"


def test_nothing_is_left_behind_where_it_cannot_be_renamed(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"), atomic_write(tmp_path / "folder"):
        pass
    assert os.listdir(tmp_path) == ["folder"]


def test_two_writers_of_one_file_do_not_share_what_is_beside(tmp_path: Path) -> None:
    path = tmp_path / "file"
    with atomic_write(path) as first, atomic_write(path) as second:
        first.write(b"first and long")
        second.write(b"second")
    assert path.read_bytes() == b"first and long"


def test_links_are_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "file").symlink_to(victim)
    write_text(tmp_path / "file", "new")
    assert victim.read_bytes() == b"precious"
    assert (tmp_path / "file").read_text() == "new"
    monkeypatch.setattr("secrets.token_hex", lambda _: "guessed")
    planted = tmp_path / f"file.{os.getpid()}.guessed.part"
    planted.symlink_to(victim)
    with pytest.raises(FileExistsError):
        write_text(tmp_path / "file", "newer")
    assert victim.read_bytes() == b"precious"
    assert planted.is_symlink(), "what another process made was removed"


def test_what_is_no_regular_file_is_never_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        for write in (check_writable, lambda path: write_text(path, "x")):
            with pytest.raises(FileExistsError) as caught:
                write(tmp_path / name)
            assert caught.value.filename == str(tmp_path / name)
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)


def test_whether_a_file_can_be_written_is_known_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "there").write_text("old")
    check_writable(tmp_path / "there")
    check_writable(tmp_path / "new")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]
    with pytest.raises(FileNotFoundError) as caught:
        check_writable(tmp_path / "absent" / "file")
    assert caught.value.filename == str(tmp_path / "absent" / "file")


def test_umask_is_respected(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "file", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


def test_longest_name_and_text_in_utf8(tmp_path: Path) -> None:
    path = tmp_path / ("ü" * 127)
    write_text(path, "größer")
    assert path.read_bytes() == "größer".encode()


def test_file_hash_is_blake2b(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc" * 100_000)
    expected = hashlib.blake2b(b"abc" * 100_000, digest_size=16).hexdigest()
    assert file_hash(tmp_path / "file") == expected
    with pytest.raises(FileNotFoundError):
        file_hash(tmp_path / "absent")


def test_lock_names_its_holder_and_is_free_again(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    with lock(path, "the run", "choose another --out"):
        code = (
            "import sys; from wavebyol_hear.files.atomic import lock, LockedError\n"
            "try:\n    lock(sys.argv[1], 'the run', 'choose another --out').__enter__()\n"
            "except LockedError as error:\n    print(error)"
        )
        other = subprocess.run(
            [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
        )
        assert other.stdout.count("\n") == 1
        assert f"the run is in use by process {os.getpid()} on" in other.stdout
        assert other.stdout.endswith("choose another --out\n")
    with lock(path, "the run", "choose another --out"):
        pass


def test_lock_waits_and_outlives_no_process(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    with pytest.raises(LockedError), lock(path, "a", "b"), lock(path, "a", "b", timeout=0.2):
        pass
    process = subprocess.Popen(
        [
            *(sys.executable, "-c"),
            "import sys, time; from wavebyol_hear.files.atomic import lock\n"
            "with lock(sys.argv[1], 'a', 'b'):\n    print(flush=True); time.sleep(60)",
            path,
        ],
        stdout=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.readline()
    with pytest.raises(LockedError), lock(path, "a", "b"):
        pass
    process.kill()
    with lock(path, "a", "b", timeout=30):
        pass
    process.wait()
    process.stdout.close()


def test_lock_is_released_though_a_forked_child_lives(tmp_path: Path) -> None:
    path = tmp_path / "run.lock"
    with lock(path, "a", "b"):
        child = os.fork()
        if child == 0:
            time.sleep(60)
            os._exit(0)
    try:
        with lock(path, "a", "b"):
            pass
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)


def test_file_systems_without_locks_are_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    with caplog.at_level(logging.WARNING), lock(tmp_path / "run.lock", "the run", "b"):
        pass
    assert "the run" in caplog.text
    assert "not supported" in caplog.text


def test_a_pipe_is_not_waited_for_and_a_device_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(OSError, match="not a regular file"):
            open(path, "rb", opener=regular)  # noqa: SIM115
    (tmp_path / "file").write_bytes(b"1")
    with open(tmp_path / "file", "rb", opener=regular) as file:
        assert file.read() == b"1"
