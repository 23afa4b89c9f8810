"""The authors' network computed plainly, from the state dict of a `wavebyol_hear` model.

What the fast path is measured against: fp32, every BatchNorm kept, NCHW, one operation after
another, written from waverDeep/WaveBYOL's layers and apart from the package. For `slim`, which is
ours, the same with its own front end. Equal numbers are checked before any time is taken.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional

# waverDeep/WaveBYOL: five Conv1d, their channels cut in three planes.
STRIDES, PADDINGS, PLANES = (5, 4, 2, 2, 2), (2, 2, 2, 2, 1), 3
# The Gabor front end: 25 ms every 5 ms, two of them averaged to a frame.
RATE, TAPS, STRIDE, POOL, FLOOR = 16_000, 400, 80, 2, 1e-4
COMPRESSION = 10.0


class PlainNetwork:
    """The network as a function of waveforms of 20,480 samples.

    Args:
        state: of a model of `wavebyol_hear`.
        widths: numbers and P, as in the model's config.
    """

    def __init__(self, state: Mapping[str, Tensor], widths: str) -> None:
        """Copy the weights in plain order; compute Gabor taps once."""
        self.state = {
            name.removeprefix("encoder."): value.detach().clone(
                memory_format=torch.contiguous_format
            )
            for name, value in state.items()
        }
        self.widths = widths.split()
        self.gabor = "front_end.centre" in self.state
        self.taps = self._taps() if self.gabor else torch.empty(0)

    def _taps(self) -> Tensor:
        """Return real and imaginary taps of the Gabor filters, of unit energy."""
        centre, bandwidth = self.state["front_end.centre"], self.state["front_end.bandwidth"]
        time = (torch.arange(TAPS, dtype=torch.float64) - (TAPS - 1) / 2) / RATE
        angle = 2 * math.pi * time
        bell = torch.exp(-((angle * bandwidth[:, None].double()) ** 2) / 2)
        bell = functional.normalize(bell, dim=1)
        turn = angle * centre[:, None].double()
        return torch.cat([bell * turn.cos(), bell * turn.sin()])[:, None].float()

    def _norm(self, values: Tensor, name: str) -> Tensor:
        """Apply a BatchNorm in evaluation mode."""
        mean, var, weight, bias = (
            self.state[f"{name}.{part}"]
            for part in ("running_mean", "running_var", "weight", "bias")
        )
        return functional.batch_norm(values, mean, var, weight, bias)

    def image(self, wave: Tensor) -> Tensor:
        """Return the planes under the Conv2d stack: [B, 20480] -> [B, 3, rows, frames]."""
        if self.gabor:
            loud = wave.square().mean(1, keepdim=True).sqrt().clamp_min(1e-12)
            pair = functional.conv1d(
                (wave / loud)[:, None], self.taps, None, STRIDE, (TAPS - STRIDE) // 2
            )
            real, imaginary = pair.chunk(2, 1)
            energy = functional.avg_pool1d(real.square() + imaginary.square(), POOL)
            channels = self._norm((energy + FLOOR).log(), "front_end.norm")
            return channels.reshape(len(wave), PLANES, -1, channels.shape[-1])
        channels = functional.normalize(wave, dim=1)[:, None]
        for i, (stride, padding) in enumerate(zip(STRIDES, PADDINGS, strict=True)):
            name = f"front_end.layers.{i}"
            weight, bias = self.state[f"{name}.0.weight"], self.state[f"{name}.0.bias"]
            channels = functional.conv1d(channels, weight, bias, stride, padding)
            channels = self._norm(channels, f"{name}.1").relu_()
        channels = functional.normalize(channels, dim=-1)
        return channels.reshape(len(wave), PLANES, -1, channels.shape[-1])

    def maps(self, wave: Tensor) -> list[Tensor]:
        """Return the image and the map after every pool."""
        values = self.image(wave)
        found, place = [values], 0
        for token in self.widths:
            if token == "P":
                values = functional.max_pool2d(values, 2)
                found.append(values)
                place += 1
                continue
            name = f"features.{place}"
            weight, bias = self.state[f"{name}.weight"], self.state[f"{name}.bias"]
            values = functional.conv2d(values, weight, bias, padding=1)
            values = self._norm(values, f"features.{place + 1}").relu_()
            place += 3
        return found

    def scenes(self, wave: Tensor) -> Tensor:
        """Return scene embeddings as the model pools them by default: [B, 20480] -> [B, D]."""
        maps = self.maps(wave)
        if not self.gabor:  # The authors: mean and maximum of the last map, added.
            return maps[-1].mean((2, 3)) + maps[-1].amax((2, 3))
        parts = [[values.amax(-1), values.std(-1, correction=0)] for values in maps]
        pooled = torch.cat([part.flatten(1) for both in parts for part in both], 1)
        return self._whitened(pooled.sign() * (1 + COMPRESSION * pooled.abs()).log())

    def _whitened(self, pooled: Tensor) -> Tensor:
        """Standardise by the corpus' statistics and even out its strongest directions."""
        if "whiten_scene.mean" not in self.state:
            return pooled
        mean, scale, directions, gains = (
            self.state[f"whiten_scene.{part}"] for part in ("mean", "scale", "directions", "gains")
        )
        pooled = (pooled - mean) * scale
        return pooled + pooled @ directions @ gains.diag() @ directions.T
