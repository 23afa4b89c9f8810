"""Which clips a step sees, and the seeds of all that is drawn.

What is drawn is a function of seed, step and process, so that nothing is to be saved.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

# What is drawn, each by its own generator: per step and process, per step by all processes alike
# (ORDER, KIND, MIX, FILES), and for shards that are read while training (SHARDS, CHOICE, ROUND).
CROPS, EFFECTS, MODEL, ORDER, KIND, MIX, SHARDS, CHOICE, ROUND, FILES = range(10)


def step_seed(seed: int, step: int, rank: int, stream: int) -> int:
    """Return the seed of what one process draws in one step, 32 well-mixed bits.

    Args:
        seed: of the run.
        step: its number; of an epoch for `ORDER` and `FILES`, of a kind of clips for `KIND`, of a
            time around the shards, a shard's turn or a round for `SHARDS`, `CHOICE` and `ROUND`.
        rank: of the process; 0 for what all processes draw alike; a group of files for `ORDER` and
            `MIX`.
        stream: what is drawn: `CROPS`, `EFFECTS` and so on.

    torch's generator on the CPU takes the low 32 bits of a seed and drops the others without a
    word, so that seeds built by multiplication would repeat.
    """
    return int(np.random.SeedSequence([seed, step, rank, stream]).generate_state(1)[0])


class ClipOrder:
    """Which clips each step's batch has: every epoch visits each clip once, in another order.

    The few clips that fill no whole batch sit an epoch out. Each kind has epochs of its own.

    Args:
        kinds: of each clip.
        shares: of each kind in a batch, 0 to 1, with the sum 1; clips of other kinds are not
            used. Where all are 0, the clips are one group, whatever their kinds.
        batch: clips a step, over all processes; the shares are rounded to it, the sum kept.
        seed: of the run.
        file_of: each clip's file; needed for several groups.
        file_groups: equal parts of a batch, in its order. Each epoch deals the files out to them
            again, cut so that all have equally many clips, and each draws from its own files: a
            process that takes whole parts reads no other file. The order is the same for any
            number of processes.

    Shape:
        file_of [C] int64.

    Raises:
        ValueError: fewer clips, or fewer of a kind, than a batch needs, or a batch that cannot be
            cut into equal parts.

    Example:
        >>> order = ClipOrder([""] * 6, {}, batch=2, seed=0)
        >>> sorted(clip for step in range(3) for clip in order.batch(step).tolist())
        [0, 1, 2, 3, 4, 5]
    """

    def __init__(
        self,
        kinds: Sequence[str],
        shares: Mapping[str, float],
        batch: int,
        seed: int,
        *,
        file_of: Tensor | None = None,
        file_groups: int = 1,
    ) -> None:
        if batch % file_groups:
            raise ValueError(
                f"views.file_groups={file_groups} does not divide the batch of {batch}: choose one "
                "that does"
            )
        if len(kinds) < batch:
            raise ValueError(
                f"the store has {len(kinds)} clips, fewer than a batch of {batch}; "
                f"give it more, or --set optim.batch={max(2, len(kinds))}"
            )
        self.seed, self.file_of, self.file_groups = seed, file_of, file_groups
        self.kinds = [(torch.arange(len(kinds)), batch // file_groups)]
        if any(shares.values()):
            self.kinds = []
            for kind, count in _rounded(shares, batch // file_groups).items():
                clips = torch.tensor([i for i, k in enumerate(kinds) if k == kind]).long()
                if len(clips) < count * file_groups:
                    raise ValueError(
                        f"views.sample.{kind}={shares[kind]:g} needs {count * file_groups} clips "
                        f"of this kind for a batch of {batch}, but the store has {len(clips)}: "
                        "give it more or lower the share"
                    )
                if count:
                    self.kinds.append((clips, count))
        self._epochs: dict[int, tuple[int, list[Tensor]]] = {}

    def batch(self, step: int) -> Tensor:
        """Return the clips of a step, [batch] int64."""
        drawn = [self._drawn(step, number) for number in range(len(self.kinds))]
        parts = [torch.cat(part) for part in zip(*drawn, strict=True)]
        if len(self.kinds) > 1:
            # Without this, processes, which take slices of a batch, would see one kind each
            for group, part in enumerate(parts):
                parts[group] = part[_permutation(self.seed, step, group, MIX, len(part))]
        return torch.cat(parts)

    def _drawn(self, step: int, kind: int) -> list[Tensor]:
        """Return the clips of a kind that each group of files has in a step."""
        clips, count = self.kinds[kind]
        epoch, index = divmod(step, len(clips) // self.file_groups // count)
        if self._epochs.get(kind, (-1,))[0] != epoch:
            self._epochs[kind] = epoch, self._epoch(kind, epoch)
        _, parts = self._epochs[kind]
        return [part[index * count : (index + 1) * count] for part in parts]

    def _epoch(self, kind: int, epoch: int) -> list[Tensor]:
        """Return the order in which each group of files visits its clips of a kind in an epoch."""
        clips, _ = self.kinds[kind]
        seed = self.seed if len(self.kinds) == 1 else step_seed(self.seed, kind, 0, KIND)
        if self.file_groups > 1 and self.file_of is not None:
            files = self.file_of[clips]
            order = _permutation(self.seed, epoch, 0, FILES, int(self.file_of.max()) + 1)
            clips = clips[order[files].argsort(stable=True)]
        size = len(clips) // self.file_groups
        return [
            part[_permutation(seed, epoch, group, ORDER, size)]
            for group, part in enumerate(clips.split(size)[: self.file_groups])
        ]


def _permutation(seed: int, step: int, rank: int, stream: int, count: int) -> Tensor:
    """Return the numbers 0 to count - 1 in an order of their own, [count] int64."""
    generator = torch.Generator().manual_seed(step_seed(seed, step, rank, stream))
    return torch.randperm(count, generator=generator)


def _rounded(shares: Mapping[str, float], batch: int) -> dict[str, int]:
    """Return each kind's clips in a batch: the shares by largest remainder, so that all are met."""
    exact = {kind: share * batch for kind, share in shares.items() if share}
    counts = {kind: int(value) for kind, value in exact.items()}
    by_remainder = sorted(exact, key=lambda kind: counts[kind] - exact[kind])
    for kind in by_remainder[: batch - sum(counts.values())]:
        counts[kind] += 1
    return counts
