"""A Ray cluster of two local nodes embeds what one process embeds, also where an actor is lost.

Skipped without Ray, which `make test` does not install: pip install 'ray[data]'.
"""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from wavebyol_hear.__main__ import main
from wavebyol_hear.files import load

pytest.importorskip("ray")

DIES_ONCE = """
import os, pathlib
from baselines import log_mel
from baselines.log_mel import get_timestamp_embeddings, load_model
calls = []
def get_scene_embeddings(audio, model):
    mark = pathlib.Path(__file__).with_name("mark")
    calls.append(1)
    if len(calls) > 4 and not mark.exists():
        mark.touch()
        os._exit(1)
    return log_mel.get_scene_embeddings(audio, model)
"""


@pytest.fixture(scope="module")
def sounds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty short files of two lengths, and one that is no audio."""
    root = tmp_path_factory.mktemp("sounds")
    random = np.random.default_rng(0)
    for number in range(60):
        wave = random.uniform(-0.3, 0.3, 8000 + 800 * (number % 2))
        soundfile.write(root / f"{number:02}.wav", wave, 16_000)
    (root / "99.wav").write_bytes(b"no audio")
    return root


def embed(sounds: Path, out: Path, *more: str) -> int:
    """Embed in parts of eight files."""
    words = ["embed", str(sounds), "--out", str(out), "--part-size", "8", "--device", "cpu"]
    return main([*words, "--workers", "1", *more])


def rows(out: Path) -> dict[str, np.ndarray]:
    """Return the embeddings by path."""
    index, array = load(out)
    return dict(zip(index["path"].to_pylist(), array, strict=True))


@pytest.mark.parametrize("model", ["baselines.log_mel", "dies_once"])
def test_a_cluster_embeds_what_one_process_embeds(
    ray_cluster: str,
    ray_modules: Path,
    sounds: Path,
    tmp_path: Path,
    model: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (ray_modules / "dies_once.py").write_text(DIES_ONCE)
    monkeypatch.syspath_prepend(str(ray_modules))
    on_ray = ["--engine", "ray", "--ray-address", ray_cluster, "--model", model]
    assert embed(sounds, tmp_path / "one", "--model", "baselines.log_mel") == 1  # 99.wav
    assert embed(sounds, tmp_path / "ray", *on_ray) == 1
    one, several = rows(tmp_path / "one"), rows(tmp_path / "ray")
    assert several.keys() == one.keys()
    assert len(one) == 60
    for path, vector in one.items():
        assert np.array_equal(several[path], vector), path
    assert (ray_modules / "mark").exists() == (model == "dies_once")
    stamps = {part: part.stat().st_mtime_ns for part in (tmp_path / "ray").glob("part-*")}
    assert embed(sounds, tmp_path / "ray", *on_ray) == 1  # nothing is left to do
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "ray").glob("part-*")} == stamps


def test_no_cluster_at_an_address_is_one_line(
    sounds: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    words = ["--engine", "ray", "--ray-address", "127.0.0.1:1", "--model", "baselines.log_mel"]
    assert embed(sounds, tmp_path / "out", *words) == 2
    assert "no Ray cluster answers at 127.0.0.1:1" in capsys.readouterr().err
