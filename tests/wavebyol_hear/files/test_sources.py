"""What a user can point at, and the order and identity of the list that comes of it."""

import gzip
import http.server
import io
import os
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from wavebyol_hear.files.containers import Contents
from wavebyol_hear.files.decode import decode
from wavebyol_hear.files.sources import Listing, SourceError, expand_braces
from wavebyol_hear.files.tables import TableError

pa = pytest.importorskip("pyarrow")
import pyarrow.parquet as pq  # noqa: E402


def sound(number: int, form: str = "WAV") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.full(160 + number, number / 1000), 16_000, format=form)
    return file.getvalue()


def write(path: Path, number: int = 0) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(sound(number))
    return str(path)


def listed(*sources: object, **options: object) -> list[str]:
    """Paths of the entries; those that cannot be read as `path!reason`."""
    parts = Listing(**options).parts([str(s) for s in sources])  # type: ignore[arg-type]
    items = [item for part in parts for item in part.items]
    return [f"{item.path}!{item.error}" if item.error else item.path for item in items]


def lengths_of(folder: Path, *sources: object) -> dict[str, int]:
    """Names of the clips that can be decoded, with the number that each sound was made of."""
    clips = {}
    for part in Listing().parts([str(s) for s in sources]):
        contents = Contents(part, folder)
        for clip in contents.clips:
            number = -1
            if clip.source is not None:
                number = len(decode(clip.source, 16_000, folder).wave) - 160
            clips[clip.name] = number
        contents.close()
    return clips


def shard(path: Path, numbers: range, mode: str = "w") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for number in numbers:
            for name, data in (
                (f"{number}.wav", sound(number)),
                (f"{number}.json", b"{}"),
                (f"../../out-{number}.flac", sound(number, "FLAC")),
            ):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                archive.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("link.wav")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    return path


def members(path: Path, numbers: range) -> dict[str, int]:
    names = [
        (f"{path}::{name}", n) for n in numbers for name in (f"{n}.wav", f"../../out-{n}.flac")
    ]
    return dict(names)


def test_folders_are_walked_in_one_order_and_other_files_left_out(tmp_path: Path) -> None:
    for name in ("b/2.wav", "b/1.FLAC", "a.wav", "b/c/d.ogg", "Z.mp3"):
        write(tmp_path / name)
    for name in ("notes.txt", "b/cover.jpg"):
        (tmp_path / name).write_text("x")
    for name in ("._a.wav", "b/.cache/e.wav"):  # hidden, as a Mac and tools leave them
        write(tmp_path / name)
    listing = Listing(part_size=2)
    parts = list(listing.parts([str(tmp_path)]))
    names = [item.path.removeprefix(f"{tmp_path}/") for part in parts for item in part.items]
    assert names == ["Z.mp3", "a.wav", "b/1.FLAC", "b/2.wav", "b/c/d.ogg"]
    assert [len(part.items) for part in parts] == [2, 2, 1]
    assert listing.skipped == 2
    again = list(Listing(part_size=2).parts([str(tmp_path)]))
    assert [p.digest for p in parts] == [p.digest for p in again]
    os.utime(tmp_path / "a.wav", ns=(0, 1))
    changed = [p.digest for p in Listing(part_size=2).parts([str(tmp_path)])]
    assert [a == b.digest for a, b in zip(changed, parts, strict=True)] == [False, True, True]


def test_links_are_followed_inside_the_folder_and_out_of_it_only_when_asked(
    tmp_path: Path,
) -> None:
    top = tmp_path / "top"
    write(top / "a.wav")
    outside = write(tmp_path / "outside/secret.wav")
    (top / "in.wav").symlink_to(top / "a.wav")
    (top / "out.wav").symlink_to(outside)
    (top / "folder").symlink_to(tmp_path / "outside")
    (top / "loop").symlink_to(top)
    assert listed(top) == [
        f"{top}/a.wav",
        f"{top}/in.wav",
        f"{top}/out.wav!a link that leads out of the folder; --follow-links reads it",
    ]
    assert listed(top, follow_links=True) == [
        *(f"{top}/a.wav", f"{top}/in.wav", f"{top}/out.wav", f"{top}/folder/secret.wav"),
    ]


def test_pipes_and_devices_are_never_opened(tmp_path: Path) -> None:
    for name in ("a.wav", "b.tar", "c.parquet"):
        os.mkfifo(tmp_path / name)
    reason = "!not a regular file; drop it from the list"
    names = [f"{tmp_path}/{name}" for name in ("a.wav", "b.tar", "c.parquet")]
    assert listed(tmp_path) == [f"{name}{reason}" for name in names]
    assert listed(*names, "/dev/zero") == [f"{name}{reason}" for name in (*names, "/dev/zero")]


def test_a_list_may_come_from_a_pipe(tmp_path: Path) -> None:
    path = write(tmp_path / "a.wav")
    reading, writing = os.pipe()
    with open(writing, "w") as file:
        file.write(f"{path}\n" * 3)
    assert listed(f"@/dev/fd/{reading}") == [path] * 3
    os.close(reading)


def test_the_output_is_not_its_own_input(tmp_path: Path) -> None:
    write(tmp_path / "a.wav")
    write(tmp_path / "out/b.wav")
    assert listed(tmp_path, out=tmp_path / "out") == [f"{tmp_path}/a.wav"]


@pytest.mark.parametrize("separator", ["\n", "\r\n", "\0"])
def test_lists_hold_a_path_on_each_line(tmp_path: Path, separator: str) -> None:
    odd = os.fsdecode(b"caf\xe9 {1..2}.wav")
    names = ["a b.wav", odd, str(tmp_path / "deep/c.wav"), "missing.wav"]
    if separator == "\0":
        names.append("line\nbreak.wav")
    for name in names:
        if "missing" not in name:
            write(tmp_path / name)
    (tmp_path / "l.txt").write_bytes(os.fsencode(separator.join([*names, ""])))
    expected = [name if name.startswith("/") else f"{tmp_path}/{name}" for name in names]
    expected[3] = "missing.wav"  # in neither folder: an entry, whose decoding says so
    result = listed(f"@{tmp_path}/l.txt")
    assert [p for p in result if "missing" not in p] == [p for p in expected if "missing" not in p]
    assert len(result) == len(expected)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize(("delimiter", "end"), [(",", "\n"), (";", "\r\n"), ("\t", "\n")])
def test_csv_files_of_any_usual_kind_are_read(
    tmp_path: Path, encoding: str, delimiter: str, end: str
) -> None:
    names = ["a, b; c.wav", "größe.wav", "line\nbreak.wav"]
    for name in names:
        write(tmp_path / name)
    rows = [f'"{name}"{delimiter}x' for name in names]
    text = end.join([f"File_Name{delimiter}label", *rows, f"{delimiter}y", ""])
    (tmp_path / "t.csv").write_bytes(text.encode(encoding))
    assert listed(tmp_path / "t.csv") == [
        *(f"{tmp_path}/{name}" for name in names),
        f"{tmp_path}/t.csv!line 6 has no file_name",
    ]


def test_another_column_can_be_named_and_one_that_lacks_is_one_line(tmp_path: Path) -> None:
    write(tmp_path / "a.wav")
    (tmp_path / "t.csv").write_text("label,clip\nx,a.wav\n")
    assert listed(tmp_path / "t.csv", path_column="Clip") == [f"{tmp_path}/a.wav"]
    for column in ("", "nope"):
        with pytest.raises(TableError, match="--path-column") as caught:
            listed(tmp_path / "t.csv", path_column=column)
        assert "label, clip" in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "content", [b"", b'path\n"unclosed', b"path\n\xff\xfe\xfa\n", b"path\na,b\n"]
)
def test_damaged_tables_are_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(content)
    with pytest.raises(TableError) as caught:
        listed(tmp_path / "t.csv")
    assert str(tmp_path / "t.csv") in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_members_of_tar_shards_are_read_where_they_lie(tmp_path: Path, mode: str) -> None:
    path = shard(tmp_path / f"s/0.tar{mode[2:] and '.gz'}", range(1, 4), mode)
    before = sorted(tmp_path.rglob("*"))
    assert lengths_of(tmp_path, tmp_path / "s") == members(path, range(1, 4))
    assert sorted(tmp_path.rglob("*")) == before  # nothing was unpacked under any name


def test_a_tar_that_is_cut_off_gives_what_is_there_and_an_error(tmp_path: Path) -> None:
    path = shard(tmp_path / "0.tar", range(1, 4))
    os.truncate(path, 3000)
    (part,) = Listing().parts([str(path)])
    contents = Contents(part, tmp_path)
    assert contents.clips[0].name == f"{path}::1.wav"
    assert contents.clips[-1].name == str(path)
    assert "not to its end" in contents.clips[-1].error
    contents.close()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """A web server of a folder, which fails once for each name that holds `flaky`."""
    seen = set()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: object, **options: object) -> None:
            super().__init__(*arguments, directory=str(tmp_path / "web"), **options)  # type: ignore[arg-type]

        def do_GET(self) -> None:
            if "flaky" in self.path and self.path not in seen:
                seen.add(self.path)
                self.send_error(503)
            else:
                super().do_GET()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as web:
        thread = threading.Thread(target=web.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{web.server_port}"
        web.shutdown()
        thread.join()


def test_shards_come_by_url_with_braces_and_a_second_try(
    tmp_path: Path, server: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("wavebyol_hear.files.containers.RETRY_SECONDS", (0.0, 0.0))
    for number in range(2):
        shard(tmp_path / f"web/flaky-0{number}.tar", range(number, number + 1))
    result = lengths_of(tmp_path, server + "/flaky-{00..02}.tar?token=1")
    missing = f"{server}/flaky-02.tar?token=1"
    assert result.pop(missing) == -1
    assert sorted(result.values()) == [0, 0, 1, 1]
    with pytest.raises(SourceError, match="only tar shards"):
        listed(f"{server}/a.parquet")


def test_tables_with_an_audio_column_are_read_row_by_row(tmp_path: Path) -> None:
    write(tmp_path / "d/beside.wav", 7)
    write(tmp_path / "secret.wav", 8)
    rows: list[dict[str, object]]
    rows = [{"bytes": sound(n), "path": f"{n}.wav"} for n in range(1, 6)]
    rows += [{"bytes": None, "path": "beside.wav"}, {"bytes": None, "path": "../secret.wav"}]
    rows += [{"bytes": sound(9), "path": None}]
    table = pa.table({"label": list(range(8)), "audio": rows})
    pq.write_table(table, tmp_path / "d/a.parquet", row_group_size=3)
    pq.write_table(pa.table({"x": [1]}), tmp_path / "d/other.parquet")
    name = f"{tmp_path}/d/a.parquet"
    expected = {f"{name}::{n}.wav": n for n in range(1, 6)}
    expected |= {f"{name}::beside.wav": 7, f"{name}::../secret.wav": -1, f"{name}::7": 9}
    assert lengths_of(tmp_path, name) == expected
    assert lengths_of(tmp_path, tmp_path / "d") == {f"{tmp_path}/d/beside.wav": 7} | expected
    parts = list(Listing(part_size=3).parts([name]))
    assert [part.groups for part in parts] == [(0, 1), (1, 2), (2, 3)]
    assert len({part.digest for part in parts}) == 3
    with pytest.raises(TableError, match="has no audio column"):
        listed(tmp_path / "d/other.parquet")


def test_a_dataset_that_was_saved_to_disk_is_read(tmp_path: Path) -> None:
    table = pa.table({"audio": [{"bytes": sound(3), "path": "x.wav"}]})
    path = tmp_path / "train/data-00000-of-00001.arrow"
    path.parent.mkdir()
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    assert lengths_of(tmp_path, tmp_path) == {f"{path}::x.wav": 3}


def test_a_damaged_table_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    assert lengths_of(tmp_path, tmp_path) == {str(tmp_path / "a.parquet"): -1}


def test_patterns_and_sources_that_do_not_exist_are_one_line(tmp_path: Path) -> None:
    assert list(expand_braces("{a,b}{1..2}")) == ["a1", "a2", "b1", "b2"]
    literal = write(tmp_path / "{1..2}.wav")
    assert listed(literal) == [literal]  # what exists is not expanded
    for source in ("no-such", f"{tmp_path}/{{1..2}}.tar", f"@{tmp_path}/no.txt"):
        with pytest.raises((SourceError, FileNotFoundError)) as caught:
            listed(source)
        assert "no-such" in str(caught.value) or str(tmp_path) in str(caught.value)


def test_compressed_shards_that_are_damaged_are_errors(tmp_path: Path) -> None:
    path = tmp_path / "a.tar.gz"
    path.write_bytes(gzip.compress(b"x" * 9999)[:-12])
    assert lengths_of(tmp_path, path) == {str(path): -1}
