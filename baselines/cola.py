"""COLA as a HEAR module: EfficientNet-B0 on log-mels, trained on our corpus.

`baselines.cola` takes the shipped weights, `baselines.cola:FILE` a file written by
`python -m pretrain --method cola`. The authors published no weights.

As in the authors' evaluation a clip is cut in windows, each L2-normalized, and the windows' results
are averaged. Departures: windows are 1 s, as the training crops (theirs: 0.98 s), and the last one
ends with the clip instead of being zero-padded; mel filters are torchaudio's, triangles in Hz where
TensorFlow's are triangles in mel.

Sources: Saeed et al. (arXiv 2010.10915) and google-research/cola (data.py, supervised.py); Tan and
Le (arXiv 1905.11946), table 1, for EfficientNet-B0; BatchNorm's constants and stochastic depth as
in Keras' EfficientNetB0, which google-research/cola uses.
"""

from itertools import islice

import torch
from torch import Tensor, nn
from torchaudio.transforms import MelSpectrogram

from baselines.base import (
    check_pooling,
    fill,
    pool_stages,
    prepare,
    read_weights,
    spread_windows,
    weights_path,
)
from wavebyol_hear.chunking import evaluating
from wavebyol_hear.layers import pad_to

KIND = "wavebyol-hear-cola/1"
SAMPLE_RATE, HOP, WINDOW, FFT, MELS = 16_000, 160, 400, 1024, 64
CROP = 16_000  # samples of a training crop, 98 frames
TIMESTAMP_HOP = 800  # samples: 50 ms
AT_ONCE = 64  # windows in one pass


class LogMel(nn.Module):
    """Log-mel spectrogram of COLA, of the L2-normalized waveform.

    Shape:
        [B, n] -> [B, 1, 64, 1 + (n - 400) // 160].
    """

    def __init__(self) -> None:
        super().__init__()
        self.mel = MelSpectrogram(
            SAMPLE_RATE, n_fft=FFT, win_length=WINDOW, hop_length=HOP, n_mels=MELS,
            f_min=60, f_max=7800, power=1, center=False,
        )  # fmt: skip

    def forward(self, wave: Tensor, noise: float = 0.0) -> Tensor:
        """Return the log magnitudes.

        Args:
            wave: [B, n].
            noise: deviation of white noise added to the normalized waveform.
        """
        # TensorFlow's epsilon of 1e-9 is on the squared norm.
        wave = wave * wave.square().sum(-1, keepdim=True).clamp_min(1e-9).rsqrt()
        if noise:
            wave = wave + noise * torch.randn_like(wave)
        # torch centres the 400-sample window in 1,024; TensorFlow's frames are 400 long.
        around = (FFT - WINDOW) // 2
        magnitude: Tensor = self.mel(nn.functional.pad(wave, (around, around)))
        return magnitude.clamp(1e-5, 1e8).log().unsqueeze(1)


def pool(maps: Tensor) -> Tensor:
    """Return the global maximum: [B, C, H, W] -> [B, C]."""
    return maps.amax((2, 3))


# expansion, channels out, blocks, stride of the first block, kernel
STAGES = (
    (1, 16, 1, 1, 3),
    (6, 24, 2, 2, 3),
    (6, 40, 2, 2, 5),
    (6, 80, 3, 2, 3),
    (6, 112, 3, 1, 5),
    (6, 192, 4, 2, 5),
    (6, 320, 1, 1, 3),
)
STEM, FEATURES = 32, 1280
DROP = 0.2  # share of samples that skip the last block; grows linearly from 0 at the first


class Depthwise(nn.Conv2d):
    """A filter a channel; in single precision where a CPU is slow in bf16.

    Measured with oneDNN of torch 2.13, one thread, 64 maps: gradients of 5 x 5 filters and of
    stride 2 take 40 to 85 ms in bf16, 4 to 25 ms in single precision; 3 x 3 of stride 1 does not
    care.

    Shape:
        [B, C, H, W] -> [B, C, ceil(H / stride), ceil(W / stride)].
    """

    def __init__(self, channels: int, kernel: int, stride: int) -> None:
        super().__init__(
            channels, channels, kernel, stride, kernel // 2, groups=channels, bias=False
        )
        self.slow_in_bf16 = kernel > 3 or stride > 1

    def forward(self, maps: Tensor) -> Tensor:
        """Return the filtered maps, in the type they came in."""
        if not (self.slow_in_bf16 and maps.device.type == "cpu"):
            return super().forward(maps)
        with torch.autocast("cpu", enabled=False):
            return super().forward(maps.float()).to(maps.dtype)


def normed(layer: nn.Conv2d) -> tuple[nn.Module, nn.Module]:
    """Return a convolution and its BatchNorm."""
    return layer, nn.BatchNorm2d(layer.out_channels, eps=1e-3, momentum=0.01)


class SqueezeExcite(nn.Module):
    """Scales every channel by a gate that is computed from all channels' means.

    Shape:
        [B, C, H, W] -> the same.
    """

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.reduce = nn.Conv2d(channels, squeezed, 1)
        self.expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, maps: Tensor) -> Tensor:
        """Return the scaled maps."""
        gate = nn.functional.silu(self.reduce(maps.mean((2, 3), keepdim=True)))
        scaled: Tensor = maps * self.expand(gate).sigmoid()
        return scaled


class InvertedBottleneck(nn.Module):
    """MBConv: widen (1 x 1), filter each channel (k x k), gate, narrow (1 x 1), add the input.

    Args:
        inputs: channels in.
        outputs: channels out.
        expansion: factor by which the channels are widened; 1 leaves that step out.
        stride: of the filter, 1 or 2.
        kernel: of the filter.
        drop: share of the samples of a training batch for which only the input is passed on,
            where it can be (stride 1, channels kept).

    Shape:
        [B, inputs, H, W] -> [B, outputs, ceil(H / stride), ceil(W / stride)].
    """

    def __init__(
        self, inputs: int, outputs: int, expansion: int, stride: int, kernel: int, drop: float
    ) -> None:
        super().__init__()
        wide = inputs * expansion
        layers: list[nn.Module] = []
        if expansion > 1:
            layers = [*normed(nn.Conv2d(inputs, wide, 1, bias=False)), nn.SiLU(inplace=True)]
        self.body = nn.Sequential(
            *layers,
            *normed(Depthwise(wide, kernel, stride)),
            nn.SiLU(inplace=True),
            SqueezeExcite(wide, max(1, inputs // 4)),
            *normed(nn.Conv2d(wide, outputs, 1, bias=False)),
        )
        self.residual = stride == 1 and inputs == outputs
        self.drop = drop

    def forward(self, maps: Tensor) -> Tensor:
        """Return the block's maps; see the class."""
        change: Tensor = self.body(maps)
        if not self.residual:
            return change
        if self.training and self.drop:
            kept = torch.rand(len(maps), 1, 1, 1, device=maps.device) >= self.drop
            change = change * (kept.to(change.dtype) / (1 - self.drop))
        return maps + change


class EfficientNetB0(nn.Module):
    """The convolutions of EfficientNet-B0.

    Args:
        inputs: planes of the image: 3 of a photograph, 1 of a spectrogram.

    Shape:
        [B, inputs, H, W] -> [B, 1280, ceil(H / 32), ceil(W / 32)].
    """

    def __init__(self, inputs: int = 1) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            *normed(nn.Conv2d(inputs, STEM, 3, 2, 1, bias=False)), nn.SiLU(inplace=True)
        )
        total = sum(count for _, _, count, _, _ in STAGES)
        blocks: list[nn.Module] = []
        width = STEM
        for expansion, outputs, count, stride, kernel in STAGES:
            for step in [stride] + [1] * (count - 1):
                drop = DROP * len(blocks) / total
                blocks.append(InvertedBottleneck(width, outputs, expansion, step, kernel, drop))
                width = outputs
        self.blocks = nn.Sequential(*blocks)
        self.head = nn.Sequential(
            *normed(nn.Conv2d(width, FEATURES, 1, bias=False)), nn.SiLU(inplace=True)
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return the last maps; see the class."""
        maps: Tensor = self.head(self.blocks(self.stem(image)))
        return maps

    def stages(self, image: Tensor) -> list[Tensor]:
        """Return the image and the maps of the stem, of each of `STAGES` and of the head."""
        maps = self.stem(image)
        stages, blocks = [image, maps], iter(self.blocks)
        for _, _, count, _, _ in STAGES:
            for block in islice(blocks, count):
                maps = block(maps)
            stages.append(maps)
        return [*stages, self.head(maps)]


class ColaModel(nn.Module):
    """The HEAR model: log-mel, EfficientNet-B0, global maximum, mean over windows of 1 s.

    Args:
        network: with its weights.
        pooling: of scenes: `published`, or `contrast`: maximum and deviation over time of the
            log-mel and of every stage, over the whole clip, as ours pools.

    Shape:
        [B, n] -> [B, 1280], or [B, 13312] of `contrast`.
    """

    sample_rate = SAMPLE_RATE
    timestamp_embedding_size = FEATURES
    forward_embeds_scenes = True

    def __init__(self, network: EfficientNetB0, pooling: str = "published") -> None:
        super().__init__()
        self.log_mel, self.network, self.pooling = LogMel(), network, pooling
        self.scene_embedding_size = get_scene_embeddings(torch.zeros(1, CROP), self).shape[1]

    def forward(self, audio: Tensor) -> Tensor:
        """Return the mean over windows spread evenly over each clip; see the class.

        It can be trained through; `get_scene_embeddings` evaluates.
        """
        wave = pad_to(prepare(audio, self), CROP)
        if self.pooling == "contrast":
            return pool_stages(self.network.stages(self.log_mel(wave)))
        starts = spread_windows(wave.shape[1], CROP)
        windows = torch.stack([wave[:, start : start + CROP] for start in starts], 1)
        return self.embed(windows).mean(1)

    def embed(self, windows: Tensor) -> Tensor:
        """Return embeddings of windows, a few at a time: [B, W, 16000] -> [B, W, 1280]."""
        few = max(1, AT_ONCE // len(windows))
        parts = [
            pool(self.network(self.log_mel(part.flatten(0, 1)))).view(len(windows), -1, FEATURES)
            for part in torch.split(windows, few, dim=1)
        ]
        return torch.cat(parts, dim=1)


def load_model(model_file_path: str = "", *, pooling: str = "published") -> ColaModel:
    """Return COLA with the shipped weights or those of a file.

    Args:
        model_file_path: our file; empty takes the shipped weights.
        pooling: of scenes, `published` or `contrast`; see `ColaModel`.

    Raises:
        WeightsError: a file that is missing, damaged or of another network.
        BaselineError: the pooling is unknown.
    """
    check_pooling(pooling)
    path = weights_path(model_file_path, "cola")
    tensors, _, _ = read_weights(path, KIND)
    return ColaModel(fill(EfficientNetB0, tensors, path), pooling).eval()


def get_scene_embeddings(audio: Tensor, model: ColaModel) -> Tensor:
    """Return the mean over windows of 1 s, or the stages, without gradients: [B, n] -> [B, D]."""
    with evaluating(model):
        scenes: Tensor = model(audio)
    return scenes


def get_timestamp_embeddings(audio: Tensor, model: ColaModel) -> tuple[Tensor, Tensor]:
    """Return a vector every 50 ms, of the second around it, and its time in ms.

    20 times the cost of the scene embedding: a global maximum has no time axis of its own.

    Shape:
        audio [B, n] -> [B, T, 1280], [B, T].
    """
    wave = prepare(audio, model)
    count = 1 + wave.shape[1] // TIMESTAMP_HOP
    last = (count - 1) * TIMESTAMP_HOP + CROP // 2
    padded = nn.functional.pad(wave, (CROP // 2, max(0, last - wave.shape[1])))
    windows = padded.unfold(1, CROP, TIMESTAMP_HOP)[:, :count]
    times = 50.0 * torch.arange(count, device=wave.device)
    with evaluating(model):
        return model.embed(windows), times.expand(len(wave), -1)
