"""The two views of BYOL-A and DeLoRes: log-mels normalized, mixed with others, cropped, resized.

Everything is one batched operation; randomness is torch's global generator, which the training
loop seeds at every step. Source: Niizumi et al. (arXiv 2103.06695), section III, and
nttcslab/byol-a (augmentations.py, train.py).
"""

import torch
from torch import Tensor, nn

from pretrain.distributed import gather

NORM_BATCHES = 64
MIX = 0.4
SCALE = (0.6, 1.5)
CANVAS = (1.0, 1.5)
CUBIC = -0.75  # the constant of torch's bicubic interpolation


class EarlyNorm(nn.Module):
    """Normalizes by the mean and deviation of the first training batches, then frozen.

    The estimates are buffers, so that a resumed run goes on as it would have. Departure: the
    authors average over up to ten epochs; 64 batches of 256 clips fix both to under 1 %.

    Shape:
        [B, ...] -> the same.
    """

    batches: Tensor
    mean: Tensor
    square: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("batches", torch.zeros(()))
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("square", torch.zeros(()))

    @property
    def std(self) -> Tensor:
        """The standard deviation, kept off zero."""
        return (self.square - self.mean.square()).clamp_min(1e-12).sqrt()

    def settings(self) -> dict[str, float]:
        """Return what a weights file says of the inputs."""
        return {"mean": float(self.mean), "std": float(self.std)}

    def forward(self, values: Tensor) -> Tensor:
        """Return the normalized values; in training, count the batch while it is early."""
        if self.training:
            early = (self.batches < NORM_BATCHES).float()
            moments = torch.stack([values.mean(), values.square().mean()])
            mean, square = gather(moments[None].detach())[0].mean(0)
            self.batches += early
            weight = early / self.batches
            self.mean.lerp_(mean, weight)
            self.square.lerp_(square, weight)
        return (values - self.mean) / self.std


@torch.no_grad()
def mixed_views(view_a: Tensor, view_b: Tensor, log_mel: nn.Module, norm: EarlyNorm) -> Tensor:
    """Return both views' log-mels: normalized, mixed, a random rectangle cut and resized.

    Args:
        view_a: one crop of every clip.
        view_b: another crop, or the same one; its log-mel is then computed once.
        log_mel: of waves [B, n].
        norm: of log-mels.

    Shape:
        view_a, view_b [B, 1, n] -> float32 [2B, 1, F, T], view a's first.
    """
    with torch.autocast(view_a.device.type, enabled=False):
        waves = [view_a] if torch.equal(view_a, view_b) else [view_a, view_b]
        images = norm(log_mel(torch.cat(waves)[:, 0]))
        views = images.chunk(2) if len(waves) == 2 else (images, images)
        return torch.cat([random_resize_crop(mix(view)) for view in views])


def mix(images: Tensor) -> Tensor:
    """Mix every log-mel with another of the batch, as sounds mix: log((1 - a) e^x + a e^z).

    The share a is uniform in 0 to 0.4. Departure: the authors draw z from the last 2,048 inputs,
    which here are the other clips of the batch, so that a step depends on nothing before it.

    Shape:
        [B, 1, F, T] -> the same.
    """
    batch = len(images)
    share = MIX * torch.rand(batch, 1, 1, 1, device=images.device)
    away = torch.randint(1, max(2, batch), (batch,), device=images.device)
    other = images[(torch.arange(batch, device=images.device) + away) % batch]
    return torch.logaddexp(images + (1 - share).log(), other + share.clamp_min(1e-12).log())


def random_resize_crop(images: Tensor) -> Tensor:
    """Cut a random rectangle from a canvas around each image and resize it to the image's size.

    The canvas is as high as the image and 1.5 times as long, zero outside it; the rectangle's
    sides are 0.6 to 1.5 of the image's, at most the canvas. Bicubic, corners aligned.

    Shape:
        [B, 1, F, T] -> the same.
    """
    matrices = []
    for size, ratio in zip(images.shape[-2:], CANVAS, strict=True):
        canvas = int(size * ratio)
        drawn = torch.rand(2, len(images), device=images.device)
        length = ((SCALE[0] + (SCALE[1] - SCALE[0]) * drawn[0]) * size).long().clamp(1, canvas)
        start = (drawn[1] * (canvas - length + 1)).long().minimum(canvas - length)
        matrices.append(resize_matrix(start - (canvas - size) // 2, length, size))
    rows, columns = matrices
    return (rows @ images[:, 0] @ columns.mT)[:, None]


def resize_matrix(start: Tensor, length: Tensor, size: int) -> Tensor:
    """Return the matrices that resize a span of a zero-padded axis to the axis' own size.

    Bicubic interpolation is separable: a crop and resize of an image is one such matrix from
    the left and one from the right, and a whole batch is two batched matrix products.

    Args:
        start: first position of the span; negative where it begins before the axis.
        length: positions in the span, at least 1.
        size: of the axis and of the result.

    Shape:
        start, length [B] -> [B, size, size].
    """
    step = (length - 1) / max(1, size - 1)  # corners aligned: the ends of the span are kept
    position = torch.arange(size, device=start.device) * step[:, None]  # [B, size], in the span
    first = position.floor()
    fraction = position - first
    matrix = torch.zeros(len(start), size, size + 1, device=start.device)
    for offset in (-1, 0, 1, 2):
        tap = (first.long() + offset).clamp_min(0).minimum(length[:, None] - 1) + start[:, None]
        outside = (tap < 0) | (tap >= size)
        # What lies outside the axis is zero: its weight goes to a column that is cut off.
        index = tap.masked_fill(outside, size)[..., None]
        matrix.scatter_add_(2, index, _cubic((fraction - offset).abs())[..., None])
    return matrix[..., :size]


def _cubic(distance: Tensor) -> Tensor:
    """Return the weight of a sample at a distance of 0 to 2 (Keys' kernel)."""
    near = ((CUBIC + 2) * distance - (CUBIC + 3)) * distance.square() + 1
    far = ((distance - 5) * distance + 8) * distance * CUBIC - 4 * CUBIC
    return torch.where(distance <= 1, near, far)
