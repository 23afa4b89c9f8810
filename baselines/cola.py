"""COLA as a HEAR module: EfficientNet-B0 on log-mels, trained on our corpus.

`baselines.cola` takes the shipped weights, `baselines.cola:FILE` a file written by
`python -m pretrain --method cola`. The authors published no weights.

As in the authors' evaluation a clip is cut in windows, each L2-normalized, and the windows' results
are averaged. Departures: windows are 1 s, as the training crops (theirs: 0.98 s), and the last one
ends with the clip instead of being zero-padded; mel filters are torchaudio's, triangles in Hz where
TensorFlow's are triangles in mel.

Sources: Saeed et al. (arXiv 2010.10915) and google-research/cola (data.py, supervised.py).
"""

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
from baselines.efficientnet import FEATURES, EfficientNetB0
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
    tensors, _ = read_weights(path, KIND)
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
