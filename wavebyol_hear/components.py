"""The first principal components of embeddings over the training corpus: shorter embeddings.

A weights file holds them with 4 bits a number: 1,024 directions of 7,104 numbers are 3.6 MB.
Rounding moves a component by a hundredth of an average number's variance, shared by 7,104 numbers;
docs/python.md has the accuracy. The first K components are those of any larger number.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from wavebyol_hear.files.tensors import parts_by_name

PREFIX = "components."
PARTS = ("mean", "codes", "scale")
LEVELS = 7  # codes are 1 to 15, for -7 to 7 steps


class Components(nn.Module):
    """The map (z - mean) V' of an embedding z to its principal components, strongest first.

    Args:
        mean: of every number over the corpus.
        codes: the directions V, each two numbers a byte, the first in the low half.
        scale: step of the codes of each direction.

    Shape:
        mean [D], codes uint8 [K, ceil(D / 2)], scale [K]; [..., D] -> [..., K].
    """

    def __init__(self, mean: Tensor, codes: Tensor, scale: Tensor) -> None:
        """Check that the parts fit each other, and unpack the directions."""
        super().__init__()
        wanted = (len(scale), (len(mean) + 1) // 2)
        if codes.dtype != torch.uint8 or codes.shape != wanted or mean.dim() + scale.dim() != 2:
            raise ValueError(f"components of {len(mean)} numbers have parts of other sizes")
        if not (mean.isfinite().all() and scale.isfinite().all()):
            raise ValueError("components have NaN or infinite values")
        for name, value in zip(PARTS, (mean, codes, scale), strict=True):
            self.register_buffer(name, value)
        numbers = torch.stack([codes & 15, codes >> 4], -1).flatten(1)[:, : len(mean)]
        directions = (numbers.float() - LEVELS - 1) * scale[:, None]
        self.register_buffer("directions", directions, persistent=False)

    @classmethod
    def fit(cls, mean: Tensor, covariance: Tensor, count: int) -> "Components":
        """Return the first components of embeddings with these statistics.

        Args:
            mean: of every number.
            covariance: of every pair of numbers.
            count: of components, 1 to D.

        Shape:
            mean [D], covariance [D, D].
        """
        if not 1 <= count <= len(mean):
            raise ValueError(f"{count} components of {len(mean)} numbers: give 1 to {len(mean)}")
        directions = torch.linalg.eigh(covariance.double())[1].flip(1)[:, :count].T.float()
        largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
        return cls.of_directions(mean.float(), directions * largest.sign())

    @classmethod
    def of_directions(cls, mean: Tensor, directions: Tensor) -> "Components":
        """Return components along given directions, each rounded to the step that serves it best.

        Shape:
            mean [D], directions [K, D].
        """
        peak = directions.abs().amax(1, keepdim=True).clamp_min(1e-12)
        best, scale = torch.full_like(peak, torch.inf), peak
        for share in torch.linspace(0.2, 1, 33).tolist():  # the rest of the way to the peak is cut
            step = share * peak / LEVELS
            rounded = (directions / step).round().clamp(-LEVELS, LEVELS) * step
            error = (rounded - directions).square().sum(1, keepdim=True)
            scale, best = torch.where(error < best, step, scale), torch.minimum(error, best)
        codes = ((directions / scale).round().clamp(-LEVELS, LEVELS) + LEVELS + 1).byte()
        codes = nn.functional.pad(codes, (0, codes.shape[1] % 2))
        return cls(mean, codes[:, ::2] | codes[:, 1::2] << 4, scale[:, 0])

    @property
    def size(self) -> int:
        """Numbers of the embeddings that they are for."""
        return len(self.get_buffer("mean"))

    def __len__(self) -> int:
        """Return how many components there are."""
        return len(self.get_buffer("scale"))

    def first(self, count: int) -> "Components":
        """Return the first of these components.

        Raises:
            ValueError: there are not so many.
        """
        if isinstance(count, bool) or not 1 <= count <= len(self):
            raise ValueError(f"dims is {count}: the weights hold {len(self)} components, give less")
        mean, codes, scale = (self.get_buffer(name) for name in PARTS)
        return Components(mean, codes[:count].clone(), scale[:count].clone())

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return the components of embeddings; see the class."""
        return (embeddings - self.get_buffer("mean")) @ self.get_buffer("directions").T


def to_tensors(components: Mapping[str, Components]) -> dict[str, Tensor]:
    """Return the tensors that a weights file keeps of named components."""
    return {
        f"{PREFIX}{name}.{part}": value
        for name, each in components.items()
        for part, value in each.state_dict().items()
    }


def from_tensors(tensors: Mapping[str, Tensor]) -> dict[str, Components]:
    """Return the components among a file's tensors; what has no `PREFIX` is passed over.

    Raises:
        ValueError: components lack a part, or their parts do not fit each other.
    """
    return {name: Components(*parts) for name, parts in parts_by_name(tensors, PREFIX, PARTS)}


def is_components(key: str) -> bool:
    """Return whether a file's tensor belongs to components."""
    return key.startswith(PREFIX)
