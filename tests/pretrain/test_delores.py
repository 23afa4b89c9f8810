"""DeLoRes' losses against their definitions, the queue, and both baselines on two processes."""

import importlib.util
import math
from pathlib import Path

import pytest
import torch

from pretrain.config import Config, DeloresConfig, OptimConfig
from pretrain.methods.delores import DeloresM, DeloresS, barlow_loss
from tests.pretrain.processes import both_done

_spec = importlib.util.spec_from_file_location(
    "process_of_baselines", Path(__file__).with_name("process_of_baselines.py")
)
assert _spec is not None
assert _spec.loader is not None
process_of_baselines = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(process_of_baselines)

SMALL = Config(
    delores=DeloresConfig(embedding=16, projector=12, key=8, queue=8), optim=OptimConfig(batch=4)
)


def noise(batch=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return 0.1 * torch.randn(batch, 1, 15_200, generator=generator)


def test_the_barlow_loss_is_its_definition_in_a_loop():
    torch.manual_seed(0)
    first, second = torch.randn(2, 20, 3)
    expected = 0.0
    for i in range(3):
        for j in range(3):
            c = float(torch.corrcoef(torch.stack([first[:, i], second[:, j]]))[0, 1])
            expected += (1 - c) ** 2 if i == j else 0.1 * c * c
    assert float(barlow_loss(first, second, 0.1)) == pytest.approx(expected, rel=1e-3)


def test_the_barlow_loss_ignores_level_and_offset():
    torch.manual_seed(0)
    first, second = torch.randn(2, 20, 3)
    torch.testing.assert_close(
        barlow_loss(5 * first + 2, second, 0.1), barlow_loss(first, second, 0.1), rtol=1e-3, atol=0
    )


@pytest.mark.parametrize("kind", [DeloresS, DeloresM])
def test_all_that_is_trained_gets_a_gradient(kind):
    torch.manual_seed(0)
    method = kind(SMALL)
    loss, projections = method(noise(), noise())
    loss.backward()
    assert projections.shape == (8, 12 if kind is DeloresS else 8)
    for name, parameter in method.named_parameters():
        assert (parameter.grad is None) == name.startswith("target."), name


def test_keys_take_the_place_of_the_oldest_ones():
    torch.manual_seed(0)
    method = DeloresM(SMALL)
    before = method.queue.clone()
    first = method(noise(), noise())[1][4:]
    assert torch.equal(method.queue[:4], first)
    assert torch.equal(method.queue[4:], before[4:])
    method(noise(seed=1), noise(seed=1))
    assert torch.equal(method.queue[:4], first)
    third = method(noise(seed=2), noise(seed=2))[1][4:]
    assert torch.equal(method.queue[:4], third)
    method.eval()(noise(seed=3), noise(seed=3))
    assert torch.equal(method.queue[:4], third)


def test_infonce_tells_a_key_from_those_of_the_queue():
    torch.manual_seed(0)
    method = DeloresM(SMALL)
    queries, keys = torch.nn.functional.normalize(torch.randn(2, 4, 8), dim=2)
    total = 0.0
    for query, key in zip(queries, keys, strict=True):
        scores = [float(query @ key), *[float(query @ other) for other in method.queue]]
        total += math.log(sum(math.exp(s / 0.07) for s in scores)) - scores[0] / 0.07
    assert float(method.infonce(queries, keys)) == pytest.approx(total / 4, rel=1e-4)


def test_stages_are_means_over_time_of_each_convolution():
    torch.manual_seed(0)
    stages = DeloresM(SMALL).online.eval()
    image = torch.randn(2, 1, 64, 24)
    with torch.no_grad():
        _, means = stages(image)
        maps = stages.encoder.features[:4](image)
    assert [m.shape[1] for m in means] == [2048, 1024, 512]
    torch.testing.assert_close(means[0][:, 64 * 3 + 5], maps[:, 5, 3].mean(1))


def test_a_batch_must_divide_the_queue():
    config = Config(delores=DeloresConfig(queue=100), optim=OptimConfig(batch=64))
    with pytest.raises(ValueError, match=r"delores\.queue is 100: give a multiple of optim\.batch"):
        DeloresM(config)


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What each of two processes has after thirty steps of every method."""
    folder = tmp_path_factory.mktemp("two")
    assert both_done("process_of_baselines.py", folder, timeout=300)
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("name", process_of_baselines.METHODS)
def test_thirty_steps_of_two_processes_are_those_of_one(name, two):
    losses, state = process_of_baselines.trained(name, torch.device("cpu"))
    both = torch.tensor([part[name][0] for part in two]).mean(0)
    torch.testing.assert_close(both, torch.tensor(losses), rtol=1e-3, atol=1e-4)
    start = process_of_baselines.build(name).state_dict()
    for part in two:
        for key, value in part[name][1].items():
            torch.testing.assert_close(value, state[key], rtol=1e-3, atol=1e-4, msg=key)
    moved = [key for key in start if not torch.equal(start[key], state[key])]
    assert len(moved) > 5
