"""Log-mel statistics as a HEAR module: mean, standard deviation, maximum, deviation of change.

No weights. The spectrogram is that of BYOL-A's evaluation (n_fft 1024, window 1024, hop 160, 64 mel
bands from 60 to 7800 Hz, power, natural log of x + eps), by torchaudio as there.
"""

import torch
from torch import Tensor, nn
from torchaudio.transforms import MelSpectrogram

SAMPLE_RATE = 16000
N_FFT, HOP, BANDS = 1024, 160, 64
LOW_HZ, HIGH_HZ = 60.0, 7800.0
# float32's epsilon, as in BYOL-A's code: the log of silence is -15.9.
EPS = torch.finfo(torch.float32).eps
FRAMES_PER_STAMP = 5  # 50 ms


class LogMel(nn.Module):
    """The spectrogram; no parameters.

    Shape:
        wave `[B, n]` with n >= 1, result `[B, BANDS, n // HOP + 1]`, frame t centred on sample
        t * HOP.
    """

    sample_rate = SAMPLE_RATE
    scene_embedding_size = 4 * BANDS
    timestamp_embedding_size = BANDS

    def __init__(self) -> None:
        """Make the window and the filters."""
        super().__init__()
        # Zeros at the ends, where BYOL-A mirrors: a mirror needs more than N_FFT / 2 samples.
        self.mel = MelSpectrogram(
            SAMPLE_RATE,
            N_FFT,
            hop_length=HOP,
            f_min=LOW_HZ,
            f_max=HIGH_HZ,
            n_mels=BANDS,
            power=2.0,
            pad_mode="constant",
        )

    def forward(self, wave: Tensor) -> Tensor:
        """Return the log-mel spectrogram of a batch of waves."""
        energy: Tensor = self.mel(wave)
        return torch.log(energy + EPS)


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
