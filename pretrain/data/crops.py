"""Crops: a batch of random crops of clips in one gather."""

import torch
from torch import Tensor

from pretrain.data.store import Store

FULL_SCALE = 32767.0  # the store's scale, see pretrain.data.store_build.decode
_CPU_ROWS = 32  # crops gathered at a time on a CPU: what they need stays in its cache


def gather_crops(
    samples: Tensor,
    starts: Tensor,
    lengths: Tensor,
    fraction: Tensor,
    speed: Tensor | None,
    crop_samples: int,
) -> Tensor:
    """Read crops of signals that lie end to end, by linear interpolation; 0 outside a signal.

    A crop's first sample lies at fraction * room, where room is what the signal has more than the
    crop needs; it is negative for a signal that is too short, and then the crop starts before it.

    Args:
        samples: the signals, of any real type.
        starts: each signal's first sample.
        lengths: each signal's number of samples.
        fraction: where in the signal the crop lies, 0 (at its start) to 1 (at its end).
        speed: samples of the signal a sample of the crop; None for 1 at whole positions, exactly.
        crop_samples: length T of a crop.

    Shape:
        samples [N]; starts, lengths, fraction, speed [B], on any device; returns [B, T] float32 on
        the samples' device.
    """
    device, rows = samples.device, len(starts)
    starts, lengths = starts.to(device)[:, None], lengths.to(device)[:, None]
    # float64: a position in a 30-s clip needs 19 bits before the point and 10 or more behind
    fraction = fraction.to(device, torch.float64)[:, None]
    pace = 1.0 if speed is None else speed.to(device, torch.float64)[:, None]
    first = fraction * (lengths - 1 - (crop_samples - 1) * pace)
    if speed is None:
        first = first.round()
    # Positions of the crop that lie within the signal; at the others another signal would be read
    begin = (-first / pace).ceil().int()
    end = ((lengths - 1 - first) / pace).floor().int()
    steps = torch.arange(crop_samples, device=device)
    steps_32 = steps.int()
    out = torch.empty(rows, crop_samples, device=device)
    stride = max(1, rows) if samples.is_cuda else _CPU_ROWS
    for part in (slice(row, row + stride) for row in range(0, rows, stride)):
        if isinstance(pace, float):
            _read(samples, starts[part] + first[part].long() + steps, None, out[part])
        else:
            position = torch.addcmul(first[part], pace[part], steps)
            whole = position.floor()
            weight = position.sub_(whole).float()
            _read(samples, whole.long().add_(starts[part]), weight, out[part])
        out[part].mul_((steps_32 >= begin[part]) & (steps_32 <= end[part]))
    return out


def gather_clips(
    store: Store, clips: Tensor, fraction: Tensor, speed: Tensor | None, crop_samples: int
) -> Tensor:
    """Read crops of a store's clips, at the scale of its samples; see `gather_crops`.

    Shape:
        clips [B] int64, on the CPU; else as `gather_crops`.
    """
    files, file_of = store.files, store.file_of[clips]
    starts, lengths = store.starts[clips], store.lengths[clips]
    if len(files) == 1:
        return gather_crops(files[0], starts, lengths, fraction, speed, crop_samples)
    crops = torch.empty(len(clips), crop_samples, device=files[0].device)
    for number in file_of.unique().tolist():
        rows = (file_of == number).nonzero()[:, 0]
        crops[rows.to(crops.device)] = gather_crops(
            files[number],
            starts[rows],
            lengths[rows],
            fraction[rows],
            None if speed is None else speed[rows],
            crop_samples,
        )
    return crops


def _read(samples: Tensor, index: Tensor, weight: Tensor | None, out: Tensor) -> None:
    """Write the samples at whole positions, or `weight` of the way to the next ones, into `out`."""
    last = len(samples) - 1
    left = samples[index.clamp_(0, last)]
    if weight is None:
        out.copy_(left)
        return
    right = samples[index.add_(1).clamp_(max=last)]
    torch.lerp(left.float(), right.float(), weight, out=out)


def draw_crops(
    store: Store,
    clips: Tensor,
    *,
    crop_samples: int,
    two_crops: bool,
    speed: tuple[float, float],
    generator: torch.Generator,
) -> tuple[Tensor, Tensor]:
    """Draw the two views' crops of some clips, each view's as one gather.

    A crop at speed s reads crop_samples * s samples of the clip, from a random position, by linear
    interpolation at fractional positions: like a tape run s times as fast, it changes tempo and
    pitch together, as the authors' `speed` effect does. A crop that is longer than its clip has it
    in the middle (as the authors), zeros around it.

    Args:
        store: where the clips are.
        clips: their numbers.
        crop_samples: length T of a crop.
        two_crops: whether the views are different crops of the clip; else they share one position,
            but each has its own speed.
        speed: lowest and highest speed, uniform on a log scale; (1, 1) copies samples exactly.
        generator: draws positions and speeds; on the CPU, whatever the samples' device, so that the
            same seed gives the same crops everywhere.

    Shape:
        clips [B] int64; returns two of [B, 1, T], float32 in -1..1, on the samples' device.
    """
    low, high = speed

    def uniform() -> Tensor:
        return torch.rand(len(clips), generator=generator, dtype=torch.float64)

    def crop(fraction: Tensor) -> Tensor:
        pace = None if low == high == 1 else low * (high / low) ** uniform()
        needed = (crop_samples - 1) * (1.0 if pace is None else pace) + 1
        centred = torch.where(store.lengths[clips] < needed, 0.5, fraction)
        return gather_clips(store, clips, centred, pace, crop_samples).div_(FULL_SCALE)[:, None]

    fraction = uniform()
    view_a = crop(fraction)
    if two_crops:
        return view_a, crop(uniform())
    return view_a, view_a.clone() if low == high else crop(fraction)
