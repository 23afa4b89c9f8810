"""Crops: a batch of random crops from the store in one gather, each at its own speed."""

import torch
from torch import Tensor

_FULL_SCALE = 32767.0  # the store's scale, see pretrain.store_build.decode


class CropSampler:
    """Draws one or two random crops of each clip asked for, as one gather.

    A crop at speed s reads crop_samples * s samples of the clip, from a random place, by linear
    interpolation at fractional positions: like a tape run s times as fast, it changes tempo and
    pitch together, as the authors' `speed` effect does. Samples live where the store's tensor
    lives (memory map or GPU), and the crops come out on that device.

    Args:
        samples: all clips end to end, int16.
        starts: each clip's first sample.
        lengths: each clip's number of samples, at least 1.
        crop_samples: length T of a crop.
        two_crops: whether the views are different crops of the clip; else they share one place,
            but each has its own speed.
        speed: lowest and highest speed, uniform on a log scale; (1, 1) copies samples exactly.
        generator: draws places and speeds; on the CPU, whatever the samples' device, so that the
            same seed gives the same crops everywhere.
        pad: where a crop that is longer than its clip holds it: "centre" (as the authors) or
            "random". The rest is zero.

    Shape:
        samples [N]; starts, lengths [C].

    Raises:
        ValueError: if an argument is out of range.
    """

    def __init__(
        self,
        samples: Tensor,
        starts: Tensor,
        lengths: Tensor,
        *,
        crop_samples: int,
        two_crops: bool,
        speed: tuple[float, float],
        generator: torch.Generator,
        pad: str = "centre",
    ) -> None:
        if samples.dtype != torch.int16 or samples.ndim != 1:
            raise ValueError(f"samples: {samples.dtype} {list(samples.shape)}; give int16 [N]")
        if crop_samples < 1:
            raise ValueError(f"crop_samples {crop_samples}: at least 1")
        if not 0 < speed[0] <= speed[1]:
            raise ValueError(f"speed {speed}: give (low, high) with 0 < low <= high")
        if pad not in ("centre", "random"):
            raise ValueError(f"pad {pad!r}: 'centre' or 'random'")
        if len(starts) != len(lengths) or not len(starts):
            raise ValueError(f"{len(starts)} starts and {len(lengths)} lengths: one of each a clip")
        self.samples = samples
        self.starts = starts.to(torch.int64).cpu()
        self.lengths = lengths.to(torch.int64).cpu()
        self.crop_samples = crop_samples
        self.two_crops = two_crops
        self.speed = speed
        self.generator = generator
        self.pad = pad

    def draw(self, clips: Tensor) -> tuple[Tensor, Tensor]:
        """Draw the two views' crops of some clips.

        Args:
            clips: the clips' numbers.

        Shape:
            clips [B] int64; returns two of [B, 1, T], float32 in -1..1.
        """
        clips = clips.cpu()
        place = self._uniform(len(clips))
        speed = self._speeds(len(clips))
        view_a = self._gather(clips, place, speed)
        if self.two_crops:
            place = self._uniform(len(clips))
        elif self.speed[0] == self.speed[1]:
            return view_a, view_a.clone()
        return view_a, self._gather(clips, place, self._speeds(len(clips)))

    def _uniform(self, count: int) -> Tensor:
        return torch.rand(count, generator=self.generator, dtype=torch.float64)

    def _speeds(self, count: int) -> Tensor:
        low, high = self.speed
        if low == high:
            return torch.full((count,), low, dtype=torch.float64)
        return low * (high / low) ** self._uniform(count)

    def _gather(self, clips: Tensor, place: Tensor, speed: Tensor) -> Tensor:
        """Return crops of the clips.

        Args:
            clips: numbers of the clips.
            place: where in the clip the crop lies, 0 (its start) to 1 (its end).
            speed: samples of the clip a sample of the crop.

        Shape:
            clips, place, speed [B]; returns [B, 1, T].
        """
        length = self.lengths[clips]
        # Room for the crop's start: its last sample, at start + (T - 1) * speed, is at most the
        # clip's last. Negative for a clip that is too short: the crop starts before the clip.
        room = (length - 1).to(torch.float64) - (self.crop_samples - 1) * speed
        if self.pad == "centre":
            place = torch.where(room < 0, 0.5, place)
        start = place * room
        device = self.samples.device
        if self.speed == (1.0, 1.0):
            return self._whole(clips, start.round().long(), length)
        steps = torch.arange(self.crop_samples, device=device, dtype=torch.float64)
        # float64: a position in a 30-s clip needs 19 bits before the point and 10 or more behind
        position = torch.addcmul(
            start.to(device)[:, None], speed.to(device)[:, None], steps[None]
        )  # [B, T]
        first = position.floor()
        weight = (position - first).float()
        left = first.long()
        base = self.starts[clips].to(device)[:, None]
        last = length.to(device)[:, None] - 1
        value = torch.lerp(self._read(base, left, last), self._read(base, left + 1, last), weight)
        return value.div_(_FULL_SCALE)[:, None]

    def _whole(self, clips: Tensor, start: Tensor, length: Tensor) -> Tensor:
        """Return crops at speed 1 from whole positions: no interpolation."""
        device = self.samples.device
        left = start.to(device)[:, None] + torch.arange(self.crop_samples, device=device)
        base = self.starts[clips].to(device)[:, None]
        value = self._read(base, left, length.to(device)[:, None] - 1)
        return value.div_(_FULL_SCALE)[:, None]

    def _read(self, base: Tensor, position: Tensor, last: Tensor) -> Tensor:
        """Read samples at whole positions of each clip; 0 outside the clip."""
        inside = (position >= 0) & (position <= last)
        index = position.clamp(min=0).minimum(last).add_(base)
        return self.samples[index].float().mul_(inside)
