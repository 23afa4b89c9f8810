"""What the baselines do to a batch of clips before anything else."""

from contextlib import AbstractContextManager

import torch
from torch import Tensor, nn


def hear_batch(audio: Tensor, model: nn.Module) -> Tensor:
    """Return a batch of clips in single precision on the model's device.

    Shape:
        audio [B, n] -> the same.

    Raises:
        ValueError: a tensor that is no batch of clips, or clips without a sample.
    """
    if audio.ndim != 2 or not audio.shape[1]:
        raise ValueError(f"audio is {list(audio.shape)}: give clips as [B, n], n at least 1")
    return audio.to(torch.float32).to(next(model.parameters()).device)


def pad_centred(audio: Tensor, samples: int) -> Tensor:
    """Zero-pad at both ends to at least `samples`, as the training crops are: [..., n]."""
    missing = max(0, samples - audio.shape[-1])
    return nn.functional.pad(audio, (missing // 2, missing - missing // 2))


def gradients_in_training(model: nn.Module) -> AbstractContextManager[None]:
    """Return a context that keeps gradients on for a model in training mode, and off for others."""
    return torch.set_grad_enabled(torch.is_grad_enabled() and model.training)
