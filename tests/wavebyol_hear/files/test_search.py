"""Search gives what comparing with every row at once gives, and the command says what it finds."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from wavebyol_hear import load_model
from wavebyol_hear.__main__ import main
from wavebyol_hear.files import parquet, search
from wavebyol_hear.files.command import printable
from wavebyol_hear.files.search import nearest
from wavebyol_hear.files.weights_hash import tensors_hash

SPEC = "wavebyol_hear?preset=slim"
HASH = tensors_hash(load_model(preset="slim"))
HOSTILE = "d/\x1b[31mred\n<b>.wav"


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("block_bytes", [1, 1000, 1 << 30])
def test_blocks_give_what_all_rows_at_once_give(
    dtype: str, block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "BLOCK_BYTES", block_bytes)
    generator = np.random.default_rng(0)
    array = (generator.standard_normal((500, 7)) * generator.uniform(0.1, 9, (500, 1))).astype(
        dtype
    )
    query = generator.standard_normal(7)
    whole = array.astype(np.float64)
    cosines = whole @ query / np.linalg.norm(whole, axis=1) / np.linalg.norm(query)
    for top in (1, 10, 499, 900):
        rows, similarities = nearest(array, query, top)
        np.testing.assert_array_equal(rows, np.argsort(-cosines)[:top])
        np.testing.assert_allclose(similarities, np.sort(cosines)[::-1][:top], atol=1e-5)


def test_equal_rows_come_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "BLOCK_BYTES", 32)
    array = np.tile(np.array([[1, 0], [0, 1]], np.float32), (50, 1))
    assert nearest(array, np.array([1, 0]), 4)[0].tolist() == [0, 2, 4, 6]


def test_a_row_of_zeros_is_like_nothing() -> None:
    array = np.array([[0, 0], [-1, 0], [1, 1]], np.float32)
    rows, similarities = nearest(array, np.array([1.0, 0]), 3)
    assert rows.tolist() == [2, 0, 1]
    assert similarities[1] == 0
    assert nearest(array, np.zeros(2), 1)[1].tolist() == [0]


def test_arguments_that_cannot_be_are_refused() -> None:
    array = np.ones((3, 2), np.float32)
    with pytest.raises(ValueError, match="top is 0"):
        nearest(array, np.ones(2), 0)
    with pytest.raises(ValueError, match=r"query is \[3\]"):
        nearest(array, np.ones(3), 1)
    assert nearest(array[:0], np.ones(2), 1)[0].tolist() == []


def write_folder(folder: Path, paths: list[str], array: np.ndarray, **metadata: Any) -> Path:
    """Write embeddings as `wavebyol embed` does."""
    folder.mkdir(exist_ok=True)
    metadata = {"model": SPEC, "weights_hash": HASH} | metadata
    schema = parquet.embedding_schema(array.shape[1], "float32", metadata)
    count = len(paths)
    index = {"path": paths, "start": [0.0] * count, "end": [1.5] * count, "duration": [1.5] * count}
    with parquet.part_writer(folder / f"part-000000-{0:016x}.parquet", schema, {}) as write:
        write(index | {"sample_rate": [16_000] * count}, array)
    return folder


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Six tones and noises of 1.5 s."""
    folder = tmp_path_factory.mktemp("sounds")
    generator = np.random.default_rng(0)
    time = np.arange(24_000) / 16_000
    paths = []
    for index, tone in enumerate((200, 210, 3_000, 3_100, 0, 0)):
        noise = generator.standard_normal(len(time))
        wave = 0.5 * np.sin(2 * np.pi * tone * time) + (0.002 if tone else 0.1) * noise
        paths.append(folder / f"{index}.wav")
        soundfile.write(paths[-1], wave, 16_000)
    return paths


@pytest.fixture(scope="module")
def folder(sounds: list[Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    array = load_model(preset="slim").embed(sounds)
    names = [*map(str, sounds[:5]), HOSTILE]
    return write_folder(tmp_path_factory.mktemp("embedded"), names, array)


def test_the_command_names_the_nearest_first(
    folder: Path, sounds: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", str(folder), str(sounds[2]), "--top", "3"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 3
    assert lines[0].split()[:3] == ["1", "+1.0000", str(sounds[2])]
    assert str(sounds[3]) in lines[1], "the other high tone"
    assert lines[0].endswith("0.00-1.50 s")


def test_json_has_the_name_as_it_is_and_text_none_that_a_terminal_obeys(
    folder: Path, sounds: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["search", str(folder), str(sounds[5]), "--top", "1", "--json"]) == 0
    row = json.loads(capsys.readouterr().out)
    assert row["path"] == HOSTILE
    assert row["rank"] == 1
    assert row["similarity"] == pytest.approx(1, abs=1e-3)
    assert main(["search", str(folder), str(sounds[5]), "--top", "1"]) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert "\x1b" not in out
    assert r"\x1b[31mred\n<b>.wav" in out
    assert printable("a b ü") == "a b ü"


def test_what_fails_is_one_line(
    folder: Path, sounds: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    query, array = str(sounds[0]), np.ones((1, 7), np.float32)
    instants = write_folder(tmp_path / "i", ["a"], array, options={"timestamps": True})
    nameless = write_folder(tmp_path / "n", ["a"], array, model=None)
    other = write_folder(tmp_path / "o", ["a"], array)
    absent = write_folder(tmp_path / "m", ["a"], array, model="no_such_module")
    for arguments, words in (
        ([str(tmp_path), query], "holds no embeddings"),
        ([str(tmp_path / "absent"), query], "holds no embeddings"),
        ([str(folder), str(tmp_path / "absent.wav")], "no such file"),
        ([str(folder), query, "--top", "0"], "give 1 or more"),
        ([str(instants), query], "without --timestamps"),
        ([str(nameless), query], "does not say by which model"),
        ([str(other), query], "rows have 7 numbers"),
        ([str(absent), query], "cannot be imported"),
        ([str(folder), query, "--device", "nowhere"], "nowhere"),
    ):
        assert main(["search", *arguments]) == 2
        err = capsys.readouterr().err
        assert words in err
        assert err.count("\n") == 1


def test_rows_of_other_weights_are_warned_of(
    sounds: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_folder(tmp_path, ["a"], np.ones((1, 4800), np.float32), weights_hash="0" * 32)
    assert main(["search", str(folder), str(sounds[0])]) == 0
    assert "other weights" in capsys.readouterr().err


def test_without_the_extra_it_is_named(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert main(["search", str(folder), "a.wav"]) == 2
    assert "pip install '.[files]'" in capsys.readouterr().err
