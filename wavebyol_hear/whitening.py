"""Whitening of embeddings by statistics of the training corpus.

What most sounds share (level, tilt, density) fills a few directions of an embedding and hides what
tells sounds apart: from cosines, and from heads that learn by gradient descent. So each number is
centred and brought to unit deviation, and the strongest directions are attenuated to the deviation
of the next. The statistics are those of the corpus that the encoder was trained on, kept in its
weights file: a clip's embedding depends on no other clip.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from wavebyol_hear.files.tensors import parts_by_name

PREFIX = "whitening."
PARTS = ("mean", "scale", "directions", "gains")
STRONGEST = 64
# A number that hardly moved in the corpus is not blown up where it does: least deviation, as a
# share of the median.
LEAST_DEVIATION = 0.1


class Whitening(nn.Module):
    """An affine map z + U g U' z of the standardised embedding z; nothing in it is trained.

    Args:
        mean: of every number over the corpus.
        scale: one over its deviation.
        directions: U, orthonormal, strongest first.
        gains: g, from -1 to 0: what is added of each direction.

    Shape:
        mean, scale [D], directions [D, K], gains [K]; [..., D] -> [..., D].
    """

    def __init__(self, mean: Tensor, scale: Tensor, directions: Tensor, gains: Tensor) -> None:
        """Check that the parts fit each other."""
        super().__init__()
        size, count = directions.shape
        if mean.shape != (size,) or scale.shape != (size,) or gains.shape != (count,):
            raise ValueError(f"whitening of {size} numbers has parts of other sizes: refit it")
        for name, value in zip(PARTS, (mean, scale, directions, gains), strict=True):
            self.register_buffer(name, value.float())

    @classmethod
    def fit(cls, mean: Tensor, covariance: Tensor, strongest: int = STRONGEST) -> "Whitening":
        """Return the whitening of embeddings with these statistics.

        Args:
            mean: of every number.
            covariance: of every pair of numbers.
            strongest: directions to attenuate; at most an eighth of the numbers.

        Shape:
            mean [D], covariance [D, D].
        """
        deviation = covariance.diagonal().clamp_min(0).sqrt()  # of a constant, rounding may be < 0
        # Where most numbers never move (dead units), the median is of those that do.
        middle = deviation.median() or deviation[deviation > 0].median()
        deviation = deviation.clamp_min(LEAST_DEVIATION * float(middle))
        alike = covariance / torch.outer(deviation, deviation)
        count = min(strongest, len(mean) // 8)
        with torch.random.fork_rng(devices=[]):  # svd_lowrank starts from a drawn subspace
            torch.manual_seed(0)
            directions, variances, _ = torch.svd_lowrank(alike, q=2 * count + 1, niter=8)
        gains = (variances[count] / variances[:count]).sqrt() - 1
        return cls(mean, 1 / deviation, directions[:, :count], gains)

    @property
    def size(self) -> int:
        """Numbers of the embeddings that it is for."""
        return len(self.get_buffer("mean"))

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return whitened embeddings; see the class."""
        mean, scale, directions, gains = (self.get_buffer(name) for name in PARTS)
        whitened = (embeddings - mean).mul_(scale)
        rows = whitened.view(-1, self.size)  # In place: timestamps are many numbers.
        rows.addmm_(rows @ directions * gains, directions.T)
        return whitened


def to_tensors(whitenings: Mapping[str, Whitening]) -> dict[str, Tensor]:
    """Return the tensors that a weights file keeps of named whitenings."""
    return {
        f"{PREFIX}{name}.{part}": value
        for name, whitening in whitenings.items()
        for part, value in whitening.state_dict().items()
    }


def from_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Whitening]:
    """Return the whitenings among a file's tensors; what has no `PREFIX` is passed over.

    Raises:
        ValueError: a whitening lacks a part, or its parts do not fit each other.
    """
    return {name: Whitening(*parts) for name, parts in parts_by_name(tensors, PREFIX, PARTS)}


def is_whitening(key: str) -> bool:
    """Return whether a file's tensor belongs to a whitening."""
    return key.startswith(PREFIX)
