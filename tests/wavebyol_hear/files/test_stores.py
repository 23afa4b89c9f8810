"""Sources and output in an object store (fsspec's, in memory) are as those on disk."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from wavebyol_hear.__main__ import main
from wavebyol_hear.files import load
from wavebyol_hear.files.failures import write_errors
from wavebyol_hear.files.stores import location

pytest.importorskip("upath", reason="pip install '.[s3]'")
pq = pytest.importorskip("pyarrow.parquet")
fsspec: Any = pytest.importorskip("fsspec")

SOURCES = ("memory://bucket/shards/{00..02}.tar", "memory://bucket/loose")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Any]:
    """Three shards of four files and a folder of ten, one of them bad; the same below disk/."""
    disk, random = tmp_path / "disk", np.random.default_rng(0)

    def sound() -> bytes:
        data = io.BytesIO()
        soundfile.write(data, random.uniform(-0.3, 0.3, 4000), 16_000, format="WAV")
        return data.getvalue()

    for number in range(10):
        path = disk / f"loose/{number % 2}/größe {number}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(sound() if number else b"no audio")
    (disk / "loose/readme.txt").write_text("no audio")
    for hidden in ("loose/._a.wav", "loose/.trash/b.wav"):
        (disk / hidden).parent.mkdir(exist_ok=True)
        (disk / hidden).write_bytes(sound())
    (disk / "shards").mkdir()
    for number in range(3):
        with tarfile.open(disk / f"shards/{number:02}.tar", "w") as archive:
            for clip in range(4):
                data, member = sound(), tarfile.TarInfo(f"{clip}.wav")
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
    memory = fsspec.filesystem("memory")
    memory.put(str(disk), "/bucket", recursive=True)
    yield memory
    memory.rm("/bucket", recursive=True)


def embed(out: object, *more: object, sources: tuple[str, ...] = SOURCES) -> int:
    """Embed in parts of four files."""
    words = ["embed", *sources, "--out", out, "--model", "baselines.log_mel", "--part-size", 4]
    return main([*map(str, words), *map(str, more)])


def content(store: Any, out: str) -> dict[str, bytes]:
    return {str(path): store.cat_file(path) for path in store.find(out)}


def test_rows_are_those_of_files_on_disk(store: Any, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    assert embed(tmp_path / "out", sources=(f"{disk}/shards/{{00..02}}.tar", f"{disk}/loose")) == 1
    assert embed("memory://bucket/out") == 1
    (index, array), (there, remote) = load(tmp_path / "out"), load("memory://bucket/out")
    names = [path.removeprefix(f"{disk}/") for path in index["path"].to_pylist()]
    assert [path.partition("bucket/")[2] for path in there["path"].to_pylist()] == names
    assert len(names) == 21
    assert np.array_equal(remote, array)
    with store.open("bucket/out/errors.parquet") as file:
        (failed,) = pq.read_table(file).to_pylist()
    assert failed["path"].endswith("bucket/loose/0/größe 0.wav")
    assert "not readable as audio" in failed["reason"]
    assert main(["search", "memory://bucket/out", str(disk / "loose/0/größe 2.wav")]) == 0


def test_a_run_that_stops_goes_on_and_ends_the_same(
    store: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert embed("memory://bucket/whole") == 1
    put = type(store).put_file
    calls = []

    def failing(self: Any, source: str, target: str, **options: Any) -> None:
        calls.append(target)
        if len(calls) == 4:  # the manifest and two parts are there
            raise PermissionError("The access key has expired")
        put(self, source, target, **options)

    with monkeypatch.context() as patch:
        patch.setattr(type(store), "put_file", failing)
        assert embed("memory://bucket/broken") == 2
    assert "The access key has expired" in capsys.readouterr().err.splitlines()[-1]
    kept = content(store, "bucket/broken")
    assert len(kept) == 3
    stamps = {path: store.created(path) for path in kept}
    assert embed("memory://bucket/broken") == 1
    assert {path: store.created(path) for path in kept} == stamps
    whole = {
        path.replace("whole", "broken"): d for path, d in content(store, "bucket/whole").items()
    }
    assert content(store, "bucket/broken") == whole


def test_shares_and_the_same_share_twice_make_one_output(store: Any) -> None:
    assert embed("memory://bucket/whole") == 1
    for share in ("1/2", "0/2", "0/2"):
        embed("memory://bucket/many", "--part", share)
    whole = {path.replace("whole", "many"): d for path, d in content(store, "bucket/whole").items()}
    assert content(store, "bucket/many") == whole


def test_changed_objects_are_noticed_and_outdated_parts_go(store: Any, tmp_path: Path) -> None:
    source = ("memory://bucket/loose/1/*.wav",)
    assert embed("memory://bucket/out", sources=source) == 0
    before = content(store, "bucket/out")
    soundfile.write(tmp_path / "new.wav", np.full(3000, 0.1), 16_000)
    store.pipe_file("bucket/loose/1/größe 1.wav", (tmp_path / "new.wav").read_bytes())
    assert embed("memory://bucket/out", sources=source) == 0
    after = content(store, "bucket/out")
    assert len(after) == len(before)
    assert after.keys() != before.keys()


@pytest.mark.parametrize(
    ("out", "options", "sources", "message"),
    [
        ("memory://bucket/o", ["--format", "npy"], SOURCES, "drop it"),
        ("memory://bucket/loose", [], SOURCES, "holds other files"),
        ("nosuch://bucket/o", [], SOURCES, "nosuch://bucket/o: cannot be opened"),
        ("memory://bucket/o", [], ("memory://bucket/nothing",), "there is nothing"),
        ("memory://bucket/o", [], ("https://x.y/a.parquet",), "only tar shards and audio"),
    ],
)
def test_what_cannot_be_is_one_line(
    store: Any,
    capsys: pytest.CaptureFixture[str],
    out: str,
    options: list[str],
    sources: tuple[str, ...],
    message: str,
) -> None:
    assert embed(out, *options, sources=sources) == 2
    assert message in capsys.readouterr().err.splitlines()[-1]


def test_a_file_appears_when_its_block_ends_without_an_error(store: Any) -> None:
    place = location("memory://bucket/errors.parquet")
    with pytest.raises(AttributeError):
        write_errors(place, ["no failure"])  # type: ignore[list-item]
    assert not place.exists()
    write_errors(place, [])
    assert place.exists()
