"""The encoder's layers: norms over time, the image of channel chunks, dilated convolution, pool."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class TimeNorm(nn.Module):
    """Scale each row to a fixed energy per unit of time.

    An L2 norm over time leaves every row with energy 1 however long it is, so that a long clip
    reaches the BatchNorms fainter than a training crop. With `reference` the training length in
    frames, the factor sqrt(length / reference) undoes just that: the output has mean square
    1 / reference at any length, and at the training length the layer is the authors' L2 norm.
    `reference=1` is scaling to unit RMS. A silent row stays silent.

    Args:
        reference: length in frames (or samples) at which the norm equals a plain L2 norm, >= 1.
        eps: smallest norm divided by, as in `torch.nn.functional.normalize`.

    Shape:
        Input and output: [..., T].

    Source: waverDeep/WaveBYOL normalises by L2 over time twice; the factor is ours.
    """

    def __init__(self, reference: int, eps: float = 1e-12) -> None:
        super().__init__()
        if reference < 1:
            raise ValueError(f"reference is {reference} frames: it must be 1 or more")
        self.reference = reference
        self.eps = eps

    def forward(self, rows: Tensor) -> Tensor:
        """Return the rows scaled; see the class."""
        energy = rows.square().sum(-1, keepdim=True)
        return rows * self.gain(energy, rows.shape[-1])

    def gain(self, energy: Tensor, length: int) -> Tensor:
        """Return the factor for rows of `length` frames whose squares sum to `energy`.

        Streaming code sums the energy piece by piece and asks for the factor afterwards.
        """
        factor: Tensor = (length / self.reference) ** 0.5 / energy.sqrt().clamp_min(self.eps)
        return factor

    def extra_repr(self) -> str:
        """Return what `repr` shows."""
        return f"reference={self.reference}"


def stack_chunks(channels: Tensor, chunks: int) -> Tensor:
    """Cut the channels in equal chunks and stack them as the planes of an image.

    Args:
        channels: front-end output.
        chunks: number of planes; divides the number of channels.

    Shape:
        channels [B, chunks * rows, T] -> [B, chunks, rows, T]; plane p holds the channels
        p * rows to (p + 1) * rows - 1 in their order.
    """
    batch, width, frames = channels.shape
    return channels.reshape(batch, chunks, width // chunks, frames)


def pad_to(wave: Tensor, samples: int) -> Tensor:
    """Zero-pad symmetrically to at least `samples`; the odd sample goes to the right.

    Shape:
        [..., n] -> [..., max(n, samples)].
    """
    missing = samples - wave.shape[-1]
    if missing <= 0:
        return wave
    return functional.pad(wave, (missing // 2, missing - missing // 2))


def pre_emphasize(wave: Tensor, share: float) -> Tensor:
    """Subtract a share of the previous sample from each sample; silence precedes the first.

    Shape:
        [..., n] -> [..., n].
    """
    if not share:
        return wave
    return wave - share * functional.pad(wave, (1, 0))[..., :-1]


class DilatedConv2d(nn.Conv2d):
    """A 3 x 3 convolution whose taps may lie several columns apart in time.

    Args:
        inputs: channels in.
        outputs: channels out.

    Shape:
        [B, inputs, R, T] -> [B, outputs, R, T].
    """

    def __init__(self, inputs: int, outputs: int, *, device: str | None = None) -> None:
        super().__init__(inputs, outputs, 3, padding=1, device=device)

    def forward(self, maps: Tensor, dilation: int = 1) -> Tensor:
        """Return the convolution, its taps `dilation` columns apart."""
        apart = 1, dilation
        return functional.conv2d(maps, self.weight, self.bias, padding=apart, dilation=apart)


class TimePool2d(nn.MaxPool2d):
    """A 2 x 2 max pool that can keep every column.

    Shape:
        [B, C, R, T] -> [B, C, R // 2, T // 2].
    """

    def __init__(self) -> None:
        super().__init__(2)

    def dense(self, maps: Tensor, dilation: int) -> Tensor:
        """Return the maxima of every pair of columns that lie `dilation` apart.

        Pairs of adjacent columns lie half a column right of the first. Wider pairs are put on the
        column in their middle, with zeros past the ends, which no ReLU's output is below.

        Shape:
            [B, C, R, T] -> [B, C, R // 2, T - 1] at dilation 1, else [B, C, R // 2, T].
        """
        maps = pool_rows(maps)
        if dilation > 1:
            maps = functional.pad(maps, (dilation // 2, dilation // 2))
        return torch.maximum(maps[..., :-dilation], maps[..., dilation:])


def pool_rows(maps: Tensor) -> Tensor:
    """Return the maxima of pairs of rows: [B, C, R, T] -> [B, C, R // 2, T]."""
    rows = maps.shape[2] // 2 * 2
    return torch.maximum(maps[:, :, 0:rows:2], maps[:, :, 1:rows:2])
