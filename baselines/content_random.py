"""Random vectors seeded by the audio itself, as a HEAR module: the chance row of a table.

The same sound always gets the same vector, whatever batch it comes in, so every part of the
benchmark runs as with a real model while nothing can be learned.
"""

import hashlib

import torch
from torch import Tensor, nn

from baselines.base import refuse_weights

SIZE = 64
STAMP_SAMPLES = 800  # 50 ms


class ContentRandom(nn.Module):
    """Holds what the HEAR API asks for; no parameters."""

    sample_rate = 16000
    scene_embedding_size = SIZE
    timestamp_embedding_size = SIZE


def content_vector(wave: Tensor) -> Tensor:
    """Return a standard normal vector seeded by the samples.

    Shape:
        wave `[n]`, result float32 `[SIZE]` on the CPU.
    """
    samples = wave.detach().to("cpu", torch.float32).contiguous().numpy()
    digest = hashlib.blake2b(samples.tobytes(), digest_size=8).digest()
    seed = int.from_bytes(digest, "big") >> 1  # a generator takes 63 bits
    return torch.randn(SIZE, generator=torch.Generator().manual_seed(seed))


def load_model(model_file_path: str = "") -> ContentRandom:
    """Return the model.

    Args:
        model_file_path: must stay empty; there are no weights.

    Raises:
        BaselineError: where a weights file is named.
    """
    refuse_weights("content_random", model_file_path)
    return ContentRandom().eval()


def get_scene_embeddings(audio: Tensor, model: ContentRandom) -> Tensor:
    """Return one vector per clip.

    Shape:
        audio `[B, n]`, result float32 `[B, 64]`.
    """
    return torch.stack([content_vector(wave) for wave in audio]).to(audio.device)


def get_timestamp_embeddings(audio: Tensor, model: ContentRandom) -> tuple[Tensor, Tensor]:
    """Return one vector for every 50 ms begun, stamped with the start of the piece.

    Shape:
        audio `[B, n]`, results float32 `[B, T, 64]` and timestamps in ms `[B, T]`.
    """
    clips = [torch.stack([content_vector(p) for p in wave.split(STAMP_SAMPLES)]) for wave in audio]
    vectors = torch.stack(clips).to(audio.device)
    step_ms = 1000.0 * STAMP_SAMPLES / model.sample_rate
    stamps = torch.arange(vectors.shape[1], device=audio.device, dtype=torch.float32) * step_ms
    return vectors, stamps.expand(len(audio), -1)
