"""What a batch of audio must be."""

from torch import Tensor


def check_audio(audio: Tensor) -> None:
    """Raise a ValueError that names what is wrong with a batch of audio."""
    if not isinstance(audio, Tensor):
        raise ValueError(f"audio is a {type(audio).__name__}: give a float tensor [batch, samples]")
    if audio.dim() != 2 or not audio.is_floating_point():
        shape = list(audio.shape)
        raise ValueError(f"audio is {audio.dtype} {shape}: give a float tensor [batch, samples]")
    if 0 in audio.shape:
        raise ValueError(f"audio is {list(audio.shape)}: give one clip and one sample at least")
    # A sum is finite where all samples are, but for absurd ones: only then each is looked at.
    if audio.sum().isfinite():
        return
    broken = (~audio.isfinite()).any(1).nonzero()
    if len(broken):
        raise ValueError(f"audio has non-finite samples in clip {int(broken[0])} of the batch")
