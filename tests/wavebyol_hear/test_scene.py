"""Scene embeddings: the poolings by their definition, training through them, bad audio."""

import subprocess
import sys

import pytest
import torch
from torch.nn import functional

from wavebyol_hear.embed import Embedder
from wavebyol_hear.encoder import PRESETS, Encoder, EncoderConfig
from wavebyol_hear.front_end import ConvFrontEndConfig, GaborFrontEndConfig
from wavebyol_hear.hear import get_scene_embeddings, get_timestamp_embeddings
from wavebyol_hear.pooling import POOLINGS, VARIANCE_FLOOR, Pooling

CONV = EncoderConfig(ConvFrontEndConfig(channels=48), widths="8 P 8 16 P 16 P 32 P")
GABOR = EncoderConfig(
    GaborFrontEndConfig(channels=96), widths="8 P 8 P 16 P 16 P 32 P", input_norm="rms"
)


def embedder(config=CONV, pooling=None, **options):
    torch.manual_seed(0)
    return Embedder(Encoder(config), pooling, **options)


@pytest.fixture
def audio():
    return torch.randn(3, 30_011, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("config", [CONV, GABOR], ids=["conv", "gabor"])
def test_poolings_are_what_they_say(config, audio):
    model = embedder(config)
    with torch.no_grad():
        maps = model.encoder.stages(audio[:, None])
    last = maps[-1]
    rows = last.shape[2]
    pooled = {
        "global": functional.adaptive_avg_pool2d(last, 1) + functional.adaptive_max_pool2d(last, 1),
        "bands": functional.adaptive_avg_pool2d(last, (rows, 1))
        + functional.adaptive_max_pool2d(last, (rows, 1)),
    }
    expected = {name: values.flatten(1) for name, values in pooled.items()}
    image = maps[0].flatten(1, 2)
    parts = [image.mean(-1), image.amax(-1), image.std(-1, correction=0)]
    for values in maps[1:]:
        parts += [values.mean(-1).flatten(1), values.amax(-1).flatten(1)]
    expected["stages"] = torch.cat(parts, 1)
    parts = [
        [m.amax(-1).flatten(1), (m.var(-1, correction=0) + VARIANCE_FLOOR).sqrt().flatten(1)]
        for m in maps
    ]
    contrast = torch.cat([part for both in parts for part in both], 1)
    expected["contrast"] = contrast.sign() * (1 + 10 * contrast.abs()).log()
    expected["maxima"] = torch.cat([part for part, _ in parts], 1)
    for name, values in expected.items():
        model = embedder(config, name)
        result = get_scene_embeddings(audio, model)
        assert result.shape == (3, model.scene_embedding_size)
        torch.testing.assert_close(result, values, atol=1e-5, rtol=1e-5)


def test_compression_keeps_signs_and_tames_what_is_large():
    values = torch.tensor([-100.0, -1.0, 0.0, 1.0, 100.0])
    result = Pooling(compress=10).compressed(values)
    torch.testing.assert_close(result, -result.flip(0))
    torch.testing.assert_close(result[3:], torch.tensor([11.0, 1001.0]).log())
    assert torch.equal(Pooling().compressed(values), values)


@pytest.mark.parametrize(
    ("preset", "pooling", "size"),
    [("h2", "global", 1024), ("h2", "bands", 10_240), ("h2", None, 1024), ("h4", "global", 2048)],
)
def test_sizes_are_the_published_ones(preset, pooling, size):
    with torch.device("meta"):
        model = Embedder(Encoder(PRESETS[preset]), pooling)
    assert model.scene_embedding_size == size


def test_every_stage_of_slim_is_pooled_by_default():
    model = Embedder(Encoder(PRESETS["slim"]))
    assert model.pooling == POOLINGS["contrast"]
    assert model.timestamp_pooling == POOLINGS["maxima"]
    assert 1000 < model.scene_embedding_size < 6000


def test_normalized_embeddings_have_unit_norm_and_the_same_direction(audio):
    plain = get_scene_embeddings(audio, embedder())
    unit = get_scene_embeddings(audio, embedder(normalize=True))
    torch.testing.assert_close(unit, functional.normalize(plain, dim=-1))


def test_an_embedding_does_not_depend_on_its_batch(audio):
    model = embedder()
    alone = torch.cat([get_scene_embeddings(clip[None], model) for clip in audio])
    torch.testing.assert_close(get_scene_embeddings(audio, model), alone, atol=1e-5, rtol=1e-5)


def test_large_batches_are_cut(audio):
    model = embedder(chunk_seconds=4)
    batches = []
    model.register_forward_hook(lambda module, inputs, output: batches.append(len(output)))
    get_scene_embeddings(audio, model)
    assert batches == [2, 1]
    get_scene_embeddings(torch.randn(5, 100), model)
    assert batches == [2, 1, 3, 2]


def test_the_whole_network_can_be_trained_through_the_embedding(audio):
    model = embedder()
    model(audio).square().mean().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
    assert model.encoder.front_end.layers[0][0].weight.grad.abs().max() > 0


def test_silence_has_finite_embeddings_and_gradients():
    for config in (CONV, GABOR):
        model = embedder(config, "stages")
        out = model(torch.zeros(1, 30_000))
        out.sum().backward()
        assert out.isfinite().all()
        assert all(p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("samples", [1, 2, 159, 160, 8000, 20_479, 20_480, 20_481])
@pytest.mark.parametrize("config", [CONV, GABOR], ids=["conv", "gabor"])
def test_any_length_gives_a_finite_embedding_of_the_stated_size(config, samples):
    model = embedder(config)
    out = get_scene_embeddings(torch.randn(1, samples), model)
    assert out.shape == (1, model.scene_embedding_size)
    assert out.dtype == torch.float32
    assert out.isfinite().all()


def test_the_result_can_feed_a_network_that_learns(audio):
    probe = torch.nn.Linear(embedder().scene_embedding_size, 2)
    probe(get_scene_embeddings(audio, embedder())).sum().backward()
    assert probe.weight.grad is not None


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize("gradients", [True, False])
def test_the_functions_evaluate_whatever_mode_the_model_is_in(audio, gradients, fast):
    model = embedder(fast=fast)
    embed = get_scene_embeddings, lambda *args: get_timestamp_embeddings(*args)[0]
    expected = [function(audio, model) for function in embed]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    frozen = model.train().encoder.features[1].eval()
    with torch.set_grad_enabled(gradients):
        for function, values in zip(embed, expected, strict=True):
            embeddings = function(audio, model)
            torch.testing.assert_close(embeddings, values)
            assert not embeddings.requires_grad
    assert model.training
    assert model.encoder.features[0].training
    assert not frozen.training
    assert all(torch.equal(model.state_dict()[name], value) for name, value in state.items())


def test_a_model_in_training_mode_is_trained_by_calling_it(audio):
    model = embedder().train()
    assert model.forward_embeds_scenes
    before = model.encoder.features[1].running_mean.clone()
    model(audio).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())
    assert not torch.equal(model.encoder.features[1].running_mean, before)


def test_without_fast_the_network_runs_as_it_is_written_and_nothing_of_fast_is_imported(audio):
    plain, folded = embedder(fast=False), embedder()
    with torch.no_grad():
        assert torch.equal(get_scene_embeddings(audio, plain), plain(audio))
    torch.testing.assert_close(
        get_scene_embeddings(audio, plain), get_scene_embeddings(audio, folded), atol=1e-5, rtol=0
    )
    code = """
import sys, torch, wavebyol_hear
model = wavebyol_hear.load_model(fast=False)
assert model.precision == "fp32"
wavebyol_hear.get_scene_embeddings(torch.zeros(1, 100), model)
wavebyol_hear.get_timestamp_embeddings(torch.zeros(1, 100), model)
assert not [name for name in sys.modules if name.startswith("wavebyol_hear.fast")]
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("config", [CONV, GABOR], ids=["conv", "gabor"])
def test_who_pads_a_short_clip_as_the_model_does_gets_its_embedding(config):
    model = embedder(config)
    for samples in (1, 9_998, 9_999, model.pads_scenes_to):
        clip = torch.randn(1, samples)
        missing = model.pads_scenes_to - samples
        padded = functional.pad(clip, (missing // 2, missing - missing // 2))
        result = get_scene_embeddings(padded, model)
        torch.testing.assert_close(result, get_scene_embeddings(clip, model), atol=1e-6, rtol=1e-6)
    longer = functional.pad(clip, (0, 160))
    assert not torch.allclose(result, get_scene_embeddings(longer, model), atol=1e-4)


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (torch.zeros(100), r"\[100\]"),
        (torch.zeros(1, 1, 100), r"\[1, 1, 100\]"),
        (torch.zeros(1, 100, dtype=torch.int16), "torch.int16"),
        (torch.zeros(1, 0), "one sample at least"),
        (torch.zeros(0, 100), "one clip"),
        (torch.tensor([[0.0, 1.0], [0.0, torch.nan]]), "clip 1"),
        (torch.tensor([[0.0, -torch.inf]]), "NaN or infinite"),
        ([[0.0]], "list"),
    ],
)
def test_bad_audio_is_named_in_one_line(audio, message):
    model = embedder()
    with pytest.raises(ValueError, match=message) as caught:
        get_scene_embeddings(audio, model)
    assert "\n" not in str(caught.value)


def test_double_precision_audio_is_taken(audio):
    model = embedder()
    expected = get_scene_embeddings(audio, model)
    assert torch.equal(get_scene_embeddings(audio.double(), model), expected)


def test_bad_options_are_named():
    with pytest.raises(ValueError, match="'median' is unknown: it is one of global"):
        embedder(pooling="median")
    with pytest.raises(ValueError, match="chunk_seconds is 0"):
        embedder(chunk_seconds=0)
    with pytest.raises(ValueError, match="only fast=True computes in bf16"):
        embedder(precision="bf16", fast=False)
    with pytest.raises(ValueError, match="deviation over all rows"):
        Pooling(last=("std",), rows=False)
