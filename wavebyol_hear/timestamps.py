"""Where timestamps lie: columns of the maps at a common hop of 50 ms or less, and their instants.

Strided maps have a column per 160 ms (h2) or 320 ms (slim). `Encoder.dense_maps` keeps the columns
between, at a fraction of the cost of sliding the clip.

With a hop of S frames, the map of stage k (k pools of 2) is centred (2^k - 1) / 2 frames right of
its first frame. Where 2^k > S that is S - 1/2 frames beside a multiple of S, so this is where all
columns are put: column j on frame S j + S - 1/2. Each later pool is then symmetric, and an earlier
map, with columns every s frames, gives the window of S / s columns (two where s = S) around that
instant, whose centre is exactly the same.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from wavebyol_hear.encoder import Encoder
from wavebyol_hear.stream import Stage, stages_of

LONGEST_HOP_MS = 50


@dataclass(frozen=True)
class TimeGrid:
    """Where the columns of timestamp embeddings lie.

    Args:
        step: frames between two columns.
        beyond: whether some map has a larger stride, so that columns are centred between two.
        period: halves of a sample between two columns.
        phase: halves of a sample from the first sample to the centre of column 0.
    """

    step: int
    beyond: bool
    period: int
    phase: int

    @classmethod
    def of(cls, encoder: Encoder) -> "TimeGrid":
        """Return the coarsest grid of the encoder within `LONGEST_HOP_MS`."""
        front_end, last = encoder.front_end, stages_of(encoder)[-1].step
        longest = LONGEST_HOP_MS * encoder.config.sample_rate // 1000
        step = 1
        while 2 * step * front_end.hop <= longest and 2 * step <= last:
            step *= 2
        beyond = last > step
        # Column 0 is centred on frame (step - 1) / 2, or step - 1/2; frames are 2 hop halves apart.
        halves = (2 * step - 1 if beyond else step - 1) * front_end.hop
        period = 2 * step * front_end.hop
        return cls(step, beyond, period, halves + front_end.centre_halves)

    def columns(self, left: int, samples: int) -> range:
        """Return the columns centred within a clip: one at least.

        Args:
            left: samples of padding before the clip.
            samples: length of the clip.
        """
        first = max(-((self.phase - 2 * left) // self.period), 0)
        last = (2 * (left + samples) - self.phase) // self.period
        if last < first:  # The clip lies between two columns: take the one nearer its middle.
            nearest = (2 * left + samples - self.phase + self.period // 2) // self.period
            first = last = max(nearest, 0)
        return range(first, last + 1)

    def milliseconds(self, left: int, samples: int, sample_rate: int) -> Tensor:
        """Return the centres of `columns`, from the clip's first sample, in float64.

        They are whole halves of a sample until the one division at the end: nothing adds up. A
        clip between two columns gets its middle.
        """
        columns = self.columns(left, samples)
        halves = torch.arange(columns.start, columns.stop) * self.period + self.phase - 2 * left
        if len(columns) == 1 and not 0 <= int(halves) <= 2 * samples:
            halves = torch.tensor([samples])
        return halves.double() * 1000 / (2 * sample_rate)

    def window(self, stage: Stage) -> tuple[int, int, int]:
        """Return offset, width and stride of a stage's windows in columns of its dense map."""
        if stage.step > self.step:
            return 0, 1, 1
        ratio = self.step // stage.step
        if not self.beyond:
            return 0, ratio, ratio
        return ratio // 2, max(ratio, 2), ratio


def windows(dense: Tensor, begin: int, count: int, width: int, stride: int) -> list[Tensor]:
    """Return the first, second, ... columns of `count` windows that start at column `begin`.

    Shape:
        [..., t] -> `width` tensors [..., count].
    """
    span = stride * (count - 1) + 1
    return [dense[..., shift : shift + span : stride] for shift in range(begin, begin + width)]
