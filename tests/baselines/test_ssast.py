"""SSAST's HEAR module gives what the authors' code gives, and says what is wrong with a file."""

import math

import pytest
import torch

from baselines import ssast
from baselines.base import BaselineError, WeightsError, write_weights
from baselines.ssast_network import SsastNetwork, fbank


def wave(clips=2, samples=20_000):
    return 0.1 * torch.randn(clips, samples, generator=torch.Generator().manual_seed(0))


def golden_tensor(name, shape):
    """The tensor that the golden numbers were made with, by the authors' name without `module.`."""
    shift = sum(map(ord, name)) % 97
    index = torch.arange(math.prod(shape), dtype=torch.float64)
    amplitude = 0.5 if "predlayer" in name else 0.05
    values = amplitude * (0.7 * index + shift).sin()
    if name.endswith(("norm1.weight", "norm2.weight", "norm.weight")):
        values += 1
    return values.float().reshape(shape)


def golden_bank(frames):
    """A normalized filter bank of so many frames: [1, T, 128]."""
    time = torch.arange(frames, dtype=torch.float64)[:, None]
    band = torch.arange(128, dtype=torch.float64)
    return (0.5 * (0.05 * time * (1 + band / 64)).sin() + 0.3 * (0.4 * band).cos()).float()[None]


def shapes(width, patch, depth=12):
    """Names and shapes of an authors' pretraining checkpoint, without `module.`."""
    result = {"p_input_fdim": (), "p_input_tdim": (), "mask_embed": (1, 1, width)}
    result |= {"v.cls_token": (1, 1, width), "v.dist_token": (1, 1, width)}
    result |= {"v.pos_embed": (1, 514, width), "v.patch_embed.proj.weight": (width, 1, *patch)}
    result |= {"v.patch_embed.proj.bias": (width,)}
    layers = {
        "norm1": (width,), "attn.qkv": (3 * width, width), "attn.proj": (width, width),
        "norm2": (width,), "mlp.fc1": (4 * width, width), "mlp.fc2": (width, 4 * width),
    }  # fmt: skip
    for block in range(depth):
        for layer, shape in layers.items():
            result[f"v.blocks.{block}.{layer}.weight"] = shape
            result[f"v.blocks.{block}.{layer}.bias"] = shape[:1]
    result |= {"v.norm.weight": (width,), "v.norm.bias": (width,)}
    for head in ("v.head", "v.head_dist"):
        result |= {f"{head}.weight": (1000, width), f"{head}.bias": (1000,)}
    for head in ("cpredlayer", "gpredlayer"):
        result |= {f"{head}.0.weight": (width, width), f"{head}.0.bias": (width,)}
        result |= {f"{head}.2.weight": (256, width), f"{head}.2.bias": (256,)}
    return result


def checkpoint(width=192, patch=(16, 16), depth=12):
    """A checkpoint as the authors save it, with the golden tensors."""
    state = {f"module.{n}": golden_tensor(n, s) for n, s in shapes(width, patch, depth).items()}
    state["module.p_input_fdim"], state["module.p_input_tdim"] = (
        torch.tensor(128),
        torch.tensor(1024),
    )
    return state


@pytest.fixture(scope="module", params=[(16, 16), (128, 2)], ids=["patch", "frame"])
def authors_file(request, tmp_path_factory):
    path = tmp_path_factory.mktemp("ssast") / "SSAST-Tiny-400.pth"
    torch.save(checkpoint(patch=request.param), path)
    return request.param, path


# Made by the authors' code on timm 0.4.5: frames, stride, tokens, mean of tokens, its norm, mean of
# cls and distillation.
GOLDEN = {
    (16, 16): [
        (1024, 16, 512, (1.00998, -0.97887, 0.95432, -1.02516), 13.88440, (1.07452, -0.98202)),
        (100, 10, 108, (1.02588, -0.99126, 0.96567, -1.02954), 13.88133, (1.07748, -0.98475)),
        (512, 10, 600, (1.02725, -0.99240, 0.96370, -1.03251), 13.88090, (1.07375, -0.98255)),
        (1200, 16, 600, (0.99706, -0.98382, 0.97349, -1.04983), 13.88811, (1.07544, -0.98286)),
    ],
    (128, 2): [
        (1024, 2, 512, (1.01327, -0.97920, 0.95184, -1.02091), 13.88301, (1.07241, -0.98263)),
        (100, 1, 99, (1.00779, -0.97563, 0.95007, -1.01961), 13.88441, (1.06687, -0.97959)),
        (512, 2, 256, (1.01415, -0.97911, 0.95089, -1.01955), 13.88279, (1.05390, -0.97478)),
        (1200, 2, 600, (0.99655, -0.98289, 0.97232, -1.04852), 13.88805, (1.08086, -0.98380)),
    ],
}


def test_the_tokens_are_those_of_the_authors_code(authors_file):
    patch, path = authors_file
    for frames, stride, count, mean, norm, special in GOLDEN[patch]:
        model = ssast.load_model(str(path), stride=stride)
        with torch.no_grad():
            tokens = model.network(golden_bank(frames), model.stride)
        assert tokens.shape[1] == 2 + count
        patches = tokens[0, 2:].mean(0)
        torch.testing.assert_close(patches[:4], torch.tensor(mean), rtol=0, atol=1e-4)
        assert float(patches.norm()) == pytest.approx(norm, abs=1e-4)
        both = tokens[0, :2].mean(0)[:2]
        torch.testing.assert_close(both, torch.tensor(special), rtol=0, atol=1e-4)


def test_the_filter_bank_has_the_published_values():
    time = torch.arange(16_000, dtype=torch.float64) / 16_000
    tone = 0.1 * (2 * torch.pi * 440 * time).sin() + 0.05 * (2 * torch.pi * 3000 * time).sin()
    bank = fbank(tone.float()[None])[0]
    assert bank.shape == (98, 128)
    expected = torch.tensor([-15.9424, -15.9424, -12.9280, -15.9424, -13.3831])
    torch.testing.assert_close(bank[0, [0, 3, 10, 40, 90]], expected, rtol=0, atol=1e-3)
    assert float(bank.mean()) == pytest.approx(-13.3437, abs=1e-3)
    assert bank.mean(0).topk(2).indices.tolist() == [84, 83]


@pytest.mark.parametrize("width", [192, 384, 768])
def test_the_encoder_has_the_published_number_of_parameters(width):
    with torch.device("meta"):
        network = SsastNetwork(width)
    expected = {192: 5_487_168, 384: 21_591_168, 768: 85_649_664}[width]
    assert sum(p.numel() for p in network.parameters()) == expected


def test_the_encoder_is_timms(authors_file):
    """Skipped where timm or the torchvision that it imports is not there, as beside CPU torch."""
    try:
        from timm.models.deit import VisionTransformerDistilled
    except (ImportError, RuntimeError) as error:  # the latter beside a CUDA build of torchvision
        pytest.skip(f"timm cannot be imported: {error}")
    patch, path = authors_file
    model = ssast.load_model(str(path))
    theirs = VisionTransformerDistilled(
        img_size=(128, 1024), patch_size=patch, in_chans=1, embed_dim=192, depth=12, num_heads=3
    ).eval()
    state = checkpoint(patch=patch)
    theirs.load_state_dict(
        {n.removeprefix("module.v."): v for n, v in state.items() if n.startswith("module.v.")}
    )
    bank = golden_bank(1024)
    with torch.no_grad():
        got = model.network(bank)
        expected = theirs.forward_features(bank.mT[:, None])
    torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module", params=[(16, 16), (128, 2)], ids=["patch", "frame"])
def model(request):
    torch.manual_seed(0)
    columns = 128 // request.param[1]
    return ssast.SsastModel(SsastNetwork(64, 2, request.param, columns), -7.0, 5.0).eval()


@pytest.mark.parametrize("samples", [1, 400, 3_000, 16_000, 20_720, 47_000])
def test_timestamps_are_regular_and_reach_the_end(model, samples):
    vectors, times = ssast.get_timestamp_embeddings(wave(2, samples), model)
    assert vectors.shape == (*times.shape, 64)
    assert vectors.isfinite().all()
    assert times[0, 0] == 7.5
    hop = 40 if model.width == 16 else 20
    assert torch.all(times.diff() == hop)
    assert samples / 16 - times[0, -1] < hop
    assert times[0, -1] <= max(samples / 16, 7.5)
    assert ssast.get_scene_embeddings(torch.zeros(2, samples), model).isfinite().all()


def test_timestamps_say_where_a_sound_is(model):
    quiet = 1e-2 * wave(1, 20_000)
    clicked = quiet.clone()
    clicked[:, 10_000:10_160] += 0.5  # 630 ms
    before, times = ssast.get_timestamp_embeddings(quiet, model)
    after, _ = ssast.get_timestamp_embeddings(clicked, model)
    change = (after - before).norm(dim=-1)[0] ** 2
    assert abs(float(times[0, change.argmax()]) - 630) < 110  # a patch has 160 ms


def test_a_long_clip_is_the_mean_of_windows_of_the_learned_length(model):
    long = wave(1, 20_720 + 160 * 128)  # two windows of 128 frames
    bank = model.bank(long)
    with torch.no_grad():
        halves = [model.network(part)[:, 2:].mean(1) for part in bank.split(128, 1)]
    expected = torch.stack(halves).mean(0)
    torch.testing.assert_close(ssast.get_scene_embeddings(long, model), expected)


def test_every_block_is_pooled_over_time():
    torch.manual_seed(0)
    network = SsastNetwork(64, 2, (16, 16), 8)
    model = ssast.SsastModel(network, -7.0, 5.0, pooling="contrast").eval()
    scenes = ssast.get_scene_embeddings(wave(2, 20_720), model)
    assert scenes.shape == (2, model.scene_embedding_size) == (2, 2 * (128 + 2 * 64))
    with torch.no_grad():
        bank = model.bank(wave(2, 20_720))
        last = network(bank)[:, 2:].unflatten(1, (8, 8)).mean(1)
    for values, start in ((bank, 0), (last, 256 + 128)):
        hand = torch.cat([values.amax(1), values.std(1, correction=0)], 1)
        hand = hand.sign() * (10 * hand.abs()).log1p()
        got = scenes[:, start : start + hand.shape[1]]
        torch.testing.assert_close(got, hand, rtol=1e-4, atol=1e-4)


def test_a_file_of_ours_carries_everything(tmp_path):
    torch.manual_seed(0)
    network = SsastNetwork(64, 2, (16, 16), 8).eval()
    path = tmp_path / "ours.safetensors"
    settings = {"mean": -7.0, "std": 5.0}
    write_weights(path, network, kind=ssast.KIND, settings=settings, provenance={})
    model = ssast.load_model(str(path))
    assert (model.mean, model.std, model.window) == (-7.0, 5.0, 128)
    with torch.no_grad():
        expected = network(model.bank(wave()))[:, 2:].mean(1)
    again = ssast.get_scene_embeddings(wave(), model)
    torch.testing.assert_close(again, expected, rtol=1e-2, atol=1e-2)
    special = ssast.load_model(str(path), tokens="cls", stride=10)
    assert not torch.equal(ssast.get_scene_embeddings(wave(), special), again)


class Pickled:
    """A class of someone's own in a checkpoint."""


def test_a_wrong_checkpoint_is_named_in_one_line(tmp_path):
    path = tmp_path / "wrong.pth"
    tuned = {"module.v.cls_token": torch.zeros(1), "module.mlp_head.0.weight": torch.zeros(1)}
    hugging_face = {"audio_spectrogram_transformer.embeddings.cls_token": torch.zeros(1)}
    more = {**checkpoint(64, depth=1), "module.v.other": torch.zeros(1)}
    cases = [
        (tuned, r"holds module\.mlp_head\S+, which SSAST does not have: what is read is a pretr"),
        (hugging_face, r"holds audio_spectrogram\S+, which SSAST does not have: what is read is"),
        ({"module.strange": torch.zeros(1)}, r"holds module\.strange, which SSAST does not have"),
        ({"model": Pickled()}, "pickled classes, which are not read"),
        ({"epoch": 3}, "holds no state dict: give a file of SSAST"),
        (more, "holds other, which the network does not have"),
    ]
    for content, message in cases:
        torch.save(content, path)
        with pytest.raises(WeightsError, match=message) as caught:
            ssast.load_model(str(path))
        assert "\n" not in str(caught.value)
        assert "weights_only" not in str(caught.value)


def test_a_tensor_too_few_or_too_many_is_named(tmp_path):
    state = checkpoint()
    path = tmp_path / "w.pth"
    torch.save({**state, "module.v.extra": torch.zeros(2)}, path)
    with pytest.raises(WeightsError, match="holds extra, which the network does not have"):
        ssast.load_model(str(path))
    del state["module.v.norm.bias"]
    torch.save(state, path)
    with pytest.raises(WeightsError, match=r"lacks norm\.bias"):
        ssast.load_model(str(path))


def test_a_hugging_face_safetensors_file_is_named(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "model.safetensors"
    save_file({"audio_spectrogram_transformer.embeddings.cls_token": torch.zeros(1)}, path)
    with pytest.raises(WeightsError, match="is a file of None: give one of"):
        ssast.load_model(str(path))


@pytest.mark.parametrize(
    "options",
    [
        {"stride": 0},
        {"stride": 17},
        {"tokens": "dist"},
        {"pooling": "x"},
        {"std": 0},
        {"mean": "a"},
    ],
)
def test_a_wrong_option_is_named(tmp_path, options):
    path = tmp_path / "w.safetensors"
    settings = {"mean": -7.0, "std": 5.0}
    write_weights(path, SsastNetwork(64, 1), kind=ssast.KIND, settings=settings, provenance={})
    with pytest.raises(BaselineError, match=next(iter(options))):
        ssast.load_model(str(path), **options)
