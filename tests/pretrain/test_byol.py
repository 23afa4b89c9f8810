"""BYOL: its loss re-computed by hand, its target, its gradients, and two processes against one."""

import dataclasses
import importlib.util
import math
from pathlib import Path

import pytest
import torch
from torch import nn

from pretrain.config import ByolConfig, Config
from pretrain.methods.byol import Byol, cosine_loss, infonce, pool
from pretrain.monitor import spread
from tests.pretrain.processes import both_done
from wavebyol_hear.encoder import PRESETS

_spec = importlib.util.spec_from_file_location(
    "process_of_two", Path(__file__).with_name("process_of_two.py")
)
assert _spec is not None
assert _spec.loader is not None
process_of_two = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(process_of_two)

TINY = dataclasses.replace(PRESETS["slim"], widths="4 P 8 P", crop_samples=2560)
HEADS = ByolConfig(projector=(16, 8), predictor=16)


def make(**changes):
    torch.manual_seed(0)
    return Byol(Config(encoder=TINY, byol=dataclasses.replace(HEADS, **changes)))


def two_views(batch=6):
    torch.manual_seed(1)
    return torch.randn(batch, 1, 2560), torch.randn(batch, 1, 2560)


def test_pool_is_max_plus_mean_of_unit_length():
    maps = torch.randn(3, 5, 2, 4)
    want = torch.stack([m.reshape(5, 8).max(1).values + m.reshape(5, 8).mean(1) for m in maps])
    torch.testing.assert_close(pool(maps), want / want.norm(dim=1, keepdim=True))


def test_byol_loss_equals_four_plain_passes():
    model, plain = make(), make(mix_views=True)  # one call a view: its norms see that view alone
    a, b = two_views()
    loss, projections = model(a, b)
    online = [plain.online.projector(pool(plain.online.encoder(v))) for v in (a, b)]
    target = [plain.target.projector(pool(plain.target.encoder(v))) for v in (a, b)]
    predicted = [plain.predictor(o) for o in online]
    cos = nn.functional.cosine_similarity
    want = (2 - 2 * cos(predicted[0], target[1]).mean()) + (
        2 - 2 * cos(predicted[1], target[0]).mean()
    )
    torch.testing.assert_close(loss, want)
    torch.testing.assert_close(projections, torch.cat(online))


@pytest.mark.parametrize("loss", ["byol", "infonce", "infonce_target"])
def test_no_gradient_reaches_the_target_and_all_else_gets_one(loss):
    model = make(loss=loss)
    model(*two_views())[0].backward()
    for name, parameter in model.named_parameters():
        frozen = name.startswith("target.") or name.endswith((".centre", ".bandwidth"))
        assert (parameter.grad is None) == frozen, name
    assert (model.target is None) == (loss == "infonce")


def test_target_moves_by_one_minus_tau_towards_online():
    model = make()
    with torch.no_grad():
        for parameter in model.online.parameters():
            parameter.add_(1.0)
    before = [p.clone() for p in model.target.parameters()]
    model.update_target(0.75)
    for new, old in zip(model.target.parameters(), before, strict=True):
        torch.testing.assert_close(new, old + 0.25)


def test_training_lowers_the_loss_and_keeps_the_projections_apart():
    torch.manual_seed(2)
    clips = torch.randn(16, 1, 2560).cumsum(-1)
    model = make(loss="infonce")
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    losses = []
    for _ in range(40):
        views = (clips + 0.3 * torch.randn_like(clips) for _ in range(2))
        loss, projections = model(*views)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss))
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
    assert spread(projections) > 0.5


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """What each of two processes saved for every loss.

    They meet in a file: torchrun's meeting looks up names, which takes minutes where no name
    server answers.
    """
    for _ in range(2):  # gloo stood still in 1 of some 90 tries: one more, and no third
        folder = tmp_path_factory.mktemp("two")
        if both_done("process_of_two.py", folder):  # a try takes 4 s
            break
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("loss", process_of_two.LOSSES)
def test_two_processes_have_the_loss_gradients_and_target_of_one(loss, two):
    want = process_of_two.step(*process_of_two.joined(loss))
    parts = [part[loss] for part in two]
    torch.testing.assert_close((parts[0]["loss"] + parts[1]["loss"]) / 2, want["loss"])
    for part in parts:
        torch.testing.assert_close(part["gradients"], want["gradients"])
        torch.testing.assert_close(part["target"], want["target"])
    assert want["gradients"]
    assert bool(want["target"]) == (loss != "infonce")


def test_cosine_loss_is_zero_two_four_for_same_orthogonal_opposite():
    same, across = torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 0.5]])
    assert float(cosine_loss(same, 7 * same)) == pytest.approx(0)
    assert float(cosine_loss(same, across)) == pytest.approx(2)
    assert float(cosine_loss(same, -same)) == pytest.approx(4)


def test_infonce_equals_its_definition_in_a_loop():
    torch.manual_seed(0)
    queries, keys = torch.randn(5, 7), torch.randn(5, 7)
    total = 0.0
    for i in range(5):
        cosines = [float(torch.cosine_similarity(queries[i], keys[j], dim=0)) for j in range(5)]
        total -= cosines[i] / 0.2 - math.log(sum(math.exp(c / 0.2) for c in cosines))
    assert float(infonce(queries, keys, 0.2)) == pytest.approx(total / 5, rel=1e-5)


def test_infonce_of_equal_keys_is_log_of_the_batch():
    assert float(infonce(torch.randn(8, 4), torch.ones(8, 4), 0.1)) == pytest.approx(math.log(8))
