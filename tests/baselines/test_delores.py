"""DeLoRes' HEAR module is BYOL-A's with other weights, and reads the authors' four layouts."""

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


def in_stages(state):
    """The encoder's names in the code of 2023: `features.4.weight` is `features_2.0.weight`."""
    result = {}
    for name, value in state.items():
        part, index, rest = name.split(".", 2)
        if part == "features":
            name = f"features_{int(index) // 4 + 1}.{int(index) % 4}.{rest}"
        result[name] = value
    return result


def layouts(state):
    """A file of each generation of the authors' code, with what only training needs."""
    one, stages = torch.ones(1), in_stages(state)
    heads = {"queue": one, "queue_ptr": one, "p1.bn.weight": one, "p3.projector.0.weight": one}
    return {
        "S 2021": {
            **{f"module.{n}": v for n, v in state.items()},
            "module.projector.1.weight": one,
            "module.bn.weight": one,
        },
        "S 2023": {
            **{f"encoder.encoder.{n}": v for n, v in stages.items()},
            "p.projector.0.weight": one,
            "p.bn.running_mean": one,
        },
        "M 2023": {
            **{f"encoder_q.encoder.{n}": v for n, v in stages.items()},
            **{f"encoder_k.encoder.{n}": v for n, v in stages.items()},
            "encoder_q.fc.weight": one,
            "encoder_q.fc.bias": one,
            **heads,
        },
        "M audio-ssl": {
            **{f"encoder_q.{n}": v for n, v in stages.items()},
            "encoder_q.fc_2.weight": one,
            **heads,
        },
    }


def sound():
    return 0.1 * torch.randn(2, 20_000, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("layout", ["S 2021", "S 2023", "M 2023", "M audio-ssl"])
def test_each_layout_gives_the_encoder(network, tmp_path, layout):
    path = tmp_path / "w.pth.tar"
    torch.save({"epoch": 3, "state_dict": layouts(network.state_dict())[layout]}, path)
    model = delores.load_model(str(path), mean=-5.0, std=4.0)
    with torch.no_grad():
        expected = byol_a.pool(network((model.log_mel(sound()) + 5) / 4))
    torch.testing.assert_close(delores.get_scene_embeddings(sound(), model), expected)
    assert model.scene_embedding_size == D


def test_a_file_of_theirs_needs_its_normalization(network, tmp_path):
    path = tmp_path / "w.pth.tar"
    torch.save(layouts(network.state_dict())["S 2021"], path)
    with pytest.raises(
        BaselineError, match=r"how log-mels were normalized: give FILE\?mean=M&std=S"
    ):
        delores.load_model(str(path), mean=-5.0)


class Pickled:
    """A class of someone's own among the hyperparameters, as Lightning keeps it."""


def test_a_wrong_checkpoint_is_named_in_one_line(network, tmp_path):
    path = tmp_path / "w.ckpt"
    state = layouts(network.state_dict())["S 2023"]
    cases = [
        (
            {"state_dict": state, "hyper_parameters": Pickled()},
            "pickled classes, which are not read",
        ),
        ({"module.v.cls_token": torch.ones(1)}, r"names of none of DeLoRes-M \(2023\), DeLoRes-S"),
        (
            {**state, "other.weight": torch.ones(1)},
            r"holds other\.weight, which a file of DeLoRes-S",
        ),
        ({n: v for n, v in state.items() if "fc.0" not in n}, "no AudioNTT2020 network"),
    ]
    for content, message in cases:
        torch.save(content, path)
        with pytest.raises(WeightsError, match=message) as caught:
            delores.load_model(str(path), mean=-5.0, std=4.0)
        assert "\n" not in str(caught.value)


def test_a_file_of_ours_says_what_it_is(network, tmp_path):
    path = tmp_path / "w.safetensors"
    settings = {**NORMALIZED, "variant": "m"}
    write_weights(path, network, kind=delores.KIND, settings=settings, provenance={})
    model = delores.load_model(str(path))
    assert (model.mean, model.std) == (-5.0, 4.0)
    every = delores.load_model(str(path), variant="m", pooling="contrast")
    scenes = delores.get_scene_embeddings(sound(), every)
    assert scenes.shape == (2, every.scene_embedding_size)
    with pytest.raises(WeightsError, match="is DeLoRes-m, not -s"):
        delores.load_model(str(path), variant="s")
    with pytest.raises(BaselineError, match="variant is 'x': give s or m"):
        delores.load_model(str(path), variant="x")
