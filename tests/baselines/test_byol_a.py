"""BYOL-A's HEAR module computes the published function and says what is wrong with a file."""

import importlib
import math

import numpy as np
import pytest
import torch
from torch.nn import functional

from baselines import base, byol_a
from baselines.base import BaselineError, WeightsError, write_weights

D = 24


def published_state(d=D):
    """A state dict with the names and shapes of NTT's file."""
    chance = torch.Generator().manual_seed(3)

    def draw(*shape, scale=1.0):
        return scale * torch.randn(shape, generator=chance)

    state = {}
    for place, inputs in ((0, 1), (4, 64), (8, 64)):
        state[f"features.{place}.weight"] = draw(64, inputs, 3, 3, scale=(9 * inputs) ** -0.5)
        state[f"features.{place}.bias"] = draw(64, scale=0.1)
        norm = f"features.{place + 1}"
        state |= {f"{norm}.weight": draw(64), f"{norm}.bias": draw(64)}
        state |= {f"{norm}.running_mean": draw(64), f"{norm}.running_var": 1 + draw(64).abs()}
        state[f"{norm}.num_batches_tracked"] = torch.tensor(7)
    state |= {"fc.0.weight": draw(d, 512, scale=0.05), "fc.0.bias": draw(d)}
    state |= {"fc.3.weight": draw(d, d, scale=0.2), "fc.3.bias": draw(d)}
    return state


@pytest.fixture
def ntt_file(tmp_path):
    """The random state dict as torch.save writes it."""
    path = tmp_path / "AudioNTT.pth"
    torch.save(published_state(), path)
    return path


def mel_filters():
    """64 triangles from 60 to 7800 Hz, even in HTK's mel, over 513 bins."""

    def mel(hz):
        return 2595 * math.log10(1 + hz / 700)

    edges = 700 * (10 ** (np.linspace(mel(60), mel(7800), 66) / 2595) - 1)
    bins = np.linspace(0, 8000, 513)
    up = (bins - edges[:-2, None]) / (edges[1:-1] - edges[:-2])[:, None]
    down = (edges[2:, None] - bins) / (edges[2:] - edges[1:-1])[:, None]
    return torch.from_numpy(np.maximum(0, np.minimum(up, down)))


def published_function(wave, state, mean, std):
    """Log-mel, [conv, norm, ReLU, max pool] x 3, two linear layers, max + mean; float64."""
    state = {k: v.double() for k, v in state.items()}
    spectrum = torch.stft(
        wave.double(), 1024, 160, window=torch.hann_window(1024).double(), return_complex=True
    )
    energy = mel_filters() @ (spectrum.real**2 + spectrum.imag**2)
    x = (((energy + np.finfo(np.float32).eps).log() - mean) / std)[:, None]
    for place in (0, 4, 8):
        x = functional.conv2d(
            x, state[f"features.{place}.weight"], state[f"features.{place}.bias"], padding=1
        )
        norm = f"features.{place + 1}."
        x = functional.batch_norm(
            x,
            state[norm + "running_mean"],
            state[norm + "running_var"],
            state[norm + "weight"],
            state[norm + "bias"],
        )
        x = functional.max_pool2d(functional.relu(x), 2)
    batch, channels, mels, frames = x.shape
    x = x.permute(0, 3, 2, 1).reshape(batch, frames, mels * channels)
    for place in (0, 3):
        x = functional.relu(
            functional.linear(x, state[f"fc.{place}.weight"], state[f"fc.{place}.bias"])
        )
    return x.max(1).values + x.mean(1)


@pytest.mark.parametrize(
    ("options", "mean", "std"),
    [({}, byol_a.NTT_MEAN, byol_a.NTT_STD), ({"mean": -3, "std": 2.5}, -3.0, 2.5)],
)
@pytest.mark.parametrize("samples", [15_200, 31_234])
def test_ntts_file_gives_the_published_function(ntt_file, options, mean, std, samples):
    model = byol_a.load_model(str(ntt_file), **options)
    wave = 0.1 * torch.randn(2, samples, generator=torch.Generator().manual_seed(samples))
    expected = published_function(wave, published_state(), mean, std)
    got = byol_a.get_scene_embeddings(wave, model)
    assert model.scene_embedding_size == D
    torch.testing.assert_close(got.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("samples", [1, 160, 1000, 7_999, 16_000, 17_120, 43_840])
def test_timestamps_are_regular_and_reach_the_end(ntt_file, samples):
    model = byol_a.load_model(str(ntt_file))
    vectors, times = byol_a.get_timestamp_embeddings(torch.zeros(2, samples), model)
    assert vectors.shape == (*times.shape, D)
    assert vectors.isfinite().all()
    assert byol_a.get_scene_embeddings(torch.zeros(2, samples), model).isfinite().all()
    assert torch.all(times.diff() == 40)
    duration = samples / 16
    assert times[0, -1] <= max(duration, 5)
    assert duration - times[0, -1] <= 40


def test_timestamps_say_where_a_sound_is(ntt_file):
    model = byol_a.load_model(str(ntt_file))
    quiet = 1e-3 * torch.randn(1, 64_000, generator=torch.Generator().manual_seed(0))
    clicked = quiet.clone()
    clicked[:, 40_000:40_160] += 0.5  # 2505 ms
    before, times = byol_a.get_timestamp_embeddings(quiet, model)
    after, _ = byol_a.get_timestamp_embeddings(clicked, model)
    change = (after - before).norm(dim=-1)[0]
    centre = (change * times[0]).sum() / change.sum()
    assert abs(float(centre) - 2505) < 20


def test_our_file_carries_the_normalisation(tmp_path):
    network = byol_a.AudioNtt2020(D).eval()
    path = tmp_path / "ours.safetensors"
    settings = {"mean": -4.0, "std": 3.0}
    write_weights(path, network, kind=byol_a.KIND, settings=settings, provenance={"steps": 1})
    model = byol_a.load_model(str(path))
    assert (model.mean, model.std) == (-4.0, 3.0)
    wave = 0.1 * torch.randn(1, 16_000)
    with torch.no_grad():
        exact = byol_a.pool(network(model.image(wave)))
    torch.testing.assert_close(
        byol_a.get_scene_embeddings(wave, model), exact, rtol=5e-3, atol=5e-3
    )


def test_a_network_with_a_missing_part_is_refused_by_name(tmp_path):
    state = published_state()
    del state["features.5.running_var"]
    torch.save(state, tmp_path / "less.pth")
    with pytest.raises(WeightsError, match=r"lacks features\.5\.running_var"):
        byol_a.load_model(str(tmp_path / "less.pth"))
    torch.save({**published_state(), "head.weight": torch.ones(2)}, tmp_path / "more.pth")
    with pytest.raises(WeightsError, match=r"holds head\.weight"):
        byol_a.load_model(str(tmp_path / "more.pth"))


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_truncated_file_is_refused(ntt_file, tmp_path, suffix):
    whole = ntt_file.read_bytes()
    path = tmp_path / f"cut{suffix}"
    for content in (whole[: len(whole) // 2], b"hello\n", b""):
        path.write_bytes(content)
        with pytest.raises(WeightsError, match="damaged"):
            byol_a.load_model(str(path))


@pytest.mark.parametrize(
    "options", [{"mean": "x"}, {"std": 0}, {"std": -1}, {"mean": math.nan}, {"std": True}]
)
def test_a_wrong_option_is_named(ntt_file, options):
    name, value = next(iter(options.items()))
    with pytest.raises(BaselineError, match=f"{name} is {value!r}"):
        byol_a.load_model(str(ntt_file), **options)


def test_without_weights_the_error_says_how_to_train(tmp_path, monkeypatch):
    monkeypatch.setattr(base, "WEIGHTS", tmp_path)
    with pytest.raises(WeightsError, match="--preset byol_a"):
        byol_a.load_model()
    with pytest.raises(WeightsError, match="not a file"):
        byol_a.load_model(str(tmp_path / "absent.pth"))


def test_audio_that_is_no_batch_is_refused(ntt_file):
    model = byol_a.load_model(str(ntt_file))
    for wrong in (torch.zeros(16_000), torch.zeros(2, 0)):
        with pytest.raises(ValueError, match="audio is"):
            byol_a.get_scene_embeddings(wrong, model)


def test_a_file_of_other_types_or_a_monstrous_network_is_refused(tmp_path):
    path = tmp_path / "w.pth"
    state = published_state()
    torch.save({**state, "fc.3.weight": state["fc.3.weight"].to(torch.int32)}, path)
    with pytest.raises(WeightsError, match=r"fc\.3\.weight is torch\.int32"):
        byol_a.load_model(str(path))
    torch.save({**state, "fc.0.bias": torch.zeros(2_000_000)}, path)
    with pytest.raises(WeightsError, match=r"w\.pth: fc\.0\.weight is \[24, 512\]"):
        byol_a.load_model(str(path))
    torch.save({"a": print}, path)
    with pytest.raises(WeightsError, match="plain tensors") as caught:
        byol_a.load_model(str(path))
    assert "weights_only" not in str(caught.value)


@pytest.mark.parametrize("name", ["byol_a", "cola", "ssast", "delores"])
def test_the_functions_evaluate_and_the_module_trains(name):
    module = importlib.import_module(f"baselines.{name}")
    before = torch.random.get_rng_state()
    model = module.load_model()
    assert torch.equal(torch.random.get_rng_state(), before)
    audio = 0.1 * torch.randn(2, 20_000, generator=torch.Generator().manual_seed(0))
    expected = module.get_scene_embeddings(audio, model)
    stamps = module.get_timestamp_embeddings(audio, model)[0]
    state = {key: value.clone() for key, value in model.state_dict().items()}
    model.train()
    assert torch.equal(module.get_scene_embeddings(audio, model), expected)
    assert torch.equal(module.get_timestamp_embeddings(audio, model)[0], stamps)
    assert model.training
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert model.forward_embeds_scenes
    model(audio).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
