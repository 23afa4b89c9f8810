"""Log-mel statistics as a HEAR module: mean, standard deviation, maximum, deviation of change.

No weights. The spectrogram is that of BYOL-A's evaluation (n_fft 1024, window 1024, hop 160, 64 mel
bands from 60 to 7800 Hz, power, natural log of x + eps), in plain torch.
"""

import math

import torch
from torch import Tensor, nn

SAMPLE_RATE = 16000
N_FFT, HOP, BANDS = 1024, 160, 64
LOW_HZ, HIGH_HZ = 60.0, 7800.0
# float32's epsilon, as in BYOL-A's code: the log of silence is -15.9.
EPS = torch.finfo(torch.float32).eps
FRAMES_PER_STAMP = 5  # 50 ms


def mel_filters() -> Tensor:
    """Return triangular filters evenly spaced on the HTK mel scale, without area normalisation.

    Shape:
        result: `[BANDS, N_FFT // 2 + 1]`, each filter's peak at most 1.
    """

    def to_mel(hertz: float) -> float:
        return 2595.0 * math.log10(1.0 + hertz / 700.0)

    mels = torch.linspace(to_mel(LOW_HZ), to_mel(HIGH_HZ), BANDS + 2, dtype=torch.float64)
    corners = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    bins = torch.linspace(0, SAMPLE_RATE / 2, N_FFT // 2 + 1, dtype=torch.float64)
    left, centre, right = (c[:, None] for c in (corners[:-2], corners[1:-1], corners[2:]))
    rising = (bins - left) / (centre - left)
    falling = (right - bins) / (right - centre)
    return torch.minimum(rising, falling).clamp(min=0).float()


class LogMel(nn.Module):
    """The spectrogram; no parameters.

    Shape:
        wave `[B, n]` with n >= 1, result `[B, BANDS, n // HOP + 1]`, frame t centred on sample
        t * HOP.
    """

    sample_rate = SAMPLE_RATE
    scene_embedding_size = 4 * BANDS
    timestamp_embedding_size = BANDS
    window: Tensor
    filters: Tensor

    def __init__(self) -> None:
        """Make the window and the filters."""
        super().__init__()
        self.register_buffer("window", torch.hann_window(N_FFT))
        self.register_buffer("filters", mel_filters())

    def forward(self, wave: Tensor) -> Tensor:
        """Return the log-mel spectrogram of a batch of waves."""
        # Zeros at the ends, where torchaudio mirrors: a mirror needs more than N_FFT / 2 samples.
        spectrum = torch.stft(
            wave, N_FFT, HOP, window=self.window, pad_mode="constant", return_complex=True
        )
        return torch.log(self.filters @ spectrum.abs().square() + EPS)


def load_model(model_file_path: str = "") -> LogMel:
    """Return the model.

    Args:
        model_file_path: must stay empty; there are no weights.

    Raises:
        ValueError: where a weights file is named.
    """
    if model_file_path:
        raise ValueError(f"log_mel has no weights, but {model_file_path} was given; leave it out")
    return LogMel().eval()


def get_scene_embeddings(audio: Tensor, model: LogMel) -> Tensor:
    """Return mean, deviation and maximum of each band and the deviation of its change.

    Shape:
        audio `[B, n]`, result float32 `[B, 256]`.
    """
    bands = model(audio)
    # One frame has no change; its deviation is 0.
    change = bands.diff(dim=-1) if bands.shape[-1] > 1 else torch.zeros_like(bands)
    parts = (
        bands.mean(-1),
        bands.std(-1, correction=0),
        bands.amax(-1),
        change.std(-1, correction=0),
    )
    return torch.cat(parts, dim=-1)


def get_timestamp_embeddings(audio: Tensor, model: LogMel) -> tuple[Tensor, Tensor]:
    """Return the spectrogram at every 50 ms.

    Shape:
        audio `[B, n]`, results float32 `[B, T, 64]` and timestamps in ms `[B, T]` with
        T = n // 800 + 1.
    """
    frames = model(audio)[:, :, ::FRAMES_PER_STAMP].transpose(1, 2).contiguous()
    step_ms = 1000.0 * FRAMES_PER_STAMP * HOP / SAMPLE_RATE
    stamps = torch.arange(frames.shape[1], device=audio.device, dtype=torch.float32) * step_ms
    return frames, stamps.expand(len(audio), -1)
