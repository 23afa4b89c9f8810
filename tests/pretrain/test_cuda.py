"""On a GPU: what is drawn, computed and saved there is what a CPU does."""

import pytest
import torch
from torch.nn.functional import cosine_similarity

from pretrain.config import read_config
from pretrain.data.store import Store
from pretrain.train import Learner, train
from pretrain.views import ViewSampler
from wavebyol_hear.checkpoint import load_encoder
from wavebyol_hear.embed import Embedder
from wavebyol_hear.encoder import PRESETS, Encoder

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")

CPU, GPU = torch.device("cpu"), torch.device("cuda")
SMALL = [
    "encoder.crop_samples=5120",
    "optim.batch=8",
    "optim.warmup=0",
    "optim.schedule=constant",
    "byol.projector=[16, 8]",
    "byol.predictor=16",
    "run.precision=fp32",
    "run.log_every=1",
]


@pytest.fixture(autouse=True)
def full_precision(monkeypatch):
    """Products of 24 bits, and sums in one order."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)


def config(preset, steps, *more):
    return read_config(preset, None, [*SMALL, f"optim.steps={steps}", *more])


def test_crops_of_a_store_in_the_gpus_memory_are_those_on_a_cpu(store):
    clips, run = Store.open(store), config("tiny", 1, "views.speed=[0.8, 1.25]")
    here, there = (ViewSampler(clips, run, device).crops(3) for device in (CPU, GPU))
    for crop, expected in zip(there, here, strict=True):
        assert crop.is_cuda
        torch.testing.assert_close(crop.cpu(), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("loss", ["byol", "infonce", "infonce_target"])
@pytest.mark.parametrize("encoder", ["tiny", "slim_bank", "h1"])
def test_a_step_has_the_loss_that_it_has_on_a_cpu(store, encoder, loss):
    run = config(encoder, 2, f"byol.loss={loss}")
    views = ViewSampler(Store.open(store), config("tiny", 2), CPU).crops(0)
    losses = []
    for device in (CPU, GPU):
        learner = Learner(run, device, 24)
        learner.wrap()
        crops = [view.to(device) for view in views]
        losses.append([float(learner.step(step, *crops)[0]) for step in range(2)])
    (first, second), expected = losses[1], losses[0]
    assert first == pytest.approx(expected[0], rel=1e-3)
    # Adam's first step takes the sign of a gradient alone, also where that is rounding.
    assert second == pytest.approx(expected[1], rel=0.1)
    assert abs(second - first) > 1e-3


def test_effects_keep_the_batch_on_the_gpu_finite_and_alike_for_one_seed(store):
    of_no_kind = "views.sample={everyday: 0, speech: 0, music: 0}"
    sampler = ViewSampler(Store.open(store), config("slim_bank", 1, of_no_kind), GPU)
    crops = sampler.crops(0)
    one, two = sampler.augment(0, *crops), sampler.augment(0, *crops)
    for view, again, crop in zip(one, two, crops, strict=True):
        assert view.is_cuda
        assert view.isfinite().all()
        assert view.shape == crop.shape
        assert torch.equal(view, again)
        assert not torch.allclose(view, crop)


def test_steps_and_steps_gone_on_with_are_steps_in_one_go(store, tmp_path):
    clips = Store.open(store)
    whole = train(config("tiny", 6), clips, tmp_path / "whole", GPU)
    train(config("tiny", 3), clips, tmp_path / "parts", GPU)
    parts = train(config("tiny", 6), clips, tmp_path / "parts", GPU)
    one, two = (load_encoder(path)[0].state_dict() for path in (whole, parts))
    for name, value in one.items():
        torch.testing.assert_close(value, two[name], atol=1e-4, rtol=1e-3, msg=name)


@pytest.mark.parametrize("preset", ["h1", "slim", "wide_bank"])
@pytest.mark.parametrize(("precision", "agreement"), [("fp32", 0.99999), ("bf16", 0.99)])
def test_embeddings_are_those_of_a_cpu(preset, precision, agreement):
    torch.manual_seed(0)
    encoder = Encoder(PRESETS[preset]).eval()
    audio = torch.randn(2, 40_000) * 0.1
    with torch.no_grad():
        expected = Embedder(encoder, precision="fp32")(audio)
        model = Embedder(encoder, precision=precision).to(GPU)
        found = model(audio.to(GPU)).float().cpu()
    assert cosine_similarity(found, expected).min() > agreement
