"""Weights on disk: what is written is read, and everything else is named."""

import json
import pickle

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from wavebyol_hear.checkpoint import FORMAT, WeightsError, load_encoder, save_encoder
from wavebyol_hear.encoder import PRESETS, Encoder, EncoderConfig
from wavebyol_hear.front_end import ConvFrontEnd, GaborFrontEndConfig

CONFIG = EncoderConfig(GaborFrontEndConfig(channels=12), widths="4 P 8 P", input_norm="rms")


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return Encoder(CONFIG)


@pytest.fixture
def ours(tmp_path, encoder):
    path = tmp_path / "weights.safetensors"
    save_encoder(path, encoder, {"crops": 3, "recipe": "byol"})
    return path


@pytest.fixture(scope="module")
def authors_state():
    """An h1 under the key names of FACTS.md, section 1, with the heads and the target."""
    torch.manual_seed(0)
    encoder = Encoder(PRESETS["h1"])
    state = {}
    assert isinstance(encoder.front_end, ConvFrontEnd)
    for side in ("online", "target"):
        for i, layer in enumerate(encoder.front_end.layers):
            for name, value in layer.state_dict().items():
                state[f"{side}_encoder_network.feature_extractor_step.encoder_layer_{i}.{name}"] = (
                    value
                )
        for name, value in encoder.features.state_dict().items():
            key = f"{side}_encoder_network.feature_encoding_step.feature_extractor_layer.{name}"
            state[key] = value
        state[f"{side}_projector_network.network.0.weight"] = torch.zeros(2, 2)
    state["online_predictor_network.network.0.weight"] = torch.zeros(2, 2)
    return encoder, state


def test_a_weights_file_may_be_read_by_whom_the_umask_lets(ours):
    beside = ours.with_name("plain")
    beside.touch()
    assert ours.stat().st_mode == beside.stat().st_mode


def save_authors(path, state):
    saved = {"model_state_dict": state, "optimizer_state_dict": {}, "epoch": 7, "loss": 0.5}
    torch.save(saved, path)
    return path


def test_weights_and_provenance_come_back_exactly(ours, encoder):
    loaded, provenance = load_encoder(ours)
    assert provenance == {"crops": 3, "recipe": "byol"}
    assert loaded.config == CONFIG
    assert not loaded.training
    for name, value in encoder.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


def test_the_header_says_what_the_file_is(ours):
    with safe_open(ours, "pt") as file:
        header = file.metadata()
    assert header["format"] == "wavebyol-hear/1"
    assert EncoderConfig.from_dict(json.loads(header["config"])) == CONFIG


def test_one_changed_bit_of_a_tensor_is_named(ours):
    content = bytearray(ours.read_bytes())
    for position in (-1, -1000):
        damaged = content.copy()
        damaged[position] ^= 1
        ours.write_bytes(damaged)
        with pytest.raises(WeightsError, match="damaged \\(wrong checksum\\)"):
            load_encoder(ours)


def test_a_file_without_a_checksum_is_read(ours, encoder):
    with safe_open(ours, framework="pt") as file:
        header = {k: v for k, v in file.metadata().items() if k != "checksum"}
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    save_file(tensors, ours, header)
    assert load_encoder(ours)[0].config == encoder.config


def test_half_precision_halves_weights_and_loads_to_float32(tmp_path, encoder):
    path = tmp_path / "half.safetensors"
    save_encoder(path, encoder, {}, dtype=torch.float16)
    loaded, _ = load_encoder(path)
    for name, value in encoder.state_dict().items():
        read = loaded.state_dict()[name]
        assert read.dtype == value.dtype
        expected = value.half().float() if value.dim() > 1 else value
        assert torch.equal(read, expected), name
    with safe_open(path, "pt") as file:
        assert file.get_tensor("features.0.weight").dtype == torch.float16


def test_slim_fits_eight_megabytes_in_half_precision(tmp_path):
    path = tmp_path / "slim.safetensors"
    save_encoder(path, Encoder(PRESETS["slim"]), {}, dtype=torch.float16)
    assert path.stat().st_size <= 8e6


def test_nothing_half_written_is_left(ours):
    assert [entry.name for entry in ours.parent.iterdir()] == [ours.name]


@pytest.mark.parametrize("preset", [None, "h1"])
def test_the_authors_checkpoint_loads_and_its_preset_is_found(tmp_path, authors_state, preset):
    encoder, state = authors_state
    loaded, provenance = load_encoder(save_authors(tmp_path / "model.pt", state), preset)
    assert loaded.config == PRESETS["h1"]
    assert provenance["preset"] == "h1"
    assert provenance["epoch"] == 7
    for name, value in encoder.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], value), name


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s, k: s.pop(k), "missing features.0.weight"),
        (lambda s, k: s.update({k: torch.zeros(64, 3, 5, 5)}), r"instead of \[64, 3, 3, 3\]"),
        (lambda s, k: s.update({"classifier.weight": torch.zeros(1)}), "unknown keys: classifier"),
        (lambda s, k: s.update({k: torch.full((64, 3, 3, 3), torch.nan)}), "NaN or infinite"),
        (lambda s, k: s.clear(), "lack the encoder"),
    ],
)
def test_an_authors_checkpoint_that_differs_is_refused(tmp_path, authors_state, change, message):
    state = dict(authors_state[1])
    change(state, "online_encoder_network.feature_encoding_step.feature_extractor_layer.0.weight")
    with pytest.raises(WeightsError, match=message) as caught:
        load_encoder(save_authors(tmp_path / "model.pt", state))
    assert "\n" not in str(caught.value)


def test_an_authors_checkpoint_of_another_preset_is_refused(tmp_path, authors_state):
    path = save_authors(tmp_path / "model.pt", authors_state[1])
    with pytest.raises(WeightsError, match="do not fit"):
        load_encoder(path, "h4")


def test_a_pickle_that_runs_code_is_refused_unrun(tmp_path):
    class Evil:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    torch.save({"model_state_dict": Evil()}, tmp_path / "model.pt")
    with pytest.raises(WeightsError, match="more than plain tensors"):
        load_encoder(tmp_path / "model.pt")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("keep", [0, 3, 60, 2000, -1])
def test_a_truncated_file_is_named(ours, keep):
    ours.write_bytes(ours.read_bytes()[:keep])
    with pytest.raises(WeightsError, match=ours.name) as caught:
        load_encoder(ours)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("keep", [10, 5000, -100])
def test_a_truncated_authors_file_is_named(tmp_path, authors_state, keep):
    path = save_authors(tmp_path / "model.pt", authors_state[1])
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(WeightsError, match=r"model\.pt are damaged") as caught:
        load_encoder(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"RIFF....WAVEfmt ", pickle.dumps({"a": 1}), b"\0" * 64])
def test_a_file_of_another_kind_is_named(tmp_path, content):
    path = tmp_path / "other.bin"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"other\.bin"):
        load_encoder(path)


def test_an_absent_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(WeightsError, match=r"none\.safetensors cannot be read: No such file"):
        load_encoder(tmp_path / "none.safetensors")
    with pytest.raises(WeightsError, match="cannot be read"):
        load_encoder(tmp_path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (None, "format None"),
        ({"format": "wavebyol-hear/9"}, "wavebyol-hear/9"),
        ({"format": FORMAT}, "lack config, provenance"),
        ({"format": FORMAT, "config": "{", "provenance": "{}"}, "header"),
        ({"format": FORMAT, "config": "{}", "provenance": "{}"}, "front_end"),
    ],
)
def test_a_header_that_is_not_ours_is_named(tmp_path, header, message):
    path = tmp_path / "weights.safetensors"
    save_file({"a": torch.zeros(1)}, path, metadata=header)
    with pytest.raises(WeightsError, match=message):
        load_encoder(path)


def test_a_missing_and_an_unknown_tensor_are_named(tmp_path, encoder):
    config = json.dumps(CONFIG.to_dict())
    tensors = {n: v.contiguous() for n, v in encoder.state_dict().items()}
    tensors["features.99.weight"] = tensors.pop("features.0.weight")
    header = {"format": FORMAT, "config": config, "provenance": "{}"}
    save_file(tensors, tmp_path / "weights.safetensors", metadata=header)
    with pytest.raises(
        WeightsError, match=r"missing features\.0\.weight, unknown features\.99\.weight"
    ):
        load_encoder(tmp_path / "weights.safetensors")


@pytest.mark.parametrize("dtype", [torch.int32, torch.bool, torch.complex64])
def test_weights_that_are_not_floating_point_are_refused(tmp_path, encoder, dtype, authors_state):
    header = {"format": FORMAT, "config": json.dumps(CONFIG.to_dict()), "provenance": "{}"}
    tensors = {n: v.contiguous() for n, v in encoder.state_dict().items()}
    tensors["features.0.weight"] = tensors["features.0.weight"].to(dtype)
    path = tmp_path / "weights.safetensors"
    if dtype is not torch.complex64:  # which safetensors may not write
        save_file(tensors, path, metadata=header)
        with pytest.raises(WeightsError, match=r"not floating-point in features\.0\.weight"):
            load_encoder(path)
    state = dict(authors_state[1])
    key = "online_encoder_network.feature_encoding_step.feature_extractor_layer.0.weight"
    state[key] = state[key].to(dtype)
    with pytest.raises(WeightsError, match=r"not floating-point in features\.0\.weight"):
        load_encoder(save_authors(tmp_path / "model.pt", state))


@pytest.mark.parametrize(
    "config",
    [
        "[" * 100_000,
        json.dumps({**CONFIG.to_dict(), "widths": "8 " * 5000}),
        json.dumps({**CONFIG.to_dict(), "front_end": {"kind": "gabor", "high_hz": 9e9}}),
        json.dumps({**CONFIG.to_dict(), "front_end": {"kind": "conv", "strides": [0] * 5}}),
    ],
)
def test_a_header_that_asks_for_an_impossible_network_is_refused_in_one_line(tmp_path, config):
    path = tmp_path / "weights.safetensors"
    save_file({"a": torch.zeros(1)}, path, {"format": FORMAT, "config": config, "provenance": "{}"})
    with pytest.raises(WeightsError, match=r"weights.safetensors") as caught:
        load_encoder(path)
    assert "\n" not in str(caught.value)


def test_torchs_advice_to_load_whatever_is_there_is_not_repeated(tmp_path):
    torch.save({"model_state_dict": {"a": print}}, tmp_path / "model.pt")
    with pytest.raises(WeightsError, match="save the state dict alone") as caught:
        load_encoder(tmp_path / "model.pt")
    assert "weights_only" not in str(caught.value)
