"""The settings of fine-tuning: one frozen dataclass, read by `wavebyol_hear.files.settings`."""

from dataclasses import dataclass
from typing import Literal

from wavebyol_hear.files.settings import check_range


@dataclass(frozen=True)
class FinetuneConfig:
    """How encoder and head are trained; a value out of its range raises ValueError."""

    #: of the encoder, tried one after another; validation selects
    learning_rates: tuple[float, ...] = (1e-4, 1e-3)
    head_learning_rate: float = 1e-3  #: of the head
    #: where the training of the head begins. A `probe` that fits its few training clips leaves the
    #: encoder no error to learn from; `zero` does, and bends it least
    head: Literal["probe", "zero"] = "zero"
    epochs: int = 30  #: passes over the training clips at most; 0 scores the initial state
    batch_size: int = 32  #: clips of a step; the batches of an epoch differ by one clip at most
    #: length of a training clip: a random part of a longer one, a shorter one repeated. None takes
    #: the task's usual length, or 4 s where lengths vary
    crop_seconds: float | None = None
    weight_decay: float = 0.01  #: of AdamW, on matrices and filters only
    #: share of all steps in which the rates rise from 0; a cosine to 0 follows
    warm_up: float = 0.1
    patience: int = 8  #: epochs without a better validation score after which a rate is abandoned
    #: `frozen` keeps the encoder's running statistics, so that training and test compute one
    #: function and a small batch does no harm; `train` normalizes by the batch and updates them
    batch_norm: Literal["frozen", "train"] = "frozen"
    gain_db: float = 6.0  #: every training clip is scaled by up to so many dB either way
    #: lowest signal-to-noise ratio of added white noise, of up to 30 dB more; None adds none
    noise_snr_db: float | None = 20.0
    #: parameter of the beta distribution of a mixture's shares (Zhang et al., arXiv 1710.09412), of
    #: waveforms and labels; 0 mixes nothing
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
