"""The baselines as methods: their views, their losses, and the files that come out."""

import dataclasses
import math
import subprocess
import sys

import numpy as np
import pytest
import soundfile
import torch
from torch.nn.functional import interpolate, pad

from baselines import byol_a, cola, delores, ssast
from pretrain.augment.spectrogram import (
    NORM_BATCHES,
    EarlyNorm,
    mix,
    random_resize_crop,
    resize_matrix,
)
from pretrain.config import ByolConfig, Config, DeloresConfig, SsastConfig, read_config
from pretrain.data.store import Store
from pretrain.methods.byol_a import ByolA
from pretrain.methods.cola import Cola
from pretrain.methods.delores import DeloresS
from pretrain.methods.ssast import Ssast
from pretrain.train import train
from wavebyol_hear.encoder import PRESETS

CPU = torch.device("cpu")
SMALL = Config(
    encoder=dataclasses.replace(PRESETS["slim"], crop_samples=20_720),
    byol=ByolConfig(projector=(32, 8), predictor=16),
    ssast=SsastConfig(width=64, depth=1),
    delores=DeloresConfig(embedding=16, projector=16),
)
MODULES = {
    "byol_a": byol_a, "cola": cola, "ssast_tiny": ssast, "delores_s": delores, "delores_m": delores
}  # fmt: skip
DELORES = ["delores.embedding=16", "delores.projector=16", "delores.queue=16"]
SMALLER = {
    "byol_a": ["byol.projector=[32,8]", "byol.predictor=16"],
    "cola": [],
    "ssast_tiny": ["ssast.width=64", "ssast.depth=1"],
    "delores_s": DELORES,
    "delores_m": DELORES,
}


def tones(batch, samples, seed=0):
    """Tones of different pitches with some noise: [B, 1, samples]."""
    generator = torch.Generator().manual_seed(seed)
    pitch = torch.linspace(0.05, 1.5, batch)[:, None, None]
    return 0.2 * (pitch * torch.arange(samples)).sin() + 0.02 * torch.randn(
        batch, 1, samples, generator=generator
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """Sixteen made-up clips, decoded by the command itself."""
    root, out = tmp_path_factory.mktemp("clips"), tmp_path_factory.mktemp("store")
    for number, tone in enumerate(tones(16, 20_000).numpy()[:, 0]):
        soundfile.write(root / f"{number:02}.wav", tone.astype(np.float32), 16_000)
    subprocess.run(
        [sys.executable, "-m", "pretrain.store", root, "--out", out, "--workers", "1"],
        check=True,
        capture_output=True,
    )
    return out


def test_two_matrices_crop_and_resize_as_torch_does_one_image_at_a_time():
    images = torch.randn(5, 1, 64, 96)
    top, height = torch.tensor([0, 3, 26, 10, 0]), torch.tensor([64, 50, 38, 1, 40])
    left, width = torch.tensor([24, 0, 87, 40, 5]), torch.tensor([96, 144, 57, 60, 99])
    rows, columns = resize_matrix(top, height, 64), resize_matrix(left - 24, width, 96)
    got = rows @ images[:, 0] @ columns.mT
    canvas = pad(images, (24, 24))
    for n in range(5):
        crop = canvas[n : n + 1, :, top[n] : top[n] + height[n], left[n] : left[n] + width[n]]
        expected = interpolate(crop, (64, 96), mode="bicubic", align_corners=True)[0, 0]
        torch.testing.assert_close(got[n], expected, rtol=1e-5, atol=2e-5)


def test_the_drawn_rectangles_cover_the_published_range():
    """A ramp along an axis comes out as a ramp whose rise is the rectangle's length."""
    torch.manual_seed(0)
    ramp = torch.arange(64.0)[:, None].expand(64, 96)
    out = random_resize_crop(ramp.expand(2000, 1, 64, 96))[:, 0, :, 48]
    inside = out.amin(1) > -1  # no column drawn from outside the image
    length = (out[:, -1] - out[:, 0])[inside] + 1
    assert 37 <= length.min() < 40  # int(0.6 * 64) = 38 rows, the least
    assert 63.5 < length.max() <= 64.1  # the canvas is as high as the image
    assert 0.4 < (length > 63.5).float().mean() < 0.65  # drawn 1 to 1.5, cut at the canvas: 5/9


def test_mixing_adds_energies_and_never_takes_the_sound_itself():
    torch.manual_seed(0)
    silent, loud = -20.0, 3.0
    images = torch.full((400, 1, 2, 2), silent)
    images[::2] = loud
    mixed = mix(images)
    share = mixed.exp()[1::2, 0, 0, 0] / math.exp(loud)  # of a loud sound in a silent one
    share = share[share > 1e-3]
    assert share.max() < 0.4
    assert 0.17 < share.mean() < 0.23
    assert mixed[::2].min() >= loud + math.log(0.6) - 1e-5
    pair = torch.stack([torch.zeros(1, 1, 1), torch.full((1, 1, 1), 5.0)])
    assert torch.all(torch.stack([mix(pair) for _ in range(20)])[:, 0] > 0)  # always the other


def test_the_norm_learns_mean_and_deviation_early_and_freezes():
    torch.manual_seed(0)
    norm = EarlyNorm()
    for _ in range(NORM_BATCHES):
        norm(4 * torch.randn(50, 10) - 7)
    assert float(norm.mean) == pytest.approx(-7, abs=0.1)
    assert float(norm.std) == pytest.approx(4, abs=0.1)
    before = norm.state_dict()["mean"].clone()
    norm(torch.full((50, 10), 1000.0))
    assert torch.equal(norm.mean, before)
    fresh = EarlyNorm()
    fresh.load_state_dict(norm.state_dict())
    assert torch.equal(fresh(torch.ones(2, 2)), norm(torch.ones(2, 2)))


def test_byol_a_trains_the_online_network_and_moves_the_target():
    torch.manual_seed(0)
    method = ByolA(SMALL)
    views = tones(8, 15_200)
    loss, projections = method(views, views)
    loss.backward()
    assert 0 < loss < 8
    assert projections.shape == (16, 8)
    assert all(p.grad is None for p in method.target.parameters())
    assert all(
        p.grad is not None and p.grad.abs().sum() > 0
        for n, p in method.online.named_parameters()
        if n.endswith("weight")
    )
    bias, average = (n.get_parameter("encoder.fc.0.bias") for n in (method.online, method.target))
    with torch.no_grad():
        bias.add_(1)
    start = average.clone()
    method.update_target(0.9)
    moved = average - start
    torch.testing.assert_close(moved, torch.full_like(moved, 0.1))


def test_byol_a_normalises_its_views_together():
    torch.manual_seed(0)
    images = ByolA(SMALL).images(tones(8, 15_200), tones(8, 15_200, seed=1))
    assert images.shape == (16, 1, 64, 96)
    assert float(images.mean()) == pytest.approx(0, abs=1e-4)
    assert float(images.std()) == pytest.approx(1, abs=1e-4)
    assert not torch.equal(images[:8], images[8:])


def test_byol_a_has_one_loss():
    with pytest.raises(ValueError, match="infonce"):
        ByolA(Config(byol=ByolConfig(loss="infonce")))


def test_colas_loss_is_log_of_the_batch_where_nothing_is_alike():
    torch.manual_seed(0)
    method = Cola(SMALL)
    torch.nn.init.zeros_(method.similarity)
    loss, projections = method(tones(6, 16_000), tones(6, 16_000, seed=1))
    assert float(loss.detach()) == pytest.approx(math.log(6), abs=1e-5)
    assert projections.shape == (12, 512)


def test_colas_loss_asks_which_second_crop_belongs_to_the_first():
    torch.manual_seed(0)
    method = Cola(SMALL)
    loss, projections = method(tones(6, 16_000), tones(6, 16_000, seed=1))
    loss.backward()
    first, second = projections.chunk(2)
    scores = first @ method.similarity.detach() @ second.T
    expected = (scores.logsumexp(1) - scores.diag()).mean()
    torch.testing.assert_close(loss.detach(), expected, rtol=1e-4, atol=1e-4)
    for parameter in (method.encoder.get_parameter("stem.0.weight"), method.similarity):
        assert parameter.grad is not None
        assert parameter.grad.abs().sum() > 0


@pytest.mark.parametrize("name", list(MODULES))
def test_killed_and_gone_on_is_the_same_run_and_its_file_loads(store, tmp_path, name):
    clips = Store.open(store)

    def run(steps, out):
        sets = ["optim.batch=4", f"optim.steps={steps}", "optim.schedule=constant", *SMALLER[name]]
        return train(read_config(name, None, sets), clips, tmp_path / out, CPU)

    whole = run(4, "whole")
    run(2, "parts")
    torch.rand(5)
    parts = run(4, "parts")
    models = [MODULES[name].load_model(str(path)) for path in (whole, parts)]
    for (key, one), two in zip(
        models[0].network.state_dict().items(), models[1].network.state_dict().values(), strict=True
    ):
        assert torch.equal(one, two), key
    wave = tones(2, 20_000)[:, 0]
    assert MODULES[name].get_scene_embeddings(wave, models[0]).isfinite().all()
    if name != "cola":
        assert models[0].mean == models[1].mean != 0


def test_what_the_probe_sees_is_what_the_module_embeds(tmp_path):
    torch.manual_seed(0)
    for name, method, samples in (
        ("byol_a", ByolA(SMALL), 15_200),
        ("cola", Cola(SMALL), 16_000),
        ("ssast_tiny", Ssast(SMALL), 20_720),
        ("delores_s", DeloresS(SMALL), 15_200),
    ):
        for _ in range(3):
            method(tones(8, samples), tones(8, samples, seed=1))
        method.eval()
        method.save(tmp_path / "w.safetensors", {})
        model = MODULES[name].load_model(str(tmp_path / "w.safetensors"))
        wave = tones(3, samples, seed=2)
        with torch.no_grad():
            seen = method.embed(wave)
        got = MODULES[name].get_scene_embeddings(wave[:, 0], model)
        assert torch.nn.functional.cosine_similarity(seen, got).min() > 0.999, name
