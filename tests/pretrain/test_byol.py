"""BYOL: its loss re-computed by hand, its target, its gradients, and two processes against one."""

import copy
import dataclasses

import pytest
import torch
from torch import multiprocessing, nn

from pretrain.byol import Byol, pool
from pretrain.config import ByolConfig
from pretrain.distributed import parallel, process_group
from wavebyol_hear.encoder import PRESETS, Encoder

TINY = dataclasses.replace(PRESETS["slim"], widths="4 P 8 P", crop_samples=2560)
HEADS = ByolConfig(projector=(16, 8), predictor=16)


def make(**changes):
    torch.manual_seed(0)
    return Byol(Encoder(TINY), dataclasses.replace(HEADS, **changes))


def two_views(batch=6):
    torch.manual_seed(1)
    return torch.randn(batch, 1, 2560), torch.randn(batch, 1, 2560)


def test_pool_is_max_plus_mean_of_unit_length():
    maps = torch.randn(3, 5, 2, 4)
    want = torch.stack([m.reshape(5, 8).max(1).values + m.reshape(5, 8).mean(1) for m in maps])
    torch.testing.assert_close(pool(maps), want / want.norm(dim=1, keepdim=True))


def test_byol_loss_equals_four_plain_passes():
    model = make()
    plain = copy.deepcopy(model)
    a, b = two_views()
    loss, projections = model(a, b)
    online = [plain.online[1](pool(plain.online[0](v))) for v in (a, b)]
    target = [plain.target[1](pool(plain.target[0](v))) for v in (a, b)]
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
    from pretrain.monitor import spread

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


def norm_free(loss):
    model = make(loss=loss)
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
                setattr(parent, name, nn.Identity())
    return model


def one_of_two(rank, port, loss, folder):
    import os

    os.environ |= {"RANK": str(rank), "WORLD_SIZE": "2", "LOCAL_RANK": str(rank),
                   "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    with process_group("cpu") as device:
        model, runner = parallel(norm_free(loss), device)
        part = slice(3 * rank, 3 * rank + 3)
        value, _ = runner(*(v[part] for v in two_views()))
        value.backward()
        with torch.no_grad():
            for p in model.online.parameters():
                if p.grad is not None:
                    p -= 0.1 * p.grad
        model.update_target(0.9)
        torch.save({
            "loss": value.detach(),
            "grads": {n: p.grad for n, p in model.named_parameters() if p.grad is not None},
            "target": dict(model.target.named_parameters()) if model.target else {},
        }, f"{folder}/{rank}.pt")


@pytest.mark.parametrize("loss", ["byol", "infonce", "infonce_target"])
def test_two_processes_have_the_loss_gradients_and_target_of_one(loss, tmp_path):
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    multiprocessing.spawn(one_of_two, (port, loss, str(tmp_path)), nprocs=2)
    two = [torch.load(tmp_path / f"{r}.pt") for r in range(2)]
    model = norm_free(loss)
    value, _ = model(*two_views())
    value.backward()
    torch.testing.assert_close((two[0]["loss"] + two[1]["loss"]) / 2, value.detach())
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            for part in two:
                torch.testing.assert_close(part["grads"][name], parameter.grad, msg=name)
    with torch.no_grad():
        for p in model.online.parameters():
            if p.grad is not None:
                p -= 0.1 * p.grad
    model.update_target(0.9)
    for name, parameter in model.target.named_parameters() if model.target else ():
        for part in two:
            torch.testing.assert_close(part["target"][name], parameter, msg=name)
