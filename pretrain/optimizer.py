"""The optimiser of a run: AdamW or AdamP, no decay on norms and biases, the front end apart."""

import torch
from adamp import AdamP
from torch import nn

from pretrain.config import OptimConfig

FILTERS = ("front_end.taps", "front_end.averaging")


def build_optimizer(network: nn.Module, config: OptimConfig) -> torch.optim.Optimizer:
    """Return the optimiser of a network's trainable parameters.

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
            "scale": config.front_end_scale if in_front else 1.0,
            "weight_decay": config.weight_decay if decays else 0.0,
        }
        for (in_front, decays), parameters in groups.items()
    ]
    kind = {"adamw": torch.optim.AdamW, "adamp": AdamP}[config.name]
    betas = (config.betas[0], config.betas[1])
    optimizer: torch.optim.Optimizer = kind(
        described, lr=config.lr, betas=betas, eps=config.eps
    )
    return optimizer


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Give every group the schedule's learning rate times its own scale."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["scale"]
