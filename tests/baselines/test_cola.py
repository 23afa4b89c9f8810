"""COLA's HEAR module, and the EfficientNet-B0 under it."""

import json

import pytest
import torch
from safetensors import safe_open

from baselines import base, cola
from baselines.base import BaselineError, WeightsError, fill, write_weights
from baselines.efficientnet import FEATURES, Depthwise, EfficientNetB0, InvertedBottleneck
from wavebyol_hear.layers import pad_to

SECOND = 16_000


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = cola.ColaModel(EfficientNetB0())
    model.train()
    with torch.no_grad():  # BatchNorm statistics of some sound, so that activations are not tiny
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.momentum = 1.0
        model(torch.randn(16, SECOND))
    return model.eval()


def noise(batch, samples, seed=0):
    return 0.1 * torch.randn(batch, samples, generator=torch.Generator().manual_seed(seed))


def test_the_network_has_the_published_number_of_parameters():
    features = sum(p.numel() for p in EfficientNetB0(inputs=3).parameters())
    assert features == 4_007_548
    assert features + (FEATURES + 1) * 1000 == 5_288_548  # with the 1000-class layer
    depthwise = [m for m in EfficientNetB0().modules() if isinstance(m, Depthwise)]
    assert len(depthwise) == 16


@pytest.mark.parametrize(("size", "expected"), [((64, 98), (2, 4)), ((224, 224), (7, 7))])
def test_the_network_divides_the_image_by_32(size, expected):
    with torch.no_grad():
        assert EfficientNetB0(1).eval()(torch.randn(1, 1, *size)).shape == (1, 1280, *expected)


def test_depthwise_in_bf16_is_the_same_filter_and_keeps_the_type():
    layer = Depthwise(6, 5, 2)
    maps = torch.randn(2, 6, 9, 12)
    with torch.autocast("cpu", torch.bfloat16):
        got = layer(maps.bfloat16())
    assert got.dtype == torch.bfloat16
    exact = torch.nn.functional.conv2d(maps, layer.weight, None, 2, 2, groups=6)
    torch.testing.assert_close(got.float(), exact, rtol=0.03, atol=0.03)


def test_dropped_blocks_pass_their_input_on_and_the_mean_is_kept():
    block = InvertedBottleneck(8, 8, 1, 1, 3, drop=0.5)
    for module in block.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()  # so that samples do not act on one another
    maps = torch.randn(1, 8, 4, 4).expand(2000, -1, -1, -1)
    torch.manual_seed(0)
    with torch.no_grad():
        change = block(maps) - maps
        passed_on = change.abs().amax((1, 2, 3)) < 1e-6
        full = block.body(maps[:1])
    assert 0.45 < passed_on.float().mean() < 0.55
    torch.testing.assert_close(change[~passed_on][:1], 2 * full, rtol=1e-4, atol=1e-5)


def test_log_mel_frames_are_tensorflows(model):
    """Frame i is the magnitude of samples 160 i to 160 i + 399 under a periodic Hann window."""
    wave = noise(1, SECOND)
    unit = wave[0] / wave.norm()
    got = cola.LogMel()(wave)[0, 0]
    assert got.shape == (64, 98)
    window = 0.5 - 0.5 * torch.cos(2 * torch.pi * torch.arange(400) / 400)
    filters = model.log_mel.mel.mel_scale.fb
    for frame in (0, 41, 97):
        piece = unit[160 * frame : 160 * frame + 400] * window
        magnitude = torch.fft.rfft(piece, 1024).abs()
        expected = (magnitude @ filters).clamp(1e-5).log()
        torch.testing.assert_close(got[:, frame], expected, rtol=1e-4, atol=1e-4)


def test_level_and_repetition_do_not_change_the_embedding(model):
    wave = noise(2, SECOND)
    once = cola.get_scene_embeddings(wave, model)
    assert once.shape == (2, 1280)
    torch.testing.assert_close(
        cola.get_scene_embeddings(30 * wave, model), once, rtol=1e-3, atol=1e-3
    )
    torch.testing.assert_close(
        cola.get_scene_embeddings(wave.repeat(1, 3), model), once, rtol=1e-3, atol=1e-3
    )
    assert (once[0] - once[1]).abs().max() > 1e-2


def test_the_last_window_ends_with_the_clip(model):
    wave = noise(1, SECOND + 500)
    both = torch.cat([wave[:, :SECOND], wave[:, -SECOND:]])
    expected = cola.get_scene_embeddings(both, model).mean(0, keepdim=True)
    torch.testing.assert_close(
        cola.get_scene_embeddings(wave, model), expected, rtol=1e-3, atol=1e-3
    )


@pytest.mark.parametrize("samples", [1, 799, 17_120])
def test_timestamps_are_regular_and_reach_the_end(model, samples):
    vectors, times = cola.get_timestamp_embeddings(noise(2, samples), model)
    assert vectors.shape == (*times.shape, 1280)
    assert vectors.isfinite().all()
    assert torch.all(times.diff() == 50)
    assert 0 <= samples / 16 - times[0, -1] < 50
    assert cola.get_scene_embeddings(torch.zeros(2, samples), model).isfinite().all()


def test_a_timestamp_is_the_second_around_it(model):
    wave = noise(1, 3 * SECOND)
    vectors, times = cola.get_timestamp_embeddings(wave, model)
    place = int((times[0] == 1250).nonzero())
    expected = cola.get_scene_embeddings(wave[:, 12_000:28_000], model)
    torch.testing.assert_close(vectors[:, place], expected, rtol=1e-3, atol=1e-3)


def test_weights_survive_their_file(model, tmp_path):
    path = tmp_path / "weights.safetensors"
    write_weights(path, model.network, kind=cola.KIND, settings={}, provenance={"crops": 5})
    assert path.stat().st_size < 8.5e6
    with safe_open(path, "pt") as file:
        assert json.loads(file.metadata()["provenance"]) == {"crops": 5}
    again = cola.load_model(str(path))
    wave = noise(1, SECOND)
    one, two = (cola.get_scene_embeddings(wave, m)[0] for m in (model, again))
    assert torch.nn.functional.cosine_similarity(one, two, dim=0) > 0.999


def test_wrong_files_are_named(tmp_path, monkeypatch):
    path = tmp_path / "w.safetensors"
    layer = torch.nn.Linear(2, 3)
    write_weights(path, layer, kind="other/1", settings={}, provenance={})
    with pytest.raises(WeightsError, match="'other/1'"):
        cola.load_model(str(path))
    write_weights(path, layer, kind=cola.KIND, settings={}, provenance={})
    with pytest.raises(WeightsError, match=r"holds bias|lacks"):
        cola.load_model(str(path))
    with pytest.raises(WeightsError, match=r"weight is \[3, 2\], not \[4, 2\]"):
        fill(lambda: torch.nn.Linear(2, 4, bias=False), {"weight": layer.weight}, path)
    torch.nn.init.constant_(layer.weight, 1e6)
    with pytest.raises(WeightsError, match="not finite in half precision"):
        write_weights(path, layer, kind=cola.KIND, settings={}, provenance={})
    monkeypatch.setattr(base, "WEIGHTS", tmp_path)
    with pytest.raises(WeightsError, match="--preset cola"):
        cola.load_model()


@pytest.mark.parametrize("samples", [100, SECOND, 2 * SECOND + 77])
def test_every_stage_is_pooled_over_the_whole_clip(model, samples):
    every = cola.ColaModel(model.network, pooling="contrast").eval()
    clips = noise(2, samples)
    scenes = cola.get_scene_embeddings(clips, every)
    assert scenes.shape == (2, every.scene_embedding_size)
    image = every.log_mel(pad_to(clips, SECOND))
    with torch.no_grad():
        head = model.network(image).flatten(1, 2)
    expected = torch.cat([head.amax(-1), (head.var(-1, correction=0) + 1e-12).sqrt()], 1)
    expected = expected.sign() * (10 * expected.abs()).log1p()
    torch.testing.assert_close(scenes[:, -expected.shape[1] :], expected, atol=2e-2, rtol=1e-3)
    widths = [64, 32 * 32, 16 * 32, 24 * 16, 40 * 8, 80 * 4, 112 * 4, 192 * 2, 320 * 2, 1280 * 2]
    assert scenes.shape[1] == 2 * sum(widths)
    with pytest.raises(BaselineError, match="give published or contrast"):
        cola.load_model(pooling="stages")
