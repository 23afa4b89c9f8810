"""The map's page: what it says of the embeddings, and that no file name is more than text in it."""

import base64
import hashlib
import importlib.util
import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from sklearn.decomposition import PCA

from wavebyol_hear.__main__ import main
from wavebyol_hear.files import parquet
from wavebyol_hear.files.map import (
    FOLDER,
    GROUPS,
    audio_uris,
    common_folder,
    groups_of,
    legend,
    page,
    project,
)

HOSTILE = "</script><script>alert(1)</script>&<!--<img src=x onerror=alert(2)>\"'.wav"


class Page(HTMLParser):
    """Texts and attributes of a page, by element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, str] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        tag, attributes = self.elements[-1] if self.elements else ("", {})
        name = attributes.get("id") or tag
        self.texts[name] = self.texts.get(name, "") + data


def read(text: str) -> tuple[dict[str, Any], Page]:
    parsed = Page(text)
    return json.loads(parsed.texts["data"]), parsed


def table(paths: list[str]) -> dict[str, list[Any]]:
    return {"path": paths, "start": [0.0] * len(paths), "end": [2.5] * len(paths)}


def drawn(
    paths: list[str], labels: list[str], out: Path, caption: str = "", color: str = ""
) -> str:
    """The page of some files at any place."""
    return page(table(paths), points(len(paths)), labels, audio_uris(paths, out), caption, color)


def points(count: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(size=(count, 2))


def write_folder(folder: Path, paths: list[str], array: np.ndarray) -> Path:
    folder.mkdir(exist_ok=True)
    schema = parquet.embedding_schema(array.shape[1], "float32", {"model": "wavebyol_hear"})
    index = table(paths) | {"duration": [2.5] * len(paths), "sample_rate": [16_000] * len(paths)}
    with parquet.part_writer(folder / f"part-000000-{0:016x}.parquet", schema, {}) as write:
        write(index, array)
    return folder


def test_a_hostile_name_is_text(tmp_path: Path) -> None:
    paths = [f"{HOSTILE}/{HOSTILE}", "b/2.wav"]
    text = drawn(paths, groups_of(table(paths), "folder"), tmp_path / "map.html")
    data, parsed = read(text)
    assert data["name"][0] == paths[0]
    assert sorted(data["groups"])[0] == HOSTILE.split("/", maxsplit=1)[0]
    assert [tag for tag, _ in parsed.elements].count("script") == 2
    assert not any(
        name.startswith("on") for _, attributes in parsed.elements for name in attributes
    )
    hostile_caption = drawn(paths, ["a", "b"], tmp_path, HOSTILE, HOSTILE)
    assert "<img src=x" not in hostile_caption


def test_the_policy_lets_this_page_s_script_run_and_no_other(tmp_path: Path) -> None:
    text = drawn(["a.wav"], ["a"], tmp_path / "map.html")
    _, parsed = read(text)
    policy = next(a["content"] for tag, a in parsed.elements if "http-equiv" in a)
    script = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    style = re.findall(r"<style>(.*?)</style>", text, re.DOTALL)
    for content, name in ((script, "script-src"), (style, "style-src")):
        digest = base64.b64encode(hashlib.sha256(content[0].encode()).digest()).decode()
        assert f"{name} 'sha256-{digest}'" in str(policy)
    assert "default-src 'none'" in str(policy)
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//""", text), "nothing from afar"


def test_the_script_builds_no_markup_from_texts() -> None:
    script = (FOLDER / "map.js").read_text(encoding="utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", script)


def test_audio_is_named_from_the_page_and_percent_encoded(tmp_path: Path) -> None:
    names = ["a b#?%41.wav", "ü:x&.wav", "javascript:alert(1).wav", "plain.wav"]
    (tmp_path / "sounds").mkdir()
    (tmp_path / "pages").mkdir()
    for name in names:
        (tmp_path / "sounds" / name).touch()
    paths = [str(tmp_path / "sounds" / name) for name in names]
    paths += [str(tmp_path / "sounds" / "absent.wav"), str(tmp_path / "sounds"), "https://a/b.wav"]
    text = drawn(paths, ["g"] * 7, tmp_path / "pages" / "map.html")
    uris = read(text)[0]["uri"]
    assert [unquote(uri) for uri in uris[:4]] == [f"../sounds/{name}" for name in names]
    assert not any(character in "".join(uris) for character in "#?:& ")
    assert uris[4:] == ["", "", ""]


@pytest.mark.parametrize("shape", [(300, 20), (30, 200)])
def test_points_are_the_principal_components_of_unit_rows(shape: tuple[int, int]) -> None:
    generator = np.random.default_rng(0)
    rows = (generator.standard_normal((shape[0], 4)) * [9, 5, 1, 1]) @ generator.standard_normal(
        (4, shape[1])
    )
    rows += 0.1 * generator.standard_normal(shape)
    result, how = project(rows.astype(np.float32), "pca", 0)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    pca = PCA(2).fit(unit)
    wanted = pca.transform(unit)
    for axis in (0, 1):
        assert abs(np.corrcoef(result[:, axis], wanted[:, axis])[0, 1]) > 0.999
    assert f"{100 * pca.explained_variance_ratio_.sum():.0f} %" in how
    spans = np.ptp(wanted, axis=0)
    np.testing.assert_allclose(np.ptp(result, axis=0), spans / spans.max(), atol=1e-3)
    assert result.min() >= 0
    assert result.max() <= 1


@pytest.mark.parametrize("shape", [(1, 5), (2, 1), (3, 4)])
def test_too_little_to_see_is_still_a_map(shape: tuple[int, int]) -> None:
    result, _ = project(np.ones(shape, np.float32), "auto", 0)
    assert result.shape == (shape[0], 2)
    np.testing.assert_allclose(result, 0.5)


@pytest.mark.slow  # it compiles for half a minute
@pytest.mark.skipif(importlib.util.find_spec("umap") is None, reason="umap-learn is not installed")
def test_umap_parts_what_differs() -> None:
    generator = np.random.default_rng(0)
    centers = generator.standard_normal((3, 1, 50))
    rows = (centers + 0.1 * generator.standard_normal((3, 30, 50))).reshape(90, 50)
    first, how = project(rows.astype(np.float32), "auto", 0)
    assert how == "UMAP"
    again, _ = project(rows.astype(np.float32), "umap", 0)
    np.testing.assert_array_equal(first, again)
    clusters = first.reshape(3, 30, 2)
    within = max(np.linalg.norm(c - c.mean(0), axis=1).max() for c in clusters)
    apart = np.linalg.norm(clusters[0].mean(0) - clusters[1].mean(0))
    assert apart > within


def test_groups_are_folders_values_or_ranges() -> None:
    assert common_folder(["a/b/1.wav", "a/b/2.wav"]) == "a/b/"
    assert common_folder(["1.wav", "/a/2.wav"]) == ""
    assert groups_of(table(["x/1.wav", "x/y/2.wav"]), "folder") == [".", "y"]
    assert groups_of(table(["1.wav", "x/y/2.wav"]), "parent") == [".", "y"]
    rates = table(["a"] * 4) | {"sample_rate": [8_000, 16_000, 8_000, 8_000]}
    assert groups_of(rates, "sample_rate") == ["8000", "16000", "8000", "8000"]
    many = table(["a"] * 100) | {"duration": [float(i) for i in range(100)]}
    ranges = groups_of(many, "duration")
    assert {ranges.count(name) for name in ranges} == {20}
    assert ranges[0] == "0 to 19.8"


def test_groups_beyond_the_colors_share_one() -> None:
    labels = [f"g{i:02}" for i in range(GROUPS + 3) for _ in range(20 - i)]
    data = legend(labels)
    assert data["groups"] == [f"g{i:02}" for i in range(GROUPS)] + ["3 others"]
    assert data["rest"] == GROUPS
    assert sum(data["counts"]) == len(labels)
    assert data["group"][-1] == GROUPS
    assert [data["group"].count(i) for i in range(GROUPS + 1)] == data["counts"]


def test_the_command_writes_a_page_beside_the_embeddings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    array = np.random.default_rng(0).standard_normal((40, 8)).astype(np.float32)
    paths = [f"/data/{'ab'[i % 2]}/{i}.wav" for i in range(40)]
    folder = write_folder(tmp_path / "e", paths, array)
    assert main(["map", str(folder), "--method", "pca", "--points", "30"]) == 0
    out, err = capsys.readouterr()
    assert out == f"{folder / 'map.html'}\n"
    assert err.startswith("30 of 30 points have no file to play")
    data, parsed = read((folder / "map.html").read_text(encoding="utf-8"))
    assert len(data["x"]) == 30
    assert set(data["groups"]) == {"a", "b"}
    assert set(data["name"]) < {path.removeprefix("/data/") for path in paths}
    assert parsed.texts["h1"].strip() == "Map of 30 clips"
    assert "30 of 40 clips by wavebyol_hear" in parsed.texts["p"]


def test_what_fails_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = str(write_folder(tmp_path / "e", ["a.wav"], np.ones((1, 3), np.float32)))
    empty = str(write_folder(tmp_path / "none", [], np.ones((0, 3), np.float32)))
    monkeypatch.setitem(sys.modules, "umap", None)
    for arguments, words in (
        ([str(tmp_path)], "holds no embeddings"),
        ([empty], "holds no rows"),
        ([folder, "--color", "species"], "give folder, parent, path, start"),
        ([folder, "--points", "0"], "give 1 or more"),
        ([folder, "--method", "umap"], ".[map]"),
        ([folder, "--method", "pca", "--out", str(tmp_path / "absent" / "m.html")], "No such file"),
    ):
        assert main(["map", *arguments]) == 2
        err = capsys.readouterr().err
        assert words in err
        assert err.count("\n") == 1
