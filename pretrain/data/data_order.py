"""Which clips a step sees and which seed it has: functions of the step's number alone."""

import numpy as np
import torch
from torch import Tensor

_ORDER = 1_000_000  # stands in a seed where a process's number stands in others


def step_seed(seed: int, step: int, process: int) -> int:
    """Return the seed of one step of one process, 32 well-mixed bits.

    torch's generator on the CPU takes the low 32 bits of a seed and drops the others without a
    word, so that seeds built by multiplication would repeat.
    """
    return int(np.random.SeedSequence([seed, step, process]).generate_state(1)[0])


def check_batch(clips: int, batch: int) -> None:
    """Raise ValueError where a store has fewer clips than a batch."""
    if clips < batch:
        raise ValueError(
            f"the store has {clips} clips, fewer than a batch of {batch}; "
            f"give it more, or --set optim.batch={max(2, clips)}"
        )


def batch_of_step(step: int, clips: int, batch: int, seed: int) -> Tensor:
    """Return the clip numbers of a step's global batch: [batch] int64.

    Every epoch is a permutation of the clips; the few that fill no whole batch sit it out.

    Raises:
        ValueError: fewer clips than a batch.
    """
    check_batch(clips, batch)
    epoch, place = divmod(step, clips // batch)
    generator = torch.Generator().manual_seed(step_seed(seed, epoch, _ORDER))
    order = torch.randperm(clips, generator=generator)
    return order[place * batch : (place + 1) * batch]
