"""Mean and covariance of embeddings that come clip by clip, and the whitening of them."""

import torch
from torch import Tensor

from wavebyol_hear.whitening import STRONGEST, Whitening

FEWEST_CLIPS = 8
CLIPS_PER_DIRECTION = 4
"""Clips for each direction that is brought down.

Of as few clips as directions all variance lies in these, and bringing it down to the next one's, 0,
leaves nothing. With slim and 64, 128, 200 of 900 clips, cosines of other clips correlate .81, .90
and .96 with those after the whitening by all 900; with 8 clips per direction .75, .85 and .91.
"""
AT_ONCE = 512  # rows a matrix product takes in
MOST_NUMBERS = 16_384  # of a row: 2 GB of products, and four times that when whitened


class Moments:
    """Mean and covariance of rows that come in pieces, in float64.

    Shape:
        rows [n, D] each.

    Raises:
        ValueError: D is above `MOST_NUMBERS`.
    """

    def __init__(self, size: int) -> None:
        if size > MOST_NUMBERS:
            raise ValueError(
                f"whitening: embeddings of {size} numbers, whose covariance takes "
                f"{8 * size**2 / 1e9:.0f} GB: choose a pooling of at most {MOST_NUMBERS}"
            )
        self.clips = 0
        self.count = 0
        self.mean = torch.zeros(size, dtype=torch.float64)
        self.products = torch.zeros(size, size, dtype=torch.float64)  # of centred rows
        self.waiting: list[Tensor] = []

    def update(self, rows: Tensor) -> None:
        """Take in the rows of one clip."""
        self.clips += 1
        self.waiting.append(rows.cpu().double())
        if sum(map(len, self.waiting)) >= AT_ONCE:
            self._settle()

    def _settle(self) -> None:
        """Merge what waits: squares minus a squared mean would cancel, and might turn negative.

        Source: Chan, Golub and LeVeque 1983, equation 2.1.
        """
        if not self.waiting:
            return
        rows = torch.cat(self.waiting)
        self.waiting.clear()
        before, self.count = self.count, self.count + len(rows)
        mean = rows.mean(0)
        apart, rows = mean - self.mean, rows - mean
        self.mean += apart * (len(rows) / self.count)
        self.products.addmm_(rows.T, rows)
        self.products.addr_(apart, apart, alpha=before * len(rows) / self.count)

    def statistics(self) -> tuple[Tensor, Tensor]:
        """Return mean [D] and covariance [D, D] of all rows so far.

        Raises:
            ValueError: there were none.
        """
        self._settle()
        if not self.count:
            raise ValueError("whitening: every clip drawn from the store is silent")
        return self.mean, self.products / self.count

    def whitening(self) -> Whitening:
        """Return the whitening of all rows so far.

        Raises:
            ValueError: they are of fewer than `FEWEST_CLIPS` clips.
        """
        mean, covariance = self.statistics()
        if self.clips < FEWEST_CLIPS:
            raise ValueError(
                f"whitening: {self.clips} clips that are not silent are too few for it: give "
                f"{FEWEST_CLIPS} or more"
            )
        strongest = min(STRONGEST, self.clips // CLIPS_PER_DIRECTION)
        return Whitening.fit(mean.float(), covariance.float(), strongest)
