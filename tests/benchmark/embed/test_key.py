"""The cache's key: whatever can change an embedding leads to another array, and nothing else."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import soxr
import torch

from benchmark.data.clip import Clip
from benchmark.data.corrupt import CorruptedClips, parse
from benchmark.data.registry import TaskClips
from benchmark.embed import embed as embedding
from benchmark.embed.cache import cache_folder
from benchmark.embed.embed import array_key, embed_task
from tests.benchmark.tones import RANDOM, TASK, run, write_tones
from wavebyol_hear.files.hear_module import HearModel, load

IDS = ["clip0", "clip1"]


@pytest.fixture
def clips(tmp_path: Path) -> list[Clip]:
    return write_tones(tmp_path / "tones")


def folder_of(model: HearModel, sound: str = "s", corruption: str = "") -> Path:
    corrupted = CorruptedClips(parse(corruption), IDS) if corruption else None
    return cache_folder(Path("c"), model.spec, "tones", **array_key(model, sound, corrupted))


def test_each_part_of_a_model_leads_to_another_folder(write_module) -> None:
    model = load(write_module("keyed"))
    half = load(write_module("keyed"))
    vars(half.model).update(precision="bf16")
    slow = load(write_module("keyed"))
    vars(slow.model).update(sample_rate=22050)
    wide = load(write_module("keyed"))
    vars(wide.model).update(scene_embedding_size=4)
    folders = {
        "as it is": folder_of(model),
        "device": folder_of(dataclasses.replace(model, device=torch.device("cuda"))),
        "precision": folder_of(half),
        "rate": folder_of(slow),
        "size": folder_of(wide),
        "weights": folder_of(dataclasses.replace(model, weights_hash="other")),
        "keyword arguments": folder_of(dataclasses.replace(model, spec="keyed?scale=2")),
        "other arguments": folder_of(dataclasses.replace(model, spec="keyed?scale=3")),
        "a name that reads alike": folder_of(dataclasses.replace(model, spec="keyed_scale_2")),
        "sound": folder_of(model, "t"),
        "corruption": folder_of(model, corruption="clip:10"),
        "its level": folder_of(model, corruption="clip:20"),
        "codec": folder_of(model, corruption="mp3:16"),
    }
    assert len(set(folders.values())) == len(folders)
    again = load(write_module("keyed"))
    assert folder_of(again) == folder_of(model)
    device = torch.device("cuda:1")
    assert folder_of(dataclasses.replace(model, device=device)) == folders["device"]


@pytest.mark.parametrize(
    ("library", "attribute"),
    [
        (torch, "__version__"),
        (soundfile, "__libsndfile_version__"),
        (soxr, "__version__"),
        (np, "__version__"),
    ],
)
def test_another_version_of_what_decodes_resamples_or_computes_is_another_folder(
    library: object, attribute: str, write_module, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load(write_module("keyed"))
    before = folder_of(model)
    monkeypatch.setattr(library, attribute, "0.0.1")
    assert folder_of(model) != before


def test_a_task_is_embedded_into_the_folder_of_that_key(
    tmp_path: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `embed_task` passes on: the model's own parts, the audio's hash, the corrupted clips."""
    asked: list[dict] = []

    def recording(cache_dir: Path, model: str, task: str, **parts: object) -> Path:
        asked.append({"cache_dir": cache_dir, "model": model, "task": task, **parts})
        return cache_folder(cache_dir, model, task, **parts)

    monkeypatch.setattr(embedding, "cache_folder", recording)
    model = load(RANDOM)
    run(tmp_path, clips)
    run(tmp_path, clips, corruption=parse("clip:10"))
    clean, corrupted = asked
    assert clean == {
        "cache_dir": tmp_path / "cache",
        "model": RANDOM,
        "task": "tones",
        "weights": model.weights_hash,
        "sound": clean["sound"],
        "rate": 16000,
        "device": "cpu",
        "precision": "as loaded",
        "size": model.size,
        "versions": {
            "torch": torch.__version__,
            "libsndfile": soundfile.__libsndfile_version__,
            "soxr": soxr.__version__,
            "numpy": np.__version__,
        },
        "corruption": None,
    }
    ids = [clip.clip_id for clip in clips]
    assert corrupted == clean | {"corruption": CorruptedClips(parse("clip:10"), ids).key}
    soundfile.write(tmp_path / "tones" / "3.wav", np.zeros(1600), 16000)
    run(tmp_path, clips)
    assert asked[-1]["sound"] != clean["sound"]


def test_two_precisions_never_share_an_array(
    tmp_path: Path, clips: list[Clip], write_module, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = "import os\nModel.precision = property(lambda self: os.environ['PRECISION'])"
    name = write_module("precise", more)
    for precision in ("fp32", "bf16"):
        monkeypatch.setenv("PRECISION", precision)
        assert run(tmp_path, clips, name).encoder_calls > 0
        assert run(tmp_path, clips, name).encoder_calls == 0


OUTSIDE = """
import os
def get_scene_embeddings(audio, model):
    factor = float(open(os.environ["FACTOR"]).read())
    return factor * audio[:, :3].clone()
"""


def test_what_a_module_reads_besides_its_weights_is_noticed(
    tmp_path: Path, clips: list[Clip], write_module, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = write_module("outside", OUTSIDE)
    file = tmp_path / "factor"
    monkeypatch.setenv("FACTOR", str(file))
    results = {}
    for factor in ("1", "0", "2"):
        file.write_text(factor)
        results[factor] = np.array(run(tmp_path, clips, name).embeddings)
        assert run(tmp_path, clips, name).encoder_calls == 0
    np.testing.assert_array_equal(results["0"], 0)
    np.testing.assert_allclose(results["2"], 2 * results["1"], rtol=1e-6)
    file.write_text("1.0")  # as before: its array is still there
    assert run(tmp_path, clips, name).encoder_calls == 0
    file.write_text("1.00001")  # rounding is no other model
    assert run(tmp_path, clips, name).encoder_calls == 0


@pytest.mark.parametrize(
    "answer", ["torch.rand(len(audio), 3)", "1 / 0", "torch.full((len(audio), 3), float('nan'))"]
)
def test_a_module_that_varies_or_fails_on_noise_has_no_embedding_of_it(
    write_module, answer: str
) -> None:
    model = load(
        write_module("odd", f"def get_scene_embeddings(audio, model):\n    return {answer}")
    )
    assert model.noise_embedding.shape == (0,)


def test_a_module_gets_a_copy_of_the_audio(write_module) -> None:
    source = "def get_scene_embeddings(audio, model):\n    audio.mul_(2)\n    return audio[:, :3]"
    model, audio = load(write_module("writes", source)), np.ones((1, 5), np.float32)
    np.testing.assert_array_equal(model.scenes(audio), model.scenes(audio))
    np.testing.assert_array_equal(audio, 1)


def test_provenance_is_that_of_the_run_that_embedded(
    tmp_path: Path, clips: list[Clip], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = run(tmp_path, clips)
    (file,) = (tmp_path / "cache").rglob("provenance.json")
    assert json.loads(file.read_text()) == first.provenance
    assert first.provenance["weights_hash"] == first.weights_hash
    assert first.provenance["packages"]["torch"] == torch.__version__
    monkeypatch.setattr("platform.node", lambda: "elsewhere")
    assert run(tmp_path, clips).provenance == first.provenance


def held(change: Callable[[torch.nn.Module], None]) -> torch.nn.Module:
    network = torch.nn.Linear(2, 2)
    change(network)
    return network


@pytest.mark.parametrize(
    "change",
    [
        lambda net: net.register_buffer("s", torch.eye(3).to_sparse()),
        lambda net: net.register_buffer("m", torch.empty(3, device="meta")),
        lambda net: setattr(net, "lazy", torch.nn.LazyLinear(4)),
    ],
)
def test_tensors_of_every_kind_are_hashed(change: Callable, write_module) -> None:
    from wavebyol_hear.files.hear_module import import_module
    from wavebyol_hear.files.weights_hash import weights_fingerprint

    module = import_module(write_module("any_kind"))
    assert weights_fingerprint(module, held(change), "") != weights_fingerprint(
        module, torch.nn.Linear(2, 2), ""
    )


def test_other_embeddings_of_equal_ids_are_not_shared(tmp_path: Path, clips: list[Clip]) -> None:
    model = load(RANDOM)
    options: dict[str, Any] = {"cache_dir": tmp_path / "cache", "workers": 0}
    first = embed_task(TaskClips(TASK, clips, tmp_path / "tones"), model, **options)
    fewer = embed_task(TaskClips(TASK, clips[:-1], tmp_path / "tones"), model, **options)
    assert fewer.encoder_calls > 0
    np.testing.assert_array_equal(fewer.embeddings, first.embeddings[:-1])
