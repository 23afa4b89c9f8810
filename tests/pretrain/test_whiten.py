"""Fitting whitenings on a store: what the statistics are of, and the command."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
import torch

from baselines import whitened
from pretrain.config import read_config
from pretrain.data.store import Store
from pretrain.moments import Moments
from pretrain.train import train
from pretrain.whiten import (
    COLUMNS_APART,
    add_components,
    fit_whitenings,
    whiten_file,
    whiten_module,
)
from wavebyol_hear.checkpoint import load_encoder, load_weights, save_encoder
from wavebyol_hear.embed import Embedder
from wavebyol_hear.encoder import Encoder, EncoderConfig
from wavebyol_hear.front_end import GaborFrontEndConfig

SMALL = EncoderConfig(
    GaborFrontEndConfig(channels=12), widths="4 P 8 P", input_norm="rms", crop_samples=4096
)


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    return Encoder(SMALL).eval()


def waves(clips):
    return [clips.clip(number).float()[None] / 32767 for number in range(len(clips))]


@torch.no_grad()
def test_whitened_embeddings_of_the_store_have_mean_zero_and_unit_deviation(store, encoder):
    clips = Store.open(store)
    whitenings = fit_whitenings(encoder, clips)
    model = Embedder(encoder, precision="auto")
    scenes = torch.cat([model(wave) for wave in waves(clips)])
    columns = torch.cat([model.timestamps(w)[0][0, ::COLUMNS_APART] for w in waves(clips)])
    for name, rows in (("scene.contrast", scenes), ("timestamps.maxima", columns)):
        whitening = whitenings.pop(name)
        centred = (rows - whitening.get_buffer("mean")) * whitening.get_buffer("scale")
        assert centred.mean(0).abs().max() < 1e-3
        assert centred.std(0, correction=0).median() == pytest.approx(1, abs=1e-3)
        assert whitening(rows).mean(0).abs().max() < 1e-3
        assert whitening(rows).square().sum() < 0.9 * centred.square().sum()
    assert not whitenings


@pytest.mark.parametrize("clips", [8, 16, 64, 200, 600])
def test_few_clips_leave_embeddings_their_energy(clips):
    generator = torch.Generator().manual_seed(clips)
    spectrum = torch.arange(1, 513, dtype=torch.float64) ** -0.5
    turn = torch.linalg.qr(torch.randn(512, 512, generator=generator, dtype=torch.float64))[0]
    rows = torch.randn(clips + 100, 512, generator=generator, dtype=torch.float64) * spectrum @ turn
    moments = Moments(512)
    for row in rows[:clips]:
        moments.update(row[None])
    whitening = moments.whitening()
    for part in (rows[:clips].float(), rows[clips:].float()):
        plain = (part - whitening.get_buffer("mean")) * whitening.get_buffer("scale")
        assert whitening(part).square().sum() > 0.3 * plain.square().sum()


def test_too_few_clips_are_refused():
    moments = Moments(16)
    for row in torch.randn(7, 1, 16):
        moments.update(row)
    with pytest.raises(ValueError, match="7 clips that are not silent are too few"):
        moments.whitening()


def test_moments_of_rows_far_from_zero_are_those_of_numpy():
    rows = torch.randn(1500, 5, generator=torch.Generator().manual_seed(0)).double() + 1e8
    moments = Moments(5)
    for part in rows.split(70):
        moments.update(part)
    mean, covariance = moments.statistics()
    torch.testing.assert_close(mean, rows.mean(0), rtol=1e-12, atol=0)
    expected = torch.from_numpy(np.cov((rows - 1e8).numpy().T, bias=True))
    torch.testing.assert_close(covariance, expected, rtol=1e-5, atol=1e-6)


def test_silent_clips_are_passed_over(store, encoder):
    clips = Store.open(store)
    samples = clips.files[0].clone()
    first = slice(int(clips.starts[0]), int(clips.starts[0] + clips.lengths[0]))
    samples[first] = 0
    rest = {
        name: getattr(clips, name)[1:]
        for name in ("file_of", "starts", "lengths", "clip_ids", "kinds")
    }
    with_silence = fit_whitenings(encoder, dataclasses.replace(clips, files=(samples,)))
    without = fit_whitenings(encoder, dataclasses.replace(clips, **rest))
    for name, whitening in with_silence.items():
        torch.testing.assert_close(whitening.state_dict(), without[name].state_dict())
    silent = dataclasses.replace(clips, files=(torch.zeros_like(samples),))
    with pytest.raises(ValueError, match="every clip drawn from the store is silent"):
        fit_whitenings(encoder, silent)


def test_kinds_have_the_shares_of_the_run_that_made_the_file(store, encoder, tmp_path):
    clips = Store.open(store)
    kinds = ("music", *["speech"] * 15, *["everyday"] * 8)
    mixed = dataclasses.replace(clips, kinds=kinds)
    shares = {"speech": 0.5, "music": 0.5, "everyday": 0.0}
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0)).tolist()
    drawn = sorted([0, *[index for index in order if 1 <= index <= 15][:8]])  # The music there is.
    expected = fit_whitenings(encoder, part_of(clips, drawn))
    found = fit_whitenings(encoder, mixed, clips=16, shares=shares)
    for name, whitening in found.items():
        torch.testing.assert_close(whitening.state_dict(), expected[name].state_dict())
    path = tmp_path / "weights.safetensors"
    save_encoder(path, encoder, {"config": {"views": {"sample": shares}}})
    whiten_file(path, mixed)
    everything_but = fit_whitenings(encoder, part_of(clips, range(16)))
    for name, whitening in load_weights(path).whitenings.items():
        torch.testing.assert_close(whitening.state_dict(), everything_but[name].state_dict())


def part_of(clips, numbers):
    """The same samples under an index of some clips alone."""
    chosen = {
        name: tuple(getattr(clips, name)[number] for number in numbers)
        for name in ("clip_ids", "kinds")
    }
    numbers = list(numbers)
    return dataclasses.replace(
        clips, starts=clips.starts[numbers], lengths=clips.lengths[numbers], **chosen
    )


def test_a_run_whitens_its_weights(store, tmp_path):
    sets = [
        "encoder.widths=4 P 8 P",
        "encoder.crop_samples=4096",
        "optim.batch=8",
        "byol.projector=[16, 8]",
        "optim.steps=2",
    ]
    path = train(read_config("tiny", None, sets), Store.open(store), tmp_path, torch.device("cpu"))
    assert set(load_weights(path).whitenings) == {"scene.contrast", "timestamps.maxima"}
    fitted = fit_whitenings(load_encoder(path)[0], Store.open(store))
    for name, whitening in load_weights(path).whitenings.items():
        torch.testing.assert_close(whitening.state_dict(), fitted[name].state_dict())


def test_the_command_adds_them_to_a_file_or_says_why_not(store, encoder, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_encoder(path, encoder, {"steps": 3})
    words = [sys.executable, "-m", "pretrain.whiten"]
    subprocess.run([*words, store, path], check=True, capture_output=True)
    assert load_encoder(path)[1] == {"steps": 3}
    assert len(load_weights(path).whitenings) == 2
    for store_given, weights, what in (
        (tmp_path, path, "no finished store"),
        (store, tmp_path / "none.safetensors", "cannot be read"),
    ):
        done = subprocess.run([*words, store_given, weights], capture_output=True, text=True)
        assert done.returncode == 1
        assert what in done.stderr
        assert done.stderr.count("\n") == 1


def test_the_command_whitens_any_module(store, tmp_path):
    path = tmp_path / "byol_a.safetensors"
    command = [sys.executable, "-m", "pretrain.whiten", store, path, "--clips", "8"]
    module = ["--module", "baselines.byol_a", "--option", "pooling=contrast"]
    subprocess.run([*command, *module], check=True, capture_output=True)
    model = whitened.load_model(str(path))
    clips = Store.open(store)
    order = torch.randperm(24, generator=torch.Generator().manual_seed(0))[:8].tolist()
    rows = torch.cat([whitened.get_scene_embeddings(waves(clips)[n], model) for n in order])
    assert rows.shape == (8, 8320)
    assert rows.mean(0).abs().max() < 1e-2
    missing, odd = ["--module", "no.such"], ["--share", "x"]
    for wrong, what in ((missing, "cannot be imported"), (odd, "no '='")):
        done = subprocess.run([*command, *wrong], capture_output=True, text=True)
        assert done.returncode in (1, 2)
        assert what in done.stderr


@torch.no_grad()
def test_components_are_of_the_whitened_embeddings_that_the_file_gives(store, encoder, tmp_path):
    path = tmp_path / "weights.safetensors"
    clips = Store.open(store)
    save_encoder(path, encoder, {"steps": 3}, whitenings=fit_whitenings(encoder, clips, clips=20))
    before = load_weights(path)
    add_components(path, clips, 4, clips=len(clips))
    after = load_weights(path)
    assert after.provenance == {"steps": 3}
    for name, whitening in after.whitenings.items():
        for part, value in whitening.state_dict().items():
            assert torch.equal(value, before.whitenings[name].state_dict()[part])
    model = Embedder(after.encoder, whitenings=after.whitenings)
    rows = torch.cat([model(wave) for wave in waves(clips)]).double()
    wanted = torch.linalg.eigvalsh(torch.cov(rows.T, correction=0)).flip(0)[:4]
    components = after.components["scene.contrast"](rows.float()).double()
    torch.testing.assert_close(components.var(0, correction=0), wanted, rtol=0.1, atol=0)
    assert components.mean(0).abs().max() < 0.05 * wanted[0].sqrt()


def test_the_command_whitens_first_where_the_file_is_not(store, encoder, tmp_path):
    path = tmp_path / "weights.safetensors"
    save_encoder(path, encoder, {})
    words = [sys.executable, "-m", "pretrain.whiten", store, path, "--components"]
    subprocess.run([*words, "3"], check=True, capture_output=True)
    assert len(load_weights(path).whitenings) == 2
    assert len(load_weights(path).components["scene.contrast"]) == 3
    for count, what in (("1000000", "give as many at most"), ("30", "give more clips")):
        done = subprocess.run([*words, count], capture_output=True, text=True)
        assert done.returncode == 1
        assert what in done.stderr.splitlines()[-1]


def test_a_module_that_is_no_hear_module_is_named(store, tmp_path):
    with pytest.raises(ValueError, match="--module os is not a HEAR module"):
        whiten_module(tmp_path / "x.safetensors", Store.open(store), "os")


def test_embeddings_whose_covariance_is_too_large_are_refused_before_the_work(store, tmp_path):
    out, options = tmp_path / "x.safetensors", {"preset": "h1", "untrained": True}
    with (
        pytest.warns(UserWarning, match="UNTRAINED"),
        pytest.raises(ValueError, match="38530 numbers, whose covariance takes 12 GB"),
    ):
        whiten_module(
            out, Store.open(store), "wavebyol_hear", options={**options, "pooling": "contrast"}
        )
    assert not out.exists()
