"""The HEAR module as its users see it."""

import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import torch

import wavebyol_hear
from wavebyol_hear import hear
from wavebyol_hear.checkpoint import WeightsError, load_encoder, load_weights, save_encoder
from wavebyol_hear.encoder import PRESETS, Encoder, EncoderConfig
from wavebyol_hear.front_end import GaborFrontEndConfig
from wavebyol_hear.whitening import Whitening

TINY = EncoderConfig(GaborFrontEndConfig(channels=12), widths="4 P 8 P", input_norm="rms")


@pytest.fixture(autouse=True)
def _quiet():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*UNTRAINED")
        yield


@pytest.fixture
def weights(tmp_path):
    torch.manual_seed(1)
    save_encoder(tmp_path / "tiny.safetensors", Encoder(TINY), {})
    return str(tmp_path / "tiny.safetensors")


def test_the_face_is_the_three_functions():
    assert wavebyol_hear.__all__ == [
        "__version__",
        "get_scene_embeddings",
        "get_timestamp_embeddings",
        "load_model",
    ]


def test_the_default_model_has_what_hear_asks_for():
    model = wavebyol_hear.load_model()
    assert isinstance(model, torch.nn.Module)
    assert model.config == PRESETS["wide_bank"]
    assert model.sample_rate == 16_000
    for name in ("sample_rate", "scene_embedding_size", "timestamp_embedding_size"):
        assert type(getattr(model, name)) is int
    assert not model.training


@pytest.mark.parametrize("seconds", [1.07, 1.98, 4.0, 2.74])
def test_the_validators_clips(seconds):
    model = wavebyol_hear.load_model()
    audio = torch.rand(2, int(seconds * 16_000)) * 2 - 1
    scene = wavebyol_hear.get_scene_embeddings(audio, model)
    assert scene.shape == (2, model.scene_embedding_size)
    out, times = wavebyol_hear.get_timestamp_embeddings(audio, model)
    assert out.shape == (*times.shape, model.timestamp_embedding_size)
    hops = times.diff()
    assert (hops - hops.mean()).abs().max() < 1
    assert hops.max() <= 50
    assert times.min() <= hops.mean()
    assert 1000 * seconds - hops.mean() <= times.max() <= 1000 * seconds


def test_untrained_weights_are_seeded_and_warned_of_once():
    torch.manual_seed(123)
    before = torch.random.get_rng_state()
    with pytest.warns(UserWarning, match="h1 is UNTRAINED") as caught:
        first = wavebyol_hear.load_model(preset="h1")
    assert len(caught) == 1
    assert torch.equal(torch.random.get_rng_state(), before)
    second = wavebyol_hear.load_model(preset="h1")
    for name, value in first.state_dict().items():
        assert torch.equal(second.state_dict()[name], value)


def test_shipped_weights_are_used_without_a_word(tmp_path, monkeypatch):
    torch.manual_seed(5)
    shipped = Encoder(PRESETS[hear.DEFAULT_PRESET])
    save_encoder(tmp_path / f"{hear.DEFAULT_PRESET}.safetensors", shipped, {})
    monkeypatch.setattr(hear, "shipped", lambda preset: tmp_path / f"{preset}.safetensors")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = wavebyol_hear.load_model()
    for name, value in shipped.state_dict().items():
        assert torch.equal(model.encoder.state_dict()[name], value)


@pytest.mark.parametrize("preset", ["slim", "wide_bank"])
def test_every_shipped_preset_is_trained_whitened_and_of_known_origin(preset):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = wavebyol_hear.load_model(preset=preset)
    assert model.config == PRESETS[preset]
    for whitening in (model.whiten_scene, model.whiten_timestamps):
        assert isinstance(whitening, Whitening)
    path = Path(wavebyol_hear.__file__).parent / "weights" / f"{preset}.safetensors"
    _, provenance = load_encoder(path)
    assert {"config", "crops", "data_hash", "data_hours", "git_revision"} <= provenance.keys()
    assert path.stat().st_size <= 16e6


def test_a_weights_file_brings_its_own_network(weights):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = wavebyol_hear.load_model(weights, pooling="bands")
    assert model.config == TINY
    assert model.scene_embedding_size == 8


def test_options_reach_the_model(weights):
    model = wavebyol_hear.load_model(weights, pooling="global", normalize=True, chunk_seconds=5)
    scene = wavebyol_hear.get_scene_embeddings(torch.randn(2, 16_000), model)
    torch.testing.assert_close(scene.norm(dim=1), torch.ones(2))
    assert model.clips_at_once(80_000) == 1


def test_bad_arguments_are_named(weights, tmp_path):
    with pytest.raises(ValueError, match="'h9' is unknown: it is one of h1"):
        wavebyol_hear.load_model(preset="h9")
    with pytest.raises(WeightsError, match="not of preset 'h1'"):
        wavebyol_hear.load_model(weights, preset="h1")
    with pytest.raises(WeightsError, match="No such file"):
        wavebyol_hear.load_model(str(tmp_path / "none.pt"))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_model_follows_its_device(precision, monkeypatch):
    # A device without numbers refuses tensors of another: what looks at values is left out.
    monkeypatch.setattr("wavebyol_hear.fast.inference._equal", lambda *states: False)
    monkeypatch.setattr("wavebyol_hear.embed.check_audio", lambda audio: None)
    model = wavebyol_hear.load_model(precision=precision).to("meta")
    scene = wavebyol_hear.get_scene_embeddings(torch.zeros(3, 30_000), model)
    frames, times = wavebyol_hear.get_timestamp_embeddings(torch.zeros(1, 500_000), model)
    assert {scene.device.type, frames.device.type, times.device.type} == {"meta"}
    assert scene.shape == (3, model.scene_embedding_size)
    assert frames.shape[2] == model.timestamp_embedding_size


def test_importing_seeds_nothing_and_sets_no_threads_and_leaves_torch_s_compiler_alone():
    # The compiler's import takes as long as torch's own.
    code = """
import sys
import torch
before = torch.random.get_rng_state(), torch.get_num_threads(), torch.is_grad_enabled()
import wavebyol_hear
wavebyol_hear.load_model()
after = torch.random.get_rng_state(), torch.get_num_threads(), torch.is_grad_enabled()
assert torch.equal(before[0], after[0]) and before[1:] == after[1:]
assert "torch._dynamo" not in sys.modules
"""
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)


def test_files_and_version_do_not_wait_for_torch():
    code = """
import sys
import wavebyol_hear, wavebyol_hear.files.atomic
assert wavebyol_hear.__version__ and "torch" not in sys.modules
assert "load_model" in dir(wavebyol_hear) and not hasattr(wavebyol_hear, "absent")
from wavebyol_hear import load_model
assert load_model is wavebyol_hear.load_model and "torch" in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_sounds_of_different_kinds_embed_differently(esc50_clips):
    model = wavebyol_hear.load_model()
    first, second = wavebyol_hear.get_scene_embeddings(esc50_clips[:2], model)
    assert torch.cosine_similarity(first, second, dim=0) < 0.999


def test_untrained_is_the_default_network_without_what_it_learned():
    with pytest.warns(UserWarning, match="wide_bank is UNTRAINED"):
        model = wavebyol_hear.load_model(untrained=True)
    again = wavebyol_hear.load_model(untrained=True)
    assert model.encoder.config == PRESETS["wide_bank"]
    assert model.scene_embedding_size == wavebyol_hear.load_model().scene_embedding_size
    for one, two in zip(model.parameters(), again.parameters(), strict=True):
        assert torch.equal(one, two)
    mean = model.encoder.get_buffer("features.1.running_mean")
    assert torch.equal(mean, torch.zeros_like(mean))
    with pytest.raises(ValueError, match="untrained=True beside the weights"):
        wavebyol_hear.load_model("x.pt", untrained=True)


def test_unwhitened_is_the_default_model_before_its_whitening():
    audio = torch.randn(2, 20_480)
    plain = wavebyol_hear.get_scene_embeddings(audio, wavebyol_hear.load_model(whiten=False))
    model = wavebyol_hear.load_model()
    assert not torch.equal(plain, wavebyol_hear.get_scene_embeddings(audio, model))
    whitened = model.whiten_scene(plain)
    torch.testing.assert_close(whitened, wavebyol_hear.get_scene_embeddings(audio, model))


def test_a_loaded_model_is_saved_with_its_whitenings(tmp_path):
    model = wavebyol_hear.load_model()
    save_encoder(tmp_path / "again.safetensors", model.encoder, {})
    again = wavebyol_hear.load_model(str(tmp_path / "again.safetensors"))
    audio = torch.randn(2, 20_480)
    for embed in (
        wavebyol_hear.get_scene_embeddings,
        lambda *args: wavebyol_hear.get_timestamp_embeddings(*args)[0],
    ):
        assert torch.equal(embed(audio, again), embed(audio, model))
    save_encoder(tmp_path / "plain.safetensors", model.encoder, {}, whitenings={})
    assert not load_weights(tmp_path / "plain.safetensors").whitenings


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_halved_weights_are_refused_with_the_remedy(dtype: torch.dtype) -> None:
    model = wavebyol_hear.load_model().to(dtype)
    for embed in (wavebyol_hear.get_scene_embeddings, wavebyol_hear.get_timestamp_embeddings):
        with pytest.raises(ValueError, match=r'weights are torch.*precision="bf16"'):
            embed(torch.randn(1, 16000), model)


def test_torchs_default_type_changes_nothing() -> None:
    audio = torch.randn(2, 20480, generator=torch.Generator().manual_seed(0))
    scene = wavebyol_hear.get_scene_embeddings(audio, wavebyol_hear.load_model())
    frames, times = wavebyol_hear.get_timestamp_embeddings(audio, wavebyol_hear.load_model())
    before = wavebyol_hear.load_model()
    torch.set_default_dtype(torch.float64)
    try:
        for model in (before, wavebyol_hear.load_model()):
            assert torch.equal(wavebyol_hear.get_scene_embeddings(audio, model), scene)
            again = wavebyol_hear.get_timestamp_embeddings(audio, model)
            assert torch.equal(again[0], frames)
            assert torch.equal(again[1], times)
    finally:
        torch.set_default_dtype(torch.float32)
