"""Tensors of a weights file put into an encoder, exactly those it has and no others."""

from pathlib import Path

import torch
from torch import Tensor

from wavebyol_hear.encoder import Encoder, EncoderConfig


class WeightsError(ValueError):
    """A weights file that cannot be used; the message is one line and names what is wrong."""


def differences(config: EncoderConfig, tensors: dict[str, Tensor]) -> list[str]:
    """Return, in words, how tensors differ from what a config asks for."""
    with torch.device("meta"):
        wanted = {name: value.shape for name, value in Encoder(config).state_dict().items()}
    found = {name: value.shape for name, value in tensors.items()}
    return [
        *(f"missing {name}" for name in wanted if name not in found),
        *(f"unknown {name}" for name in found if name not in wanted),
        *(
            f"{name} is {list(found[name])} instead of {list(shape)}"
            for name, shape in wanted.items()
            if name in found and found[name] != shape
        ),
    ]


def fill(config: EncoderConfig, tensors: dict[str, Tensor], path: Path) -> Encoder:
    """Return the encoder of a config with exactly these tensors."""
    found = differences(config, tensors)
    if found:
        raise WeightsError(f"weights {path} do not fit {config.widths!r}: {some(found)}")
    check_finite(tensors, path)
    with torch.random.fork_rng(devices=[]):  # the first weights are drawn, then overwritten
        encoder = Encoder(config)
    encoder.load_state_dict(tensors)
    return encoder.eval()


def check_finite(tensors: dict[str, Tensor], path: Path) -> None:
    """Raise a WeightsError that names the tensors with values that are no numbers."""
    infinite = [name for name, value in tensors.items() if not value.isfinite().all()]
    if infinite:
        raise WeightsError(f"weights {path} have non-finite values in {some(infinite)}")


def some(names: list[str], most: int = 3) -> str:
    """Return the first few names and how many there are besides."""
    rest = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + rest
