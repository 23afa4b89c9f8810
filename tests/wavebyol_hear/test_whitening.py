"""Whitening: what it does to the corpus' statistics, and how it travels in a weights file."""

import dataclasses

import pytest
import torch

from wavebyol_hear import get_scene_embeddings, get_timestamp_embeddings, load_model
from wavebyol_hear.checkpoint import WeightsError, load_weights, save_encoder
from wavebyol_hear.embed import Embedder
from wavebyol_hear.encoder import Encoder, EncoderConfig
from wavebyol_hear.front_end import GaborFrontEndConfig
from wavebyol_hear.pooling import POOLINGS
from wavebyol_hear.whitening import LEAST_DEVIATION, PARTS, Whitening, from_tensors, to_tensors

SMALL = EncoderConfig(GaborFrontEndConfig(channels=12), widths="4 P 8 P", input_norm="rms")
SIZE = 40


def rows(count=4000):
    """Rows with a mean, very different deviations and a few strong common directions."""
    chance = torch.Generator().manual_seed(0)
    common = torch.randn(count, 3, generator=chance) @ torch.randn(3, SIZE, generator=chance)
    own = torch.randn(count, SIZE, generator=chance)
    return (3 * common + own) * torch.logspace(-2, 2, SIZE) + 5


def fitted(values, strongest=64):
    return Whitening.fit(values.mean(0), torch.cov(values.T), strongest)


def test_numbers_are_centred_and_the_strongest_directions_come_down_to_the_next():
    values = rows()
    spread = (values - values.mean(0)) / values.std(0).clamp_min(
        LEAST_DEVIATION * values.std(0).median()
    )
    wanted, directions = torch.linalg.eigh(torch.cov(spread.double().T))
    whitened = fitted(values)(values)
    assert whitened.mean(0).abs().max() < 1e-3
    count = SIZE // 8
    # In the eigenvectors' own coordinates: the last five are the strongest, the sixth rules.
    result = (whitened.double() @ directions).var(0)
    wanted[-count:] = wanted[-count - 1]
    torch.testing.assert_close(result, wanted, rtol=2e-2, atol=1e-4)
    assert not torch.allclose((spread.double() @ directions).var(0), wanted, rtol=0.5)


def test_a_number_that_stood_still_in_the_corpus_is_not_blown_up():
    values = rows()
    values[:, 0] = 1.0
    moved = values[:1].clone()
    moved[0, 0] += float(values.std(0).median())
    whitening = fitted(values)
    assert (whitening(moved) - whitening(values[:1])).norm() <= 1.01 / LEAST_DEVIATION


def test_a_fit_is_drawn_from_no_generator_of_the_caller():
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    first = fitted(rows()).state_dict()
    assert torch.equal(torch.random.get_rng_state(), before)
    torch.manual_seed(8)
    for name, value in fitted(rows()).state_dict().items():
        assert torch.equal(value, first[name])


def some_whitening(size, seed=0):
    chance = torch.Generator().manual_seed(seed)
    values = torch.randn(500, size, generator=chance) * 2 + 1
    return fitted(values, 4)


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return Encoder(SMALL).eval()


@pytest.fixture
def file(tmp_path, encoder):
    model = Embedder(encoder)
    whitenings = {
        "scene.contrast": some_whitening(model.scene_embedding_size),
        "timestamps.maxima": some_whitening(model.timestamp_embedding_size, 1),
    }
    path = tmp_path / "weights.safetensors"
    save_encoder(path, encoder, {}, whitenings=whitenings)
    return str(path), whitenings


def test_a_weights_file_brings_its_whitenings_to_the_embeddings(file, encoder):
    path, whitenings = file
    audio = torch.randn(2, 30_000)
    plain, model = load_model(path, whiten=False), load_model(path)
    scene = whitenings["scene.contrast"](get_scene_embeddings(audio, plain))
    torch.testing.assert_close(get_scene_embeddings(audio, model), scene)
    columns, times = get_timestamp_embeddings(audio, model)
    raw, times_raw = get_timestamp_embeddings(audio, plain)
    torch.testing.assert_close(columns, whitenings["timestamps.maxima"](raw))
    assert torch.equal(times, times_raw)
    assert not torch.allclose(raw, columns, atol=0.1)


def test_a_pooling_without_statistics_is_left_as_it_is(file, encoder):
    path, _ = file
    audio = torch.randn(2, 30_000)
    # The scene's maxima are over the whole clip: the statistics of windows are not theirs.
    for pooling in ("stages", "maxima", dataclasses.replace(POOLINGS["contrast"], compress=0)):
        result = get_scene_embeddings(audio, load_model(path, pooling=pooling))
        plain = get_scene_embeddings(audio, Embedder(encoder, pooling, precision="auto"))
        assert torch.equal(result, plain)


def test_what_is_whitened_stays_as_it_was():
    values = rows(60)
    before = values.clone()
    result = fitted(values)(values.view(3, 20, SIZE)[:, 1:])
    assert torch.equal(values, before)
    torch.testing.assert_close(result, fitted(values)(values).view(3, 20, SIZE)[:, 1:])


def test_gradients_pass_through(file):
    model = load_model(file[0]).train()
    model(torch.randn(2, 30_000)).square().sum().backward()
    learned = [p for p in model.parameters() if p.requires_grad]
    assert learned
    assert all(p.grad is not None and p.grad.isfinite().all() for p in learned)
    assert not list(model.whiten_scene.parameters())


def test_whitenings_travel_in_half_precision(file, encoder, tmp_path):
    path = tmp_path / "half.safetensors"
    save_encoder(path, encoder, {}, dtype=torch.float16, whitenings=file[1])
    for name, whitening in load_weights(path).whitenings.items():
        values = rows()[:, :1] * torch.randn(whitening.size)
        torch.testing.assert_close(whitening(values), file[1][name](values), rtol=1e-2, atol=1e-2)


def test_what_does_not_fit_is_named(encoder, tmp_path):
    tensors = to_tensors({"scene.contrast": some_whitening(30)})
    assert set(from_tensors(tensors)) == {"scene.contrast"}
    for part in PARTS:
        less = {k: v for k, v in tensors.items() if not k.endswith(part)}
        with pytest.raises(ValueError, match=r"'scene.contrast' lacks a part"):
            from_tensors(less)
    with pytest.raises(ValueError, match=r"scene.contrast has 30 numbers, not \d+"):
        Embedder(encoder, whitenings={"scene.contrast": some_whitening(30)})
    broken = some_whitening(30)
    broken.get_buffer("mean")[3] = torch.nan
    save_encoder(tmp_path / "w.safetensors", encoder, {}, whitenings={"scene.contrast": broken})
    with pytest.raises(WeightsError, match=r"NaN or infinite values in whitening\.scene"):
        load_model(str(tmp_path / "w.safetensors"))


def test_clips_stand_apart_only_when_whitened(esc50_clips):
    """Cosines of different sounds: near one another before, spread around 0 after."""
    likeness = {}
    for whiten in (False, True):
        values = get_scene_embeddings(esc50_clips, load_model(whiten=whiten))
        values = torch.nn.functional.normalize(values, dim=1)
        likeness[whiten] = (values @ values.T)[~torch.eye(len(values), dtype=torch.bool)].mean()
    assert likeness[False] > 0.8
    assert likeness[True] < 0.3


def test_a_number_that_never_moves_may_have_a_variance_below_zero_by_rounding():
    covariance = torch.diag(torch.cat([torch.arange(1.0, 64), torch.tensor([-1e-16])]))
    fit = Whitening.fit(torch.zeros(64), covariance)
    assert all(value.isfinite().all() for value in fit.state_dict().values())
