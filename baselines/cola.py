"""COLA as a HEAR module: EfficientNet-B0 on log-mels, trained on our corpus.

`baselines.cola` takes the shipped weights, `baselines.cola:FILE` a file written by
`python -m pretrain --method cola`. The authors published no weights.

As in the authors' evaluation a clip is cut in windows, each L2-normalised, and the windows' results
are averaged. Departures: windows are 1 s, as the training crops (theirs: 0.98 s), and the last one
ends with the clip instead of being zero-padded; mel filters are torchaudio's, triangles in Hz where
TensorFlow's are triangles in mel.

Source: Saeed et al. (arXiv 2010.10915) and google-research/cola (data.py, supervised.py).
"""

import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torchaudio.transforms import MelSpectrogram

from baselines.batch import gradients_in_training, hear_batch, pad_centred
from baselines.efficientnet import FEATURES, EfficientNetB0
from baselines.weights_file import default_weights, fill, read_weights

KIND = "wavebyol-hear-cola/1"
SAMPLE_RATE, HOP, WINDOW, FFT, MELS = 16_000, 160, 400, 1024, 64
CROP = 16_000  # samples of a training crop, 98 frames
TIMESTAMP_HOP = 800  # samples: 50 ms
AT_ONCE = 64  # windows in one pass


class LogMel(nn.Module):
    """Log-mel spectrogram of COLA, of the L2-normalised waveform.

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
            noise: deviation of white noise added to the normalised waveform.
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
    """The HEAR model: log-mel, EfficientNet-B0, global maximum.

    Shape:
        windows [B, 16000] -> [B, 1280].
    """

    sample_rate = SAMPLE_RATE
    scene_embedding_size = timestamp_embedding_size = FEATURES

    def __init__(self, network: EfficientNetB0) -> None:
        super().__init__()
        self.log_mel, self.network = LogMel(), network

    def forward(self, windows: Tensor) -> Tensor:
        """Return one embedding a window; see the class."""
        return pool(self.network(self.log_mel(windows)))

    def embed(self, windows: Tensor) -> Tensor:
        """Return embeddings of windows, a few at a time: [B, W, 16000] -> [B, W, 1280]."""
        few = max(1, AT_ONCE // len(windows))
        parts = [self(part.flatten(0, 1)) for part in windows.split(few, dim=1)]
        return torch.cat([part.unflatten(0, (len(windows), -1)) for part in parts], dim=1)


def load_model(model_file_path: str = "") -> ColaModel:
    """Return COLA with the shipped weights or those of a file.

    Raises:
        WeightsError: a file that is missing, damaged or of another network.
    """
    path = Path(model_file_path) if model_file_path else default_weights("cola")
    tensors, _, _ = read_weights(path, KIND)
    network = EfficientNetB0()
    fill(network, tensors, path)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return ColaModel(network).eval()


def get_scene_embeddings(audio: Tensor, model: ColaModel) -> Tensor:
    """Return the mean over windows of 1 s, spread evenly over the clip: [B, n] -> [B, 1280]."""
    wave = pad_centred(hear_batch(audio, model), CROP)
    room = wave.shape[1] - CROP
    gaps = math.ceil(room / CROP)
    starts = [round(i * room / max(1, gaps)) for i in range(gaps + 1)]
    few = max(1, AT_ONCE // len(wave))
    total = torch.zeros(len(wave), FEATURES, device=wave.device)
    with gradients_in_training(model):
        for first in range(0, len(starts), few):
            windows = [wave[:, s : s + CROP] for s in starts[first : first + few]]
            total = total + model.embed(torch.stack(windows, 1)).sum(1)
    return total / len(starts)


@torch.no_grad()
def get_timestamp_embeddings(audio: Tensor, model: ColaModel) -> tuple[Tensor, Tensor]:
    """Return a vector every 50 ms, of the second around it, and its time in ms.

    20 times the cost of the scene embedding: a global maximum has no time axis of its own.

    Shape:
        audio [B, n] -> [B, T, 1280], [B, T].
    """
    wave = hear_batch(audio, model)
    count = 1 + wave.shape[1] // TIMESTAMP_HOP
    last = (count - 1) * TIMESTAMP_HOP + CROP // 2
    padded = nn.functional.pad(wave, (CROP // 2, max(0, last - wave.shape[1])))
    windows = padded.unfold(1, CROP, TIMESTAMP_HOP)[:, :count]
    times = 50.0 * torch.arange(count, device=wave.device)
    return model.embed(windows), times.expand(len(wave), -1)
