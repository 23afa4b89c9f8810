"""One step of BYOL without norms, by one process or by each of two that a test starts."""

import dataclasses
import sys
from pathlib import Path

import torch
from torch import nn

from pretrain.config import ByolConfig, Config
from pretrain.distributed import parallel, process_group, rank, share
from pretrain.methods.byol import Byol
from wavebyol_hear.encoder import PRESETS

LOSSES = ("byol", "infonce", "infonce_target")
BATCH = 6


def joined(loss):
    """Return a model and the two views of the whole batch."""
    torch.manual_seed(0)
    encoder = dataclasses.replace(PRESETS["slim"], widths="4 P 8 P", crop_samples=2560)
    byol = ByolConfig(loss=loss, projector=(16, 8), predictor=16)
    model = Byol(Config(encoder=encoder, byol=byol))
    for parent in list(model.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d):
                setattr(parent, name, nn.Identity())
    return model, model, [torch.randn(BATCH, 1, 2560) for _ in range(2)]


def step(model, runner, views):
    """Do one step of plain gradient descent and one of the target; return what came of it."""
    loss, _ = runner(*views)
    loss.backward()
    gradients = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    with torch.no_grad():
        for parameter in model.online.parameters():
            if parameter.grad is not None:
                parameter -= 0.1 * parameter.grad
    model.update_target(0.9)
    target = dict(model.target.named_parameters()) if model.target else {}
    return {
        "loss": loss.detach(),
        "gradients": gradients,
        "target": {name: p.detach() for name, p in target.items()},
    }


def share_of(loss, device):
    """Return what this process has of a step.

    The wrapped network is gone on return. Were it left to go after the process group, it would
    be the last to hold that, which then waits for its threads while they wait for Python's lock.
    """
    model, _, views = joined(loss)
    model, runner = parallel(model, device)
    return step(model, runner, [v[share(BATCH)] for v in views])


def main():
    """Save this process's share of every loss."""
    folder = Path(sys.argv[1])
    with process_group("cpu", f"file://{folder / 'meet'}") as device:
        result = {loss: share_of(loss, device) for loss in LOSSES}
        torch.save(result, folder / f"{rank()}.pt")


if __name__ == "__main__":
    main()
