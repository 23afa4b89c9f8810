"""The configuration of fine-tuning."""

from dataclasses import dataclass
from typing import Literal

from wavebyol_hear.files.settings import check_range


@dataclass(frozen=True)
class FinetuneConfig:
    """How encoder and head are trained; values out of range raise ValueError."""

    #: of the encoder; the best on validation clips is selected
    learning_rates: tuple[float, ...] = (1e-4, 1e-3)
    head_learning_rate: float = 1e-3  #: of the head
    #: initialization of the head. A `probe` that already fits few training clips leaves no error
    #: for the encoder to learn from; `zero` does, and changes the encoder least
    head: Literal["probe", "zero"] = "zero"
    epochs: int = 30  #: passes over the training clips at most; 0 scores the initial state
    batch_size: int = 32  #: the batches of an epoch differ by at most one clip
    #: length of training clips: a random crop of a longer one, repetition of a shorter one; None is
    #: the task's usual length, or 4 s if lengths vary
    crop_seconds: float | None = None
    weight_decay: float = 0.01  #: of AdamW, on matrices and filters only
    #: fraction of all steps with linear warm-up; a cosine decay to 0 follows
    warm_up: float = 0.1
    patience: int = 8  #: epochs without a better validation score before a learning rate is stopped
    #: `frozen` keeps the encoder's running statistics, so that training and test compute the same
    #: function and small batches do no harm; `train` normalizes by the batch and updates them
    batch_norm: Literal["frozen", "train"] = "frozen"
    gain_db: float = 6.0  #: range of the random gain of training clips, in either direction
    #: minimum signal-to-noise ratio of added white noise, up to 30 dB above; None adds none
    noise_snr_db: float | None = 20.0
    #: alpha of mixup (Zhang et al., arXiv 1710.09412) of waveforms and labels; 0 for none
    mixup: float = 0.2

    def __post_init__(self) -> None:
        """Check the ranges."""
        if not self.learning_rates:
            raise ValueError("learning_rates is empty: give one or more, each above 0")
        check_range(self, "learning_rates", "head_learning_rate", "crop_seconds", above=0)
        check_range(self, "epochs", "weight_decay", "gain_db", "mixup", minimum=0)
        check_range(self, "batch_size", "patience", minimum=1)
        check_range(self, "warm_up", minimum=0, maximum=1)

    def samples(self, sample_rate: int, usual_seconds: float | None) -> int:
        """Return the length of a training clip; `usual_seconds` is None where clips vary."""
        return max(1, round((self.crop_seconds or usual_seconds or 4.0) * sample_rate))
