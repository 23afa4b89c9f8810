"""Which precision convolutions compute in: what is asked for, or what the device is made for."""

from functools import cache
from typing import Literal, get_args

import torch

Precision = Literal["fp32", "bf16", "auto"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
# Units that multiply bfloat16 in hardware, by the names of `torch.cpu.get_capabilities`; processors
# without one emulate it and are slower with it than in float32.
CPU_UNITS = ("amx_bf16", "avx512_bf16")


def check_precision(precision: str) -> None:
    """Raise a ValueError unless a precision is known."""
    if precision not in get_args(Precision):
        known = ", ".join(get_args(Precision))
        raise ValueError(f"precision {precision!r} is unknown: it is one of {known}")


def resolve(precision: str, device: torch.device) -> str:
    """Return `fp32` or `bf16`: what is asked for, or what the device is made for.

    `auto` reads the device's capabilities and times nothing, so that a machine gives the same
    numbers every time, busy or not.
    """
    return natural(device) if precision == "auto" else precision


@cache
def natural(device: torch.device) -> str:
    """Return `bf16` where the device multiplies it in hardware, else `fp32`."""
    if device.type == "cuda":
        has_units = torch.cuda.is_bf16_supported(including_emulation=False)
    elif device.type == "cpu" and hasattr(torch.cpu, "get_capabilities"):
        has_units = any(torch.cpu.get_capabilities().get(unit) for unit in CPU_UNITS)
    else:
        has_units = False
    return "bf16" if has_units else "fp32"
