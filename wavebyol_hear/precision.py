"""Which precision the convolutions compute in: what the machine is faster at, or what is asked."""

from functools import cache
from time import perf_counter
from typing import Literal, get_args

import torch
from torch import nn

Precision = Literal["fp32", "bf16", "auto"]
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}
# Processors with bfloat16 products are twice as fast with them and more (FACTS, section 6); those
# that emulate them are slower. Between the two lies a wide gap.
WORTH_IT = 1.3
ROUNDS = 5


def check_precision(precision: str) -> None:
    """Raise a ValueError unless a precision is known."""
    if precision not in get_args(Precision):
        known = ", ".join(get_args(Precision))
        raise ValueError(f"precision {precision!r} is unknown: it is one of {known}")


def resolve(precision: str, device: torch.device) -> str:
    """Return `fp32` or `bf16`: what is asked for, or what the device is faster at."""
    return faster(device) if precision == "auto" else precision


@cache
def faster(device: torch.device) -> str:
    """Return the precision in which a device is faster, found by trying once (some 20 ms)."""
    least = dict.fromkeys(DTYPES, float("inf"))
    with torch.inference_mode():
        inputs = {}
        for name, dtype in DTYPES.items():
            image = torch.zeros(4, 64, 32, 32, dtype=dtype, device=device)
            weight = torch.zeros(128, 64, 3, 3, dtype=dtype, device=device)
            inputs[name] = [x.to(memory_format=torch.channels_last) for x in (image, weight)]
        for _ in range(1 + ROUNDS):
            for name, (image, weight) in inputs.items():
                begin = perf_counter()
                nn.functional.conv2d(image, weight, padding=1)
                if device.type == "cuda":
                    torch.cuda.synchronize(device)
                least[name] = min(least[name], perf_counter() - begin)
    return "bf16" if least["fp32"] > WORTH_IT * least["bf16"] else "fp32"
