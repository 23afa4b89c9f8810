"""Learning rate and target decay as pure functions of the step, so that nothing is to be saved."""

import math
from typing import Literal


def learning_rate(
    step: int,
    *,
    peak: float,
    steps: int,
    warmup: int,
    schedule: Literal["constant", "cosine", "wsd"],
    decay: float = 0.2,
) -> float:
    """Return the learning rate of a step.

    A linear warm-up to `peak`, then constant; a cosine to zero; or `wsd`, constant until the last
    `decay` share of the steps and from there linear to zero, so that a run can be lengthened by
    going on from a state before the decay.

    Args:
        step: 0 to steps - 1.
        peak: learning rate after the warm-up.
        steps: length of the run.
        warmup: steps of the warm-up.
        schedule: the shape after the warm-up.
        decay: share of the run, 0 to 1, for `wsd`.
    """
    if step < warmup:
        return peak * (step + 1) / warmup
    if schedule == "cosine":
        return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))
    if schedule == "wsd":
        return peak * min(1.0, (steps - step) / max(1.0, decay * steps))
    return peak


def target_decay(step: int, *, first: float, last: float, steps: int) -> float:
    """Return tau, the share of the target kept at a step: a cosine from `first` to `last`.

    Source: BYOL (arXiv 2006.07733), section 3.3.
    """
    return last - (last - first) * (math.cos(math.pi * min(1.0, step / steps)) + 1) / 2
