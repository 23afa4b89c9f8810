"""Thirty steps of a method, by one process or by each of two that a test starts."""

import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pretrain.config import ByolConfig, Config, DeloresConfig, OptimConfig, SsastConfig
from pretrain.distributed import parallel, process_group, rank, share
from pretrain.methods.byol import Byol
from pretrain.methods.delores import Delores, DeloresM, DeloresS
from pretrain.methods.method import Method
from pretrain.methods.ssast import Ssast
from wavebyol_hear.encoder import PRESETS

STEPS, BATCH, RATE = 30, 8, 0.005
SAMPLES = {"ssast": 8_000, "delores_s": 5_120, "delores_m": 5_120, "byol": 2_560, "infonce": 2_560}
METHODS = tuple(SAMPLES)
DELORES = DeloresConfig(embedding=16, projector=12, key=8, queue=16, off_diagonal=0.05, barlow=0.1)


def build(name: Any) -> Method:
    """Return a small method without what depends on the process: dropout, and drawn crops.

    DeLoRes-S goes without norms: with them and eight clips, rounding doubles every other step.
    """
    torch.manual_seed(0)
    if name in ("byol", "infonce"):
        encoder = replace(PRESETS["slim"], widths="4 P 8 P", crop_samples=SAMPLES[name])
        byol = ByolConfig(loss=name, projector=(16, 8), predictor=16)
        return Byol(Config(encoder=encoder, byol=byol))
    if name == "ssast":
        encoder = replace(PRESETS["slim"], crop_samples=SAMPLES[name])
        return Ssast(Config(encoder=encoder, ssast=SsastConfig(width=64, depth=1)))
    config = Config(delores=DELORES, optim=OptimConfig(batch=BATCH))
    method = DeloresS(config) if name == "delores_s" else DeloresM(config)
    method.images = partial(plain_views, method)  # type: ignore[method-assign]
    for parent in list(method.modules()):
        for child_name, child in parent.named_children():
            norm = isinstance(child, nn.BatchNorm1d | nn.BatchNorm2d)
            if isinstance(child, nn.Dropout) or (norm and name == "delores_s"):
                setattr(parent, child_name, nn.Identity())
    return method


def plain_views(
    method: Delores, view_a: torch.Tensor, view_b: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the views as they come: what mixes and cuts them each process draws for itself."""
    a, b = method.norm(method.log_mel(torch.cat([view_a, view_b])[:, 0])).chunk(2)
    return a, b


def views(name: str, step: int) -> list[torch.Tensor]:
    """Return the two views of a step's whole batch: tones of different pitch in some noise."""
    generator = torch.Generator().manual_seed(step)
    pitch = 0.05 + 2 * torch.rand(BATCH, 1, 1, generator=generator)
    tones = 0.2 * (pitch * torch.arange(SAMPLES[name])).sin()
    return [tones + 0.02 * torch.randn(tones.shape, generator=generator) for _ in range(2)]


def trained(name: str, device: torch.device) -> tuple[list[float], dict[str, torch.Tensor]]:
    """Return the losses of thirty steps of this process's part of each batch, and the state."""
    method, runner = parallel(build(name), device)
    parameters = [p for p in method.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(parameters, lr=RATE)
    losses = []
    for step in range(STEPS):
        torch.manual_seed(2 * step + rank())  # as the loop seeds: each process in its own way
        loss, _ = runner(*[view[share(BATCH)] for view in views(name, step)])
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        method.update_target(0.9)
        losses.append(float(loss.detach()))
    return losses, {key: value.clone() for key, value in method.state_dict().items()}


def main() -> None:
    """Save this process's run of every method."""
    folder = Path(sys.argv[1])
    with process_group("cpu", f"file://{folder / 'meet'}") as device:
        torch.save({name: trained(name, device) for name in METHODS}, folder / f"{rank()}.pt")


if __name__ == "__main__":
    main()
