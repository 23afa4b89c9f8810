"""A Ray cluster of two local nodes scores what one process scores, also where a worker is lost.

Skipped without Ray, which `make test` does not install: pip install 'ray[data]'.
"""

import shutil
from pathlib import Path

import pytest
import soundfile

from benchmark import run
from benchmark.results.schema import read_results

pytest.importorskip("ray")

MODELS = "baselines.log_mel,baselines.content_random"


DIES_ONCE = """
import os, pathlib
from baselines import log_mel
from baselines.log_mel import get_scene_embeddings, get_timestamp_embeddings
def load_model(path=""):
    mark = pathlib.Path(__file__).with_name("mark_of_load")
    if not mark.exists():
        mark.touch()
        os._exit(1)
    return log_mel.load_model()
"""


SLOW = """
import os, pathlib, time
from baselines import log_mel
from baselines.log_mel import get_timestamp_embeddings, load_model
def get_scene_embeddings(audio, model):
    if len(audio) > 1:  # a batch of clips, not the noise that tells models apart
        pids = pathlib.Path(__file__).with_name("pids")
        with open(pids, "a") as file:
            file.write(f"{os.getpid()}\\n")
        if pids.with_name("slowly").exists():
            if len(set(pids.read_text().split())) == 3 and not pids.with_name("lost").exists():
                pids.with_name("lost").touch()  # the first helper
                os._exit(1)
            deadline = time.monotonic() + 120  # on a busy machine helpers come late
            while len(set(pids.read_text().split())) < 4 and time.monotonic() < deadline:
                time.sleep(0.1)
            time.sleep(0.5)
    return log_mel.get_scene_embeddings(audio, model)
"""


def call(esc50_root: Path, out: Path, *more: str) -> int:
    """Evaluate the synthetic corpus."""
    where = ["--data-dir", str(esc50_root.parent), "--cache-dir", str(out / "cache")]
    asked = ["--tasks", "esc50", "--allow-partial", "--workers", "1", "--device", "cpu"]
    return run.main([*where, *asked, "--out", str(out / "results"), *more])


def test_a_cluster_scores_what_one_process_scores(
    esc50_root: Path, tmp_path: Path, ray_cluster: str, ray_modules: Path
) -> None:
    (ray_modules / "dies_at_load.py").write_text(DIES_ONCE)
    assert call(esc50_root, tmp_path / "one", "--models", MODELS) == 0
    on_ray = ["--engine", "ray", "--ray-address", ray_cluster]
    assert call(esc50_root, tmp_path / "ray", "--models", f"{MODELS},dies_at_load", *on_ray) == 0
    several = {result.model: result for result in read_results(tmp_path / "ray" / "results")}
    for one in read_results(tmp_path / "one" / "results"):
        assert several[one.model].metrics == one.metrics
        assert several[one.model].predictions == one.predictions
    assert several["dies_at_load"].predictions == several["baselines.log_mel"].predictions


def test_helpers_embed_what_one_process_embeds(
    esc50_root: Path,
    tmp_path: Path,
    ray_cluster: str,
    ray_modules: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Twelve lengths make twelve batches; the model waits for helpers; the first is lost."""
    shutil.copytree(esc50_root, tmp_path / "data/esc50")
    for number, path in enumerate(sorted((tmp_path / "data").rglob("*.wav"))):
        wave, rate = soundfile.read(path)
        soundfile.write(path, wave[: len(wave) - 100 * (number % 12)], rate)
    (ray_modules / "slow_model.py").write_text(SLOW)
    monkeypatch.syspath_prepend(str(ray_modules))
    root = tmp_path / "data/esc50"
    assert call(root, tmp_path / "one", "--models", "slow_model") == 0
    (alone,) = set((ray_modules / "pids").read_text().split())
    (ray_modules / "slowly").touch()
    on_ray = ["--engine", "ray", "--ray-address", ray_cluster, "--models", "slow_model"]
    assert call(root, tmp_path / "ray", *on_ray) == 0
    assert len(set((ray_modules / "pids").read_text().split()) - {alone}) >= 3
    (one,), (several,) = (read_results(tmp_path / name / "results") for name in ("one", "ray"))
    assert several.metrics == one.metrics
    assert several.predictions == one.predictions
    (first,), (second,) = (
        tmp_path.glob(f"{name}/cache/*/*/embeddings.npy") for name in ("one", "ray")
    )
    assert first.read_bytes() == second.read_bytes()


def test_a_model_that_cannot_be_loaded_costs_only_itself(
    esc50_root: Path, tmp_path: Path, ray_cluster: str, capsys: pytest.CaptureFixture
) -> None:
    models = "no_such_module,baselines.content_random"
    on_ray = ["--engine", "ray", "--ray-address", ray_cluster]
    assert call(esc50_root, tmp_path, "--models", models, *on_ray) == 1
    (result,) = read_results(tmp_path / "results")
    assert result.model == "baselines.content_random"
    assert "no_such_module: cannot be imported" in capsys.readouterr().err


def test_no_cluster_at_an_address_is_one_line(
    esc50_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    on_ray = ["--engine", "ray", "--ray-address", "127.0.0.1:1"]
    assert call(esc50_root, tmp_path, "--models", MODELS, *on_ray) == 1
    error = capsys.readouterr().err
    assert error.startswith("error: no Ray cluster answers at 127.0.0.1:1")
    assert error.count("\n") == 1
