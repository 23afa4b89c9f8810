"""The optimizer of a run and its schedules: learning rate, and the share kept of the target."""

import math

import adamp
import torch
from torch import Tensor, nn

from pretrain.config import ByolConfig, OptimConfig

FILTERS = ("front_end.taps", "front_end.averaging")


def learning_rate(step: int, config: OptimConfig) -> float:
    """Return the learning rate of a step, a function of its number so that nothing is to be saved.

    A linear warm-up to `lr`, then constant; a cosine to zero; or `wsd`, constant until the last
    `decay` share of the steps and from there linear to zero, so that a run can be lengthened by
    going on from a state before the decay.
    """
    peak, steps, warmup = config.lr, config.steps, config.warmup
    if step < warmup:
        return peak * (step + 1) / warmup
    if config.schedule == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
    if config.schedule == "wsd":
        return peak * min(1.0, (steps - step) / max(1.0, config.decay * steps))
    return peak


def target_decay(step: int, config: ByolConfig, steps: int) -> float:
    """Return the share of the target kept at a step: a cosine from `tau` to `tau_final`.

    Source: BYOL (arXiv 2006.07733), section 3.3.
    """
    first, last = config.tau, config.tau_final
    return last - (last - first) * (math.cos(math.pi * min(1.0, step / steps)) + 1) / 2


class AdamP(adamp.AdamP):
    """AdamP that also takes weights in channels_last, whose rows cannot be viewed as one."""

    def _channel_view(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), -1)

    def _layer_view(self, x: Tensor) -> Tensor:
        return x.reshape(1, -1)


def build_optimizer(network: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """Return the optimizer of a network's trainable parameters.

    Each group carries `scale`, the factor on the schedule's learning rate: the parameters of a
    front end (centre frequencies in Hz, taps) take `config.front_end_scale`. Vectors (biases and
    norms) and a filter bank's taps and averaging, which begin as what they are to stay near, get
    no weight decay.
    """
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            in_front = "front_end." in name and not name.endswith(("norm.weight", "norm.bias"))
            decays = parameter.ndim > 1 and not name.endswith(FILTERS)
            groups.setdefault((in_front, decays), []).append(parameter)
    described = [
        {
            "params": parameters,
            "in_front": in_front,
            "scale": config.front_end_scale if in_front else 1.0,
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (in_front, decays), parameters in groups.items()
    ]
    kind = {"adamw": torch.optim.AdamW, "adamp": AdamP}[config.name]
    return kind(described, lr=config.lr, betas=config.betas, eps=config.eps)


def hold_front_end(optimizer: torch.optim.Optimizer) -> None:
    """Let the front end stay as it is from here on; a saved state keeps that."""
    for group in optimizer.param_groups:
        if group["in_front"]:
            group["scale"] = 0.0


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group the schedule's learning rate times its own scale."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]
