"""DeLoRes' HEAR module is BYOL-A's with other weights."""

import pytest
import torch

from baselines import byol_a, delores
from baselines.base import BaselineError, WeightsError, write_weights
from baselines.byol_a import AudioNtt2020

D = 24
NORMALIZED = {"mean": -5.0, "std": 4.0}


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    network = AudioNtt2020(D).eval()
    for name, value in network.named_buffers():
        if name.endswith("running_var"):
            value.uniform_(0.5, 2.0)
    return network


def sound():
    return 0.1 * torch.randn(2, 20_000, generator=torch.Generator().manual_seed(0))


def test_a_wrong_file_is_named_in_one_line(network, tmp_path):
    path = tmp_path / "w.safetensors"
    write_weights(path, torch.nn.Linear(2, 2), kind=delores.KIND, settings={}, provenance={})
    with pytest.raises(BaselineError, match="mean is None: give a number"):
        delores.load_model(str(path))
    write_weights(
        path, torch.nn.Linear(2, 2), kind=delores.KIND, settings=NORMALIZED, provenance={}
    )
    with pytest.raises(WeightsError, match="not an AudioNTT2020 network"):
        delores.load_model(str(path))


def test_a_file_of_ours_says_what_it_is(network, tmp_path):
    path = tmp_path / "w.safetensors"
    settings = {**NORMALIZED, "variant": "m"}
    write_weights(path, network, kind=delores.KIND, settings=settings, provenance={})
    model = delores.load_model(str(path))
    assert (model.mean, model.std, model.scene_embedding_size) == (-5.0, 4.0, D)
    with torch.no_grad():
        expected = byol_a.pool(model.network((model.log_mel(sound()) + 5) / 4))
    torch.testing.assert_close(delores.get_scene_embeddings(sound(), model), expected)
    every = delores.load_model(str(path), variant="m", pooling="contrast")
    scenes = delores.get_scene_embeddings(sound(), every)
    assert scenes.shape == (2, every.scene_embedding_size)
    with pytest.raises(WeightsError, match="is DeLoRes-m, not -s"):
        delores.load_model(str(path), variant="s")
    with pytest.raises(BaselineError, match="variant is 'x': give s or m"):
        delores.load_model(str(path), variant="x")
