"""One read-out for all: every stage of BYOL-A pooled, and any module whitened on a corpus."""

import pytest
import torch

from baselines import byol_a, whitened
from baselines.base import BaselineError, WeightsError, pool_stages
from wavebyol_hear.whitening import Whitening


def sound(clips=4, samples=20_000):
    return 0.1 * torch.randn(clips, samples, generator=torch.Generator().manual_seed(0))


def test_every_stage_of_byol_a_is_pooled():
    model = byol_a.load_model(pooling="contrast")
    scenes = byol_a.get_scene_embeddings(sound(), model)
    assert scenes.shape == (4, model.scene_embedding_size)
    with torch.no_grad():
        image = model.image(sound())
        maps, expected = image, []
        for layer in model.network.features:
            maps = layer(maps)
        steps = model.network(image).mT
        for rows in (image[:, 0], maps.flatten(1, 2), steps):
            expected.append(torch.cat([rows.amax(-1), rows.std(-1, correction=0)], 1))
    expected = [part.sign() * (10 * part.abs()).log1p() for part in expected]
    found = scenes.split([128, 2 * 64 * 32, 2 * 64 * 16, 2 * 64 * 8, 2 * steps.shape[1]], 1)
    for part, hand in zip((found[0], found[3], found[4]), expected, strict=True):
        torch.testing.assert_close(part, hand, atol=1e-3, rtol=1e-3)


def test_the_published_pooling_stays_the_default():
    model = byol_a.load_model()
    assert model.scene_embedding_size == model.timestamp_embedding_size
    with pytest.raises(BaselineError, match="pooling is 'stages': give published or contrast"):
        byol_a.load_model(pooling="stages")


def test_a_stage_that_stands_still_has_a_gradient():
    still = torch.ones(1, 2, 3, 5, requires_grad=True)
    pool_stages([still]).sum().backward()
    assert still.grad is not None
    assert still.grad.isfinite().all()


def test_a_whitened_module_gives_its_embeddings_whitened(tmp_path):
    rows = byol_a.get_scene_embeddings(sound(32), byol_a.load_model())
    fit = Whitening.fit(rows.mean(0), torch.cov(rows.T))
    path = tmp_path / "byol_a.safetensors"
    whitened.save_whitened(path, fit, module="baselines.byol_a", weights="", options={"mean": -5.0})
    model = whitened.load_model(str(path))
    plain = byol_a.load_model(mean=-5.0)
    assert (model.sample_rate, model.scene_embedding_size) == (16_000, plain.scene_embedding_size)
    expected = fit(byol_a.get_scene_embeddings(sound(), plain))
    found = whitened.get_scene_embeddings(sound(), model)
    torch.testing.assert_close(found, expected, atol=1e-2, rtol=1e-2)  # directions in half
    columns, times = whitened.get_timestamp_embeddings(sound(), model)
    assert torch.equal(columns, byol_a.get_timestamp_embeddings(sound(), plain)[0])
    assert times.shape == columns.shape[:2]
    wrong = tmp_path / "wrong.safetensors"
    whitened.save_whitened(
        wrong, fit, module="baselines.byol_a", weights="", options={"pooling": "contrast"}
    )
    with pytest.raises(WeightsError, match="has 8320: fit it again"):
        whitened.load_model(str(wrong))


@pytest.mark.parametrize("path", sorted(whitened.SHIPPED.glob("*")), ids=lambda path: path.stem)
@pytest.mark.filterwarnings("ignore:.*UNTRAINED")
def test_every_shipped_whitening_fits_its_encoder(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = whitened.load_model(encoder=path.stem)
    scenes = whitened.get_scene_embeddings(sound(2), model)
    assert scenes.shape == (2, model.scene_embedding_size)
    assert scenes.isfinite().all()


def test_an_unknown_encoder_is_one_line():
    with pytest.raises(BaselineError, match=r"encoder is 'bert': give no file and one of \["):
        whitened.load_model(encoder="bert")


@pytest.mark.parametrize("content", [None, b"no tensors"])
def test_a_file_that_is_no_whitening_is_one_line(tmp_path, content):
    path = tmp_path / "x.safetensors"
    if content:
        path.write_bytes(content)
    with pytest.raises(WeightsError, match="is not a whitening of a module") as caught:
        whitened.load_model(str(path))
    assert "\n" not in str(caught.value)
