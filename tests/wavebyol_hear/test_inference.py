"""The folded copy: the same numbers, never stale, and out of the way of training."""

import copy
from typing import cast

import pytest
import torch
from torch.nn import functional

from wavebyol_hear import load_model
from wavebyol_hear.embed import Embedder
from wavebyol_hear.encoder import Encoder, EncoderConfig
from wavebyol_hear.fast.inference import FoldedEncoder, RectifiedPool2d
from wavebyol_hear.front_end import BankFrontEndConfig, ConvFrontEndConfig, GaborFrontEndConfig
from wavebyol_hear.hear import get_scene_embeddings, get_timestamp_embeddings
from wavebyol_hear.precision import Precision

CONV = EncoderConfig(ConvFrontEndConfig(channels=48), widths="8 P 8 16 P 16 P 32 P")
GABOR = EncoderConfig(
    GaborFrontEndConfig(channels=96), widths="8 P 8 P 16 P 16 P 32 P", input_norm="rms"
)
BANK = EncoderConfig(
    BankFrontEndConfig(channels=96),
    widths="8 P 8 P 16 P 16 P 32 P",
    pre_emphasis=0.97,
    input_norm="rms",
)
ODD_TAPS = EncoderConfig(
    GaborFrontEndConfig(channels=96, taps=301, pool=1), widths="8 P 16 P", input_norm="rms"
)
PLAIN_END = EncoderConfig(ConvFrontEndConfig(channels=48), widths="8 P P 16 P 16")
PLAIN_START = EncoderConfig(ConvFrontEndConfig(channels=48), widths="P 8 P 16 P")
ALL = pytest.mark.parametrize("config", [CONV, GABOR, BANK], ids=["conv", "gabor", "bank"])


def sound(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


def used_encoder(config):
    """An encoder whose BatchNorms have seen something, with factors and offsets of their own."""
    torch.manual_seed(0)
    encoder = Encoder(config).train()
    for _ in range(3):
        encoder(sound(4, 1, 20_480))
    for name, parameter in encoder.named_parameters():
        if parameter.dim() == 1 and "norm" not in name:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
        if name.endswith(("taps", "averaging")):
            parameter.data += 0.02 * torch.randn_like(parameter) * parameter.abs().max()
    return encoder.eval()


@pytest.mark.parametrize(
    "config",
    [CONV, GABOR, BANK, ODD_TAPS, PLAIN_END, PLAIN_START],
    ids=["conv", "gabor", "bank", "odd", "end", "start"],
)
@pytest.mark.parametrize("winograd", [False, True])
@pytest.mark.parametrize("samples", [16_000, 50_001])
def test_the_folded_copy_gives_the_plain_network_s_numbers(config, samples, winograd, monkeypatch):
    if winograd:
        monkeypatch.setattr("wavebyol_hear.fast.front_end.WIDE", 8)
        monkeypatch.setattr("wavebyol_hear.fast.inference.TALL", 1)
    model = Embedder(used_encoder(config), "stages", chunk_seconds=2)
    audio = sound(2, samples)
    plain = model(audio).detach()
    torch.testing.assert_close(get_scene_embeddings(audio, model), plain, atol=1e-5, rtol=1e-5)
    plain, times = model.timestamps(audio)
    result, when = get_timestamp_embeddings(audio, model)
    torch.testing.assert_close(result, plain.detach(), atol=1e-5, rtol=1e-5)
    assert torch.equal(when, times)


@ALL
def test_nothing_is_left_to_fold(config):
    folded = FoldedEncoder(Encoder(config), torch.bfloat16)
    assert not [m for m in folded.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    kinds = {layer.weight.dtype for layer in folded.features if hasattr(layer, "weight")}
    assert kinds == {torch.bfloat16}


@pytest.mark.parametrize("preset", ["slim", "h3"])
@pytest.mark.filterwarnings("ignore:.*UNTRAINED")
def test_bfloat16_points_where_float32_does_for_every_clip(esc50_clips, preset):
    waves = esc50_clips if preset == "slim" else esc50_clips[:2]
    exact, fast = (load_model(preset=preset, precision=p) for p in ("fp32", "bf16"))
    assert (exact.precision, fast.precision) == ("fp32", "bf16")
    for get in (get_scene_embeddings, lambda *given: get_timestamp_embeddings(*given)[0]):
        expected, result = get(waves, exact), get(waves, fast)
        assert result.dtype == torch.float32
        assert not torch.equal(result, expected)
        assert functional.cosine_similarity(result, expected, dim=-1).min() >= 0.999


def test_precision_is_chosen_where_none_is_asked_for():
    model = load_model()
    assert model.precision in ("fp32", "bf16")
    assert model.precision == load_model().precision
    forced = load_model(precision=cast(Precision, model.precision))
    audio = sound(1, 16_000)
    assert torch.equal(get_scene_embeddings(audio, model), get_scene_embeddings(audio, forced))
    with pytest.raises(ValueError, match="'fp8' is unknown: it is one of fp32, bf16, auto"):
        load_model(precision="fp8")  # type: ignore[arg-type]


@ALL
def test_the_state_stays_the_encoder_s(config):
    encoder = used_encoder(config)
    before = {f"encoder.{name}": value.clone() for name, value in encoder.state_dict().items()}
    model = Embedder(encoder, precision="bf16")
    get_scene_embeddings(sound(1, 16_000), model)
    after = model.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert {p.dtype for p in model.parameters()} == {torch.float32}


def behind_autograd(model, audio):
    for parameter in model.parameters():
        parameter.data.mul_(1.01)


def one_step(model, audio):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    model.train()
    model(audio).square().mean().backward()
    optimizer.step()
    model.eval()


def other_weights(model, audio):
    state = {name: value * 1.1 for name, value in model.state_dict().items()}
    model.load_state_dict(state)


@pytest.mark.parametrize("change", [behind_autograd, one_step, other_weights])
@ALL
def test_a_changed_weight_changes_the_copy(config, change):
    model = Embedder(used_encoder(config))
    audio = sound(2, 24_000)
    before = get_scene_embeddings(audio, model)
    change(model, audio)
    after = get_scene_embeddings(audio, model)
    assert (after - before).abs().max() > 1e-4
    torch.testing.assert_close(after, model(audio).detach(), atol=1e-5, rtol=1e-5)


def test_an_unchanged_model_is_folded_once(monkeypatch):
    model = Embedder(used_encoder(GABOR))
    audio = sound(1, 16_000)
    expected = get_scene_embeddings(audio, model)
    monkeypatch.delattr("wavebyol_hear.fast.inference.FoldedEncoder")
    assert torch.equal(get_scene_embeddings(audio, model), expected)


def test_inference_mode_copies_and_casts_are_taken():
    with torch.inference_mode():
        model = Embedder(used_encoder_in_inference_mode())
        expected = get_scene_embeddings(sound(1, 16_000), model)
    assert torch.equal(get_scene_embeddings(sound(1, 16_000), model), expected)
    assert torch.equal(get_scene_embeddings(sound(1, 16_000), copy.deepcopy(model)), expected)
    double = get_scene_embeddings(sound(1, 16_000).double(), copy.deepcopy(model).double())
    torch.testing.assert_close(double.float(), expected, atol=1e-4, rtol=1e-4)


def used_encoder_in_inference_mode():
    torch.manual_seed(0)
    return Encoder(GABOR).eval()


@pytest.mark.parametrize("size", [(4, 6), (5, 7), (2, 2)])
def test_the_rectified_pool_is_relu_and_max_pool_also_of_a_map_in_pieces(size):
    rows, columns = size
    larger = torch.randn(2, 3, rows + 2, columns + 3).to(memory_format=torch.channels_last)
    maps = larger[:, :, :rows, :columns]
    before = maps.clone()
    expected = functional.max_pool2d(maps.relu(), 2)
    assert torch.equal(RectifiedPool2d()(maps), expected)
    assert torch.equal(maps, before)
