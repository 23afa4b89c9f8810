"""The open corpus: packages made on the spot, a mirror on this machine, hostile and broken ones."""

import csv
import functools
import hashlib
import http.server
import io
import json
import tarfile
import threading
import zipfile
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import pytest
import soundfile

from pretrain import corpus
from pretrain.data import debian
from pretrain.data.deb import PackageError, files
from pretrain.data.debian import KINDS, MIRRORS, Package, fetch, read_list
from pretrain.data.package_shard import decode_excerpt, read_record, write_shard
from pretrain.data.store import Store

ROOT = "usr/share/games/bells"


def tone(hertz: float, seconds: float, rate: int = 16_000) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * rate)) / rate)


def sound(hertz: float, seconds: float = 0.5, rate: int = 16_000, form: str = "WAV") -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, tone(hertz, seconds, rate), rate, format=form)
    return buffer.getvalue()


def zipped(**members: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "/") + ".wav", data)
    return buffer.getvalue()


def data_tar(members: dict[str, bytes], links: dict[str, str], suffix: str = "xz") -> bytes:
    buffer = io.BytesIO()
    mode = cast(Literal["w:xz", "w:gz", "w:bz2"], f"w:{suffix}")
    with tarfile.open(fileobj=buffer, mode=mode) as tar:
        for name, target in links.items():
            link = tarfile.TarInfo(name)
            link.type, link.linkname = tarfile.SYMTYPE, target
            tar.addfile(link)
        for name, data in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return buffer.getvalue()


def deb(
    members: dict[str, bytes], links: dict[str, str] | None = None, suffix: str = "xz"
) -> bytes:
    """Return a Debian package: an ar archive of debian-binary, control.tar.xz and data.tar."""
    parts = {
        "debian-binary": b"2.0\n",
        "control.tar.xz": data_tar({"./postinst": b"#!/bin/sh\ntouch /tmp/was-run\n"}, {}),
        f"data.tar.{suffix}": data_tar(members, links or {}, suffix),
    }
    out = io.BytesIO(b"!<arch>\n")
    out.seek(0, io.SEEK_END)
    for name, data in parts.items():
        out.write(f"{name:16}{0:<12}{0:<6}{0:<6}{'100644':8}{len(data):<10}`\n".encode())
        out.write(data + b"\n" * (len(data) % 2))
    return out.getvalue()


BELLS = {
    f"./{ROOT}/ring.ogg": sound(440, form="OGG"),
    f"./{ROOT}/again.ogg": sound(440, form="OGG"),  # the same bytes: passed over
    f"./{ROOT}/voice/one.wav": sound(200),
    f"./{ROOT}/music/long.wav": sound(300, seconds=3.0),
    f"./{ROOT}/broken.wav": b"RIFF is all there is",
    f"./{ROOT}/silence.wav": sound(0.0),
    f"./{ROOT}/click.wav": sound(500, seconds=0.01),
    f"./{ROOT}/unwanted/x.wav": sound(600),
    f"./{ROOT}/readme.txt": b"no sound",
    f"./{ROOT}/pack.pk3": zipped(sfx__hit=sound(700), voice__two=sound(220)),
    f"./{ROOT}/broken.zip": b"PK\x03\x04 is all there is",
    "../../../../tmp/escaped.wav": sound(800),
    "/tmp/absolute.wav": sound(900),
    "./no-utf8-\udcff.txt": b"no sound",
}
LINKS = {f"./{ROOT}/link.wav": "/etc/passwd", f"./{ROOT}/loop.wav": "loop.wav"}
RULES = "-=*/unwanted/* speech=*/voice/* music=*/music/* everyday=*"


def package(name: str, content: bytes, **changed: Any) -> dict[str, Any]:
    row = {
        "package": name,
        "version": "1.0-1",
        "filename": f"pool/main/{name[0]}/{name}_1.0-1_all.deb",
        "sha256": hashlib.sha256(content).hexdigest(),
        "size": len(content),
        "licence": "GPL-2+",
        "kinds": RULES,
        "cap": 2,
    }
    return row | changed


def write_list(path: Path, rows: list[dict[str, Any]]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


def make_mirror(folder: Path) -> tuple[Path, Path]:
    """A mirror's folder and a list: bells, another that shares a sound, three bad ones."""
    drums = deb({"./drums/hit.wav": sound(700), "./drums/snare.wav": sound(50)}, suffix="gz")
    contents = {"bells": deb(BELLS, LINKS), "drums": drums, "damaged": deb(BELLS)[:3000]}
    rows = [package(name, content) for name, content in contents.items()]
    rows.append(package("forged", drums, sha256="0" * 64))
    rows.append(package("gone", b"nowhere"))
    for row, content in zip(rows, [*contents.values(), drums], strict=False):
        target = folder / "mirror" / str(row["filename"])
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    return folder / "mirror", write_list(folder / "list.csv", rows)


@pytest.fixture
def mirror(tmp_path: Path) -> tuple[Path, Path]:
    return make_mirror(tmp_path)


def build(mirror: Path | str, packages: Path, out: Path, *more: str) -> int:
    arguments = ["debian", "--out", str(out), "--mirror", str(mirror), "--list", str(packages)]
    return corpus.main([*arguments, "--workers", "1", *more])


def index(out: Path) -> list[dict[str, str]]:
    with (out / "store" / "index.csv").open(newline="") as lines:
        return list(csv.DictReader(lines))


class TestPackages:
    def test_only_regular_files_are_yielded_and_nothing_reaches_the_disk(self, tmp_path):
        path = tmp_path / "bells.deb"
        path.write_bytes(deb(BELLS, LINKS))
        got = dict(files(path, lambda path: path.endswith((".wav", ".ogg"))))
        assert f"{ROOT}/link.wav" not in got
        assert f"{ROOT}/loop.wav" not in got
        assert f"{ROOT}/readme.txt" not in got
        assert got[f"{ROOT}/ring.ogg"] == BELLS[f"./{ROOT}/ring.ogg"]
        assert got[f"{ROOT}/pack.pk3/sfx/hit.wav"] == sound(700)
        assert got["tmp/absolute.wav"] == sound(900)
        assert [entry.name for entry in tmp_path.iterdir()] == ["bells.deb"]
        assert not Path("/tmp/escaped.wav").exists()
        assert not Path("/tmp/absolute.wav").exists()
        assert not Path("/tmp/was-run").exists()

    def test_a_name_that_is_no_unicode_is_replaced(self, tmp_path):
        path = tmp_path / "a.deb"
        path.write_bytes(deb({"./b\udcffll.wav": sound(440)}))
        assert [name for name, _ in files(path, lambda path: True)] == ["b?ll.wav"]

    @pytest.mark.parametrize("suffix", ["xz", "gz", "bz2"])
    def test_every_compression_gives_the_same(self, tmp_path, suffix):
        path = tmp_path / "a.deb"
        path.write_bytes(deb({"./a.wav": sound(440)}, suffix=suffix))
        assert list(files(path, lambda path: True)) == [("a.wav", sound(440))]

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"PK\x03\x04", "not an ar archive"),
            (b"!<arch>\n", "no data.tar"),
            (deb({"./a.wav": sound(440)})[:-600], "damaged"),
            (deb({})[:8] + b"x" * 60, "broken ar header"),
        ],
    )
    def test_a_damaged_package_is_one_line(self, tmp_path, content, reason):
        path = tmp_path / "a.deb"
        path.write_bytes(content)
        with pytest.raises(PackageError, match=reason):
            list(files(path, lambda path: True))

    def test_too_large_a_file_is_passed_over(self, tmp_path, monkeypatch):
        monkeypatch.setattr("pretrain.data.deb.MAX_FILE", 20_000)
        path = tmp_path / "a.deb"
        large = sound(440, seconds=2.0)
        path.write_bytes(deb({"./large.wav": large, "./p.zip": zipped(large=large), "./b": b"x"}))
        assert list(files(path, lambda path: True)) == [("b", b"x")]


class TestExcerpt:
    def test_the_middle_of_a_long_file_is_taken(self):
        rate = 44_100
        wave = np.concatenate([np.zeros(rate), tone(1000, 2.0, rate), np.zeros(rate)])
        buffer = io.BytesIO()
        soundfile.write(buffer, wave, rate, format="FLAC")
        samples = decode_excerpt(buffer.getvalue(), "x.flac", cap=2.0)
        assert len(samples) == 32_000
        assert np.abs(samples - 32767 * tone(1000, 2.0))[200:-200].max() < 330  # 1 % of full scale

    @pytest.mark.parametrize("suffix", ["sln", "sln16", "ulaw", "alaw", "gsm"])
    def test_raw_telephony_is_decoded(self, suffix):
        subtypes = {"gsm": "GSM610", "ulaw": "ULAW", "alaw": "ALAW"}
        rate = 16_000 if suffix == "sln16" else 8_000
        buffer = io.BytesIO()
        subtype = subtypes.get(suffix, "PCM_16")
        soundfile.write(buffer, tone(440, 1.0, rate), rate, format="RAW", subtype=subtype)
        samples = decode_excerpt(buffer.getvalue(), f"a/hello.{suffix}", cap=60.0)
        assert len(samples) == pytest.approx(16_000, abs=320)
        spectrum = np.abs(np.fft.rfft(samples[:16_000]))
        assert np.argmax(spectrum) == pytest.approx(440, abs=2)

    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"RIFF", "decoded"),
            (b"", "decoded"),
            (sound(0.0), "silent"),
            (sound(440, seconds=0.05), "under 0.1 s"),
        ],
    )
    def test_what_is_no_use_is_refused(self, data, reason):
        with pytest.raises(ValueError, match=reason):
            decode_excerpt(data, "x.wav", cap=60.0)


class TestFetch:
    def test_a_cut_download_goes_on_where_it_was(self, tmp_path, mirror):
        root, packages = mirror
        bells = read_list(packages)[0]
        asked: list[str | None] = []

        class Handler(http.server.SimpleHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.headers["Range"])
                content = (root / bells.filename).read_bytes()
                start = int((self.headers["Range"] or "bytes=0-")[6:-1])
                self.send_response(206 if start else 200)
                self.end_headers()
                # the first answer breaks off half-way
                self.wfile.write(content[start:] if start else content[: len(content) // 2])

            def log_message(self, *_):
                pass

        with serving(Handler) as url:
            path = fetch(bells, tmp_path, url)
        assert path.read_bytes() == (root / bells.filename).read_bytes()
        assert asked == [None, f"bytes={bells.size // 2}-"]

    def test_a_server_without_ranges_sends_all_again(self, tmp_path, mirror):
        root, packages = mirror
        bells = read_list(packages)[0]
        handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(root))
        with serving(handler) as url:
            path = fetch(bells, tmp_path, url)
            content = path.read_bytes()
            path.unlink()
            path.with_suffix(".part").write_bytes(content[:1000])
            assert fetch(bells, tmp_path, url).read_bytes() == content

    def test_apt_is_asked_first_and_its_answer_checked(self, tmp_path, mirror, monkeypatch):
        root, packages = mirror
        bells, drums = read_list(packages)[:2]
        tool = tmp_path / "bin" / "apt-get"
        tool.parent.mkdir()
        tool.write_text(f'#!/bin/sh\n[ "$3" = bells=1.0-1 ] && cp {root / bells.filename} .\n')
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tool.parent}:/usr/bin:/bin")
        monkeypatch.setattr(debian, "MIRRORS", (str(root),))
        assert fetch(bells, tmp_path).read_bytes() == (root / bells.filename).read_bytes()
        assert fetch(drums, tmp_path).read_bytes() == (root / drums.filename).read_bytes()

    def test_what_is_there_is_not_fetched_again(self, tmp_path, mirror):
        root, packages = mirror
        bells = read_list(packages)[0]
        path = fetch(bells, tmp_path, str(root))
        assert fetch(bells, tmp_path, "http://127.0.0.1:9/nowhere") == path

    def test_a_wrong_checksum_is_refused(self, tmp_path, mirror):
        root, packages = mirror
        with pytest.raises(PackageError, match=r"forged.*SHA-256"):
            fetch(read_list(packages)[3], tmp_path, str(root))
        assert not list(tmp_path.glob("forged*"))


class serving:  # noqa: N801  (read as a verb: `with serving(handler) as url`)
    def __init__(self, handler):
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)

    def __enter__(self) -> str:
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{self.server.server_port}"

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()


class TestCommand:
    @pytest.fixture(scope="class")
    @classmethod
    def built(cls, tmp_path_factory) -> tuple[Path, Path, Path, int]:
        folder = tmp_path_factory.mktemp("corpus")
        root, packages = make_mirror(folder)
        code = build(root, packages, folder / "out", "--workers", "2")
        return root, packages, folder / "out", code

    def test_clips_carry_kind_source_and_licence(self, built):
        _, _, out, code = built
        assert code == 1  # three packages failed
        kinds = {row["source"].rpartition("/")[2]: row["kind"] for row in index(out)}
        assert kinds == {
            "ring.ogg": "everyday",
            "one.wav": "speech",
            "two.wav": "speech",
            "long.wav": "music",
            "hit.wav": "everyday",
            "escaped.wav": "everyday",
            "absolute.wav": "everyday",
            "snare.wav": "everyday",
        }
        assert {row["licence"] for row in index(out)} == {"GPL-2+"}
        assert f"Debian bells 1.0-1 {ROOT}/ring.ogg" in {row["source"] for row in index(out)}

    def test_a_sound_of_two_packages_is_kept_once(self, built):
        hits = [row["source"] for row in index(built[2]) if row["source"].endswith("hit.wav")]
        assert hits == [f"Debian bells 1.0-1 {ROOT}/pack.pk3/sfx/hit.wav"]

    def test_the_store_has_the_sounds(self, built):
        store = Store.open(built[2] / "store")
        lengths = {row["source"].rpartition("/")[2]: int(row["length"]) for row in index(built[2])}
        assert lengths["long.wav"] == 32_000  # capped at 2 s
        assert lengths["snare.wav"] == 8_000
        assert len(store) == 8

    def test_the_same_command_does_nothing_more(self, built):
        root, packages, out, _ = built
        written = [out / "store" / "samples.i16", *(out / "shards").iterdir()]
        before = [path.stat().st_mtime_ns for path in written]
        assert build(root, packages, out) == 1
        assert [path.stat().st_mtime_ns for path in written] == before

    def test_failures_are_told_by_name(self, built, capsys):
        root, packages, out, _ = built
        build(root, packages, out)
        lines = capsys.readouterr().err.splitlines()
        failed = [line for line in lines if line.startswith("failed: ")]
        assert sorted(line.split()[1].rstrip(":") for line in failed) == [
            "damaged", "forged", "gone",
        ]  # fmt: skip

    def test_a_killed_build_goes_on(self, mirror, tmp_path, built):
        root, packages = mirror
        out = tmp_path / "out"
        rows = read_list(packages)
        (out / "debs").mkdir(parents=True)
        (out / "packed").mkdir()
        # what a kill after the first package and in the middle of the second leaves
        write_shard(rows[0], fetch(rows[0], out / "debs", str(root)), out / "packed")
        (out / "packed" / "drums.tar").write_bytes(b"half a shard without a record")
        (root / rows[0].filename).unlink()  # the first must not be needed again
        (out / "debs" / f"bells_{rows[0].sha256[:12]}.deb").unlink()
        assert build(root, packages, out) == 1
        assert index(out) == index(built[2])

    def test_a_package_that_can_be_had_later_is_added(self, mirror, tmp_path):
        root, packages = mirror
        drums = read_list(packages)[1]
        content = (root / drums.filename).read_bytes()
        (root / drums.filename).unlink()
        out = tmp_path / "out"
        build(root, packages, out)
        assert len(index(out)) == 7
        (root / drums.filename).write_bytes(content)
        build(root, packages, out)
        assert len(index(out)) == 8

    def test_hours_stop_it(self, mirror, tmp_path):
        root, packages = mirror
        listed = read_list(packages)
        records, failures = corpus.prepare_all(listed, tmp_path / "out", str(root), 1, 0.0005)
        assert (list(records), failures) == (["bells"], [])
        selection = corpus.select(listed, records, 0.0005)
        assert [package.name for package, *_ in selection] == ["bells"]

    @pytest.mark.parametrize("wrong", [["--workers", "0"], ["--hours", "0"], ["--hours", "nan"]])
    def test_wrong_arguments_are_refused_before_the_work(self, mirror, tmp_path, wrong):
        with pytest.raises(SystemExit, match="2"):
            build(*mirror, tmp_path / "out", *wrong)
        assert not (tmp_path / "out").exists()

    def test_nothing_to_be_had_is_one_line(self, mirror, tmp_path, capsys):
        _, packages = mirror
        assert build(tmp_path / "nowhere", packages, tmp_path / "out") == 1
        assert "error: no package could be had" in capsys.readouterr().err


class TestList:
    def test_what_ships_is_pinned_free_and_has_kinds(self):
        packages = read_list()
        assert len({package.name for package in packages}) == len(packages) > 100
        for package in packages:
            assert package.filename.startswith("pool/main/")  # non-free lies elsewhere
            assert package.filename.endswith(".deb")
            assert len(package.sha256) == 64
            assert package.licence
            assert 0 < package.cap <= 60
            assert {kind for kind, _ in package.rules} <= {*KINDS, "-"}

    @pytest.mark.parametrize("kinds", ["", "noise=*", "speech", "speech="])
    def test_a_malformed_line_is_named(self, tmp_path, kinds):
        path = write_list(tmp_path / "list.csv", [package("bells", b"x", kinds=kinds)])
        with pytest.raises(PackageError, match="bells"):
            read_list(path)

    def test_a_changed_rule_makes_the_shard_anew(self, mirror, tmp_path):
        root, packages = mirror
        bells = read_list(packages)[0]
        write_shard(bells, fetch(bells, tmp_path, str(root)), tmp_path)
        assert read_record(bells, tmp_path)
        changed = Package(**{**vars(bells), "cap": 1.0})
        assert read_record(changed, tmp_path) is None
        assert json.loads((tmp_path / "bells.json").read_text())["bad"]

    def test_mirrors_are_roots_of_the_archive(self):
        assert all(root.startswith("http") and not root.endswith("/") for root in MIRRORS)
