"""Log-mel statistics as a HEAR module: mean, standard deviation, maximum, deviation of change.

No weights. The spectrogram is that of BYOL-A's evaluation, with zeros past the ends, where BYOL-A
mirrors: a mirror needs more than 512 samples.
"""

import torch
from torch import Tensor, nn

from baselines.base import refuse_weights
from baselines.byol_a import HOP, MELS, SAMPLE_RATE, LogMel

FRAMES_PER_STAMP = 5  # 50 ms


class LogMelModel(nn.Module):
    """The spectrogram; no parameters.

    Shape:
        [B, n], n >= 1 -> [B, 64, 1 + n // 160]; frame i is centred on sample 160 i.
    """

    sample_rate = SAMPLE_RATE
    scene_embedding_size = 4 * MELS
    timestamp_embedding_size = MELS

    def __init__(self) -> None:
        super().__init__()
        self.log_mel = LogMel(pad_mode="constant")

    def forward(self, wave: Tensor) -> Tensor:
        """Return the log-mel spectrogram of a batch of waves."""
        bands: Tensor = self.log_mel(wave)
        return bands[:, 0]


def load_model(model_file_path: str = "") -> LogMelModel:
    """Return the model.

    Args:
        model_file_path: must stay empty; there are no weights.

    Raises:
        BaselineError: where a weights file is named.
    """
    refuse_weights("log_mel", model_file_path)
    return LogMelModel().eval()


def get_scene_embeddings(audio: Tensor, model: LogMelModel) -> Tensor:
    """Return mean, deviation and maximum of each band and the deviation of its change.

    Shape:
        audio [B, n] -> float32 [B, 256].
    """
    bands = model(audio)
    # One frame has no change; its deviation is 0.
    change = bands.diff(dim=-1) if bands.shape[-1] > 1 else torch.zeros_like(bands)
    deviations = [values.std(-1, correction=0) for values in (bands, change)]
    return torch.cat([bands.mean(-1), deviations[0], bands.amax(-1), deviations[1]], dim=-1)


def get_timestamp_embeddings(audio: Tensor, model: LogMelModel) -> tuple[Tensor, Tensor]:
    """Return the spectrogram at every 50 ms.

    Shape:
        audio [B, n] -> float32 [B, T, 64] and times in ms [B, T], T = n // 800 + 1.
    """
    frames = model(audio)[:, :, ::FRAMES_PER_STAMP].transpose(1, 2).contiguous()
    step_ms = 1000.0 * FRAMES_PER_STAMP * HOP / SAMPLE_RATE
    times = torch.arange(frames.shape[1], device=audio.device, dtype=torch.float32) * step_ms
    return frames, times.expand(len(audio), -1)
