"""The encoder against an independent computation from the published facts."""

import json
from typing import Any

import pytest
import torch
from torch.nn import functional

from wavebyol_hear.encoder import PRESETS, Encoder, EncoderConfig
from wavebyol_hear.front_end import FRONT_ENDS, ConvFrontEndConfig, GaborFrontEndConfig

SMALL = EncoderConfig(front_end=ConvFrontEndConfig(channels=48), widths="16 P 32 P 32 P")


def seeded(config, seed=0):
    """An encoder whose BatchNorms do something."""
    torch.manual_seed(seed)
    encoder = Encoder(config).eval()
    for name, value in encoder.state_dict().items():
        if name.endswith(("running_var", "running_mean")):
            value.uniform_(0.5, 1.5) if name.endswith("var") else value.normal_(0, 0.01)
    return encoder


def h2_by_hand(wave, state):
    """FACTS.md, section 1, row `encoder "h2"`, in plain functions; wave [B, 20480]."""

    def normalized(values, key):
        return functional.relu(
            functional.batch_norm(
                values,
                state[f"{key}.running_mean"],
                state[f"{key}.running_var"],
                state[f"{key}.weight"],
                state[f"{key}.bias"],
            )
        )

    x = wave[:, None] / wave[:, None].norm(dim=-1, keepdim=True)
    geometry = [(5, 2), (4, 2), (2, 2), (2, 2), (2, 1)]
    for i, (stride, padding) in enumerate(geometry):
        key = f"front_end.layers.{i}"
        weight, bias = state[f"{key}.0.weight"], state[f"{key}.0.bias"]
        x = normalized(functional.conv1d(x, weight, bias, stride, padding), f"{key}.1")
    x = torch.stack([x[:, :171], x[:, 171:342], x[:, 342:]], 1)
    x = x / x.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    j = 0
    for token in (64, 128, "P", 256, 512, "P", 512, 512, "P", 1024, 1024, "P"):
        if token == "P":
            x = functional.max_pool2d(x, 2)
            j += 1
            continue
        key = f"features.{j}"
        assert state[f"{key}.weight"].shape[0] == token
        x = functional.conv2d(x, state[f"{key}.weight"], state[f"{key}.bias"], padding=1)
        x = normalized(x, f"features.{j + 1}")
        j += 3
    return x


def test_h2_is_the_authors_network_at_the_training_length():
    encoder = seeded(PRESETS["h2"])
    wave = torch.randn(2, 20_480) * torch.tensor([[0.1], [0.7]])
    with torch.no_grad():
        ours, theirs = encoder(wave[:, None]), h2_by_hand(wave, encoder.state_dict())
    assert ours.shape == (2, 1024, 10, 8)
    assert theirs.abs().max() > 1e-2
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


def test_h2_has_the_published_number_of_parameters():
    with torch.device("meta"):
        encoder = Encoder(PRESETS["h2"])
    assert sum(p.numel() for p in encoder.parameters()) == 24_660_009


@pytest.mark.parametrize(
    ("preset", "shape"),
    [
        ("h1", (256, 10, 8)),
        ("h2", (1024, 10, 8)),
        ("h3", (1024, 5, 4)),
        ("h4", (2048, 10, 8)),
        ("h5", (1024, 10, 8)),
        ("slim", (512, 1, 4)),
        ("slim_bank", (512, 1, 4)),
        ("wide_bank", (768, 1, 4)),
    ],
)
def test_presets_give_their_shapes(preset, shape):
    with torch.device("meta"):
        encoder = Encoder(PRESETS[preset]).eval()
        last = encoder(torch.empty(2, 1, 20_480))
    assert last.shape == (2, *shape)
    assert encoder.config.out_channels == shape[0]


def test_stages_are_the_image_and_each_blocks_map():
    encoder = seeded(PRESETS["slim"])
    wave = torch.randn(1, 1, 20_480)
    with torch.no_grad():
        stages = encoder.stages(wave)
        torch.testing.assert_close(stages[-1], encoder(wave))
    assert [tuple(s.shape[2:]) for s in stages] == [
        (32, 128),
        (16, 64),
        (8, 32),
        (4, 16),
        (2, 8),
        (1, 4),
    ]


def test_short_audio_is_padded_to_a_crop_on_both_sides():
    encoder = seeded(SMALL)
    wave = torch.randn(1, 1, 20_000)
    with torch.no_grad():
        padded = encoder(functional.pad(wave, (240, 240)))
        torch.testing.assert_close(encoder(wave), padded)


def test_noise_of_any_length_embeds_alike_only_thanks_to_the_time_norms():
    encoder = seeded(SMALL)
    noise = torch.randn(1, 1, 160_000, generator=torch.Generator().manual_seed(1))

    def drift():
        with torch.no_grad():
            short, long = (encoder(noise[..., :n]).mean((2, 3)) for n in (20_480, 160_000))
        return ((short - long).norm() / short.norm()).item()

    ours = drift()
    encoder.input_norm.gain = encoder.image_norm.gain = lambda energy, _: energy.clamp_min(
        1e-24
    ).rsqrt()
    assert ours < 0.2 * drift()


@pytest.mark.parametrize("preset", PRESETS)
def test_configs_survive_json(preset):
    config = PRESETS[preset]
    assert EncoderConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"chunks": 4}, "513 channels"),
        ({"widths": "64 Q"}, "64 Q"),
        ({"widths": ""}, "write numbers and P"),
        ({"widths": "P P P"}, "there is no convolution, add a number"),
        ({"widths": "8 P 8 P 8 P 8 P 8 P 8 P 8 P 8 P"}, "cannot be halved 8 times"),
        ({"crop_samples": 10}, "crop_samples is 10: its .* cannot be halved"),
        ({"input_norm": "peak"}, "'peak'"),
        ({"pre_emphasis": 1.0}, "pre_emphasis is 1.0"),
    ],
)
def test_impossible_configs_are_named(values, message):
    with pytest.raises(ValueError, match=message):
        EncoderConfig(**values)


def test_unknown_keys_and_front_ends_are_refused():
    values = EncoderConfig().to_dict()
    with pytest.raises(ValueError, match="widdths is not a setting: the nearest is widths"):
        EncoderConfig.from_dict({**values, "widdths": "64 P"})
    with pytest.raises(ValueError, match="'sinc'"):
        EncoderConfig.from_dict({**values, "front_end": {"kind": "sinc"}})
    wrong_values: list[Any] = [[], {}, {"front_end": []}]
    wrong_values += [{**values, "widths": 64}, {**values, "chunks": 0}]
    for wrong in wrong_values:
        with pytest.raises(ValueError, match=r"\w"):
            EncoderConfig.from_dict(wrong)


@pytest.mark.parametrize("kind", ["conv", "gabor", "bank"])
def test_a_config_of_a_file_is_checked_as_a_whole(kind):
    config = EncoderConfig(FRONT_ENDS[kind](channels=64), widths="8 P", chunks=2)
    assert EncoderConfig.from_dict(config.to_dict()) == config
    less = {key: value for key, value in config.to_dict().items() if key != "pre_emphasis"}
    assert EncoderConfig.from_dict(less) == config


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"widths": "8 " * 5000}, "widths have 5000 layers"),
        ({"widths": "999999999"}, "of at most 5 digits"),
        ({"crop_samples": 10**12}, "crop_samples"),
        ({"front_end": {"kind": "conv", "kernels": [1] * 5000}}, "at most 16"),
        ({"front_end": {"kind": "gabor", "channels": 3 * 10**9}}, "channels"),
        ({"front_end": {"kind": "bank", "taps": 10**9}}, "taps"),
        ({"front_end": {"kind": "bank", "channels": "many"}}, "channels"),
    ],
)
def test_a_file_that_asks_for_a_monstrous_network_is_refused(changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        EncoderConfig.from_dict({**EncoderConfig().to_dict(), **changes})
    assert len(str(caught.value)) < 300


def test_frames_are_counted_without_computing_them():
    encoder = seeded(EncoderConfig(front_end=GaborFrontEndConfig(channels=6), widths="4 P"))
    for samples in (20_480, 20_639, 33_333):
        frames = encoder.front_end(torch.randn(1, 1, samples)).shape[-1]
        assert encoder.frames(samples) == frames


def test_files_from_before_pre_emphasis_have_none():
    values = PRESETS["slim"].to_dict()
    del values["pre_emphasis"]
    assert EncoderConfig.from_dict(values) == PRESETS["slim"]


def test_pre_emphasis_comes_before_the_norm_of_the_waveform():
    encoder = seeded(PRESETS["slim_bank"])
    wave = torch.randn(2, 1, 20_480) + 5 * torch.sin(torch.arange(20_480) / 40)
    bright = torch.stack([wave[..., 0], *(wave[..., 1:] - 0.97 * wave[..., :-1]).unbind(-1)], -1)
    level = bright / bright.square().mean(-1, keepdim=True).sqrt()
    with torch.no_grad():
        expected = encoder.front_end(level).view(2, 3, 32, 128)
        torch.testing.assert_close(encoder.image(wave), expected, atol=1e-4, rtol=1e-4)
