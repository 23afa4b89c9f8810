"""A Ray cluster of two local nodes scores what one process scores, also where a worker is lost.

Skipped without Ray, which `make test` does not install: pip install 'ray[data]'.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmark import run
from benchmark.results.schema import read_results

ray = pytest.importorskip("ray")
pytest.importorskip("ray.cluster_utils")

MODELS = "baselines.log_mel,baselines.content_random"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Two nodes of one core each on this machine; modules beside the tests are importable there."""
    Cluster = ray.cluster_utils.Cluster  # noqa: N806

    from benchmark.evaluate_ray import QUIET

    with pytest.MonkeyPatch.context() as patch:
        for name, value in QUIET.items():
            patch.setenv(name, value)
        modules = tmp_path_factory.mktemp("modules")
        (modules / "dies_once.py").write_text(
            "import os, pathlib\n"
            "from baselines.log_mel import get_scene_embeddings, get_timestamp_embeddings\n"
            "from baselines import log_mel\n"
            "def load_model(path=''):\n"
            "    mark = pathlib.Path(__file__).with_name('mark')\n"
            "    if not mark.exists():\n"
            "        mark.touch()\n"
            "        os._exit(1)\n"
            "    return log_mel.load_model()\n"
        )
        patch.setenv("PYTHONPATH", f"{Path(__file__).parents[2]}:{modules}")
        args = {"num_cpus": 1, "include_dashboard": False}
        cluster = Cluster(initialize_head=True, head_node_args=args)
        cluster.add_node(num_cpus=1)
        yield str(cluster.address)
        cluster.shutdown()


def call(esc50_root: Path, out: Path, *more: str) -> int:
    """Evaluate the synthetic corpus."""
    where = ["--data-dir", str(esc50_root.parent), "--cache-dir", str(out / "cache")]
    asked = ["--tasks", "esc50", "--allow-partial", "--workers", "1", "--device", "cpu"]
    return run.main([*where, *asked, "--out", str(out / "results"), *more])


def test_a_cluster_scores_what_one_process_scores(
    esc50_root: Path, tmp_path: Path, address: str
) -> None:
    assert call(esc50_root, tmp_path / "one", "--models", MODELS) == 0
    on_ray = ["--engine", "ray", "--ray-address", address]
    assert call(esc50_root, tmp_path / "ray", "--models", f"{MODELS},dies_once", *on_ray) == 0
    several = {result.model: result for result in read_results(tmp_path / "ray" / "results")}
    for one in read_results(tmp_path / "one" / "results"):
        assert several[one.model].metrics == one.metrics
        assert several[one.model].predictions == one.predictions
    assert several["dies_once"].predictions == several["baselines.log_mel"].predictions


def test_a_model_that_cannot_be_loaded_costs_only_itself(
    esc50_root: Path, tmp_path: Path, address: str, capsys: pytest.CaptureFixture
) -> None:
    models = "no_such_module,baselines.content_random"
    on_ray = ["--engine", "ray", "--ray-address", address]
    assert call(esc50_root, tmp_path, "--models", models, *on_ray) == 1
    (result,) = read_results(tmp_path / "results")
    assert result.model == "baselines.content_random"
    assert "no_such_module: cannot be imported" in capsys.readouterr().err


def test_no_cluster_at_an_address_is_one_line(
    esc50_root: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    on_ray = ["--engine", "ray", "--ray-address", "127.0.0.1:1"]
    assert call(esc50_root, tmp_path, "--models", MODELS, *on_ray) == 1
    assert capsys.readouterr().err.count("error: --engine ray") == 1
