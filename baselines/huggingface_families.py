"""How the encoders that `baselines.huggingface` knows are fed and read, family by family."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

LONGEST_SECONDS = 30
"""Of a window of encoders whose attention grows with the square of the length."""
MEL_HOP, MEL_WINDOW = 160, 400  # of AST's spectrogram, in samples


@dataclass(frozen=True)
class Framing:
    """Where an encoder's frames lie.

    Attributes:
        hop: samples from one frame to the next.
        field: samples that a frame needs; a shorter clip is zero-padded on its right.
        centre: of the first frame, in samples.
        most: frames of a window.
        whole: whether a frame counts when all its field is there; else when its centre is.
    """

    hop: int
    field: int
    centre: float
    most: int
    whole: bool = True

    def frames(self, samples: int) -> int:
        """Return the number of frames of a clip: one at least."""
        first = self.field if self.whole else math.floor(self.centre) + 1
        return max(samples - first, 0) // self.hop + 1

    def windows(self, samples: int) -> Iterator[tuple[int, int, int]]:
        """Yield begin and end of each window in samples, and the number of its frames."""
        total = self.frames(samples)
        for first in range(0, total, self.most):
            count = min(self.most, total - first)
            begin = first * self.hop
            end = begin + (count - 1) * self.hop + self.field
            yield begin, samples if first + count == total else end, count


class Loaded(Protocol):
    """What a family sees of `huggingface.HuggingFaceModel`."""

    extractor: Any
    config: Any
    framing: Framing

    def features(self, audio: Tensor, **settings: object) -> Tensor:
        """Return what the feature extractor makes of waves, on their device."""

    def states(self, *args: Tensor, **settings: object) -> tuple[Tensor, Any]:
        """Return the hidden states of the layer, and all that the network gives."""


@dataclass(frozen=True)
class Family:
    """How the networks of one kind are fed and read.

    Attributes:
        part: of the loaded model that hears, or "" where it is all of it.
        framing: where the frames of a model lie.
        frames: waves of a window [B, m] -> frames [B, T, D], and what the network's own pooling
            makes of them, [B, D'] (of no size where it has none).
        has_pooler: whether the network pools itself.
        has_layers: whether hidden states have one shape.
        normalizes: whether clips are normalized where the feature extractor says so.
    """

    part: str
    framing: Callable[[Loaded], Framing]
    frames: Callable[[Loaded, Tensor], tuple[Tensor, Tensor]]
    has_pooler: bool = False
    has_layers: bool = True
    normalizes: bool = False


def _framing_of_waves(model: Loaded) -> Framing:
    """Return where the frames of a stack of convolutions lie (20 ms, a field of 25 ms)."""
    field, hop = 1, 1
    for kernel, stride in zip(model.config.conv_kernel, model.config.conv_stride, strict=True):
        field += (kernel - 1) * hop
        hop *= stride
    return Framing(hop, field, (field - 1) / 2, LONGEST_SECONDS * 16_000 // hop)


def _frames_of_waves(model: Loaded, audio: Tensor) -> tuple[Tensor, Tensor]:
    """Return the frames of wav2vec 2.0 and its kin."""
    return model.states(audio)[0], audio[:, :0]


def _framing_of_whisper(model: Loaded) -> Framing:
    """Return where Whisper's frames lie: one per two of its spectrogram, centred on the first."""
    hop = 2 * model.extractor.hop_length
    return Framing(hop, hop, 0, model.config.max_source_positions, whole=False)


def _frames_of_whisper(model: Loaded, audio: Tensor) -> tuple[Tensor, Tensor]:
    """Return Whisper's frames; its extractor pads to the full window."""
    return model.states(model.features(audio))[0], audio[:, :0]


def _framing_of_ast(model: Loaded) -> Framing:
    """Return where AST's columns of patches lie."""
    config = model.config
    hop = config.time_stride * MEL_HOP
    field = (config.patch_size - 1) * MEL_HOP + MEL_WINDOW
    columns = (config.max_length - config.patch_size) // config.time_stride + 1
    return Framing(hop, field, (field - 1) / 2, columns)


def _frames_of_ast(model: Loaded, audio: Tensor) -> tuple[Tensor, Tensor]:
    """Return the means of AST's columns of patches, and its two tokens' mean."""
    states, output = model.states(model.features(audio))
    columns = model.framing.most
    patches = states[:, 2:].unflatten(1, (-1, columns))  # rows of frequency, then time
    return patches.mean(1), output.pooler_output


def _framing_of_clap(model: Loaded) -> Framing:
    """Return where the columns of CLAP's last map lie."""
    config = model.config
    ratio = config.spec_size // config.num_mel_bins
    step = config.patch_stride[1] * 2 ** (len(config.depths) - 1)
    columns = ratio * config.spec_size // step
    hop = math.ceil(model.extractor.nb_max_samples / columns)
    return Framing(hop, hop, hop / 2, columns, whole=False)


def _frames_of_clap(model: Loaded, audio: Tensor) -> tuple[Tensor, Tensor]:
    """Return the means of the columns of CLAP's last map, and its pooled embedding."""
    fused = bool(model.config.enable_fusion)
    settings = {"is_longer": torch.zeros(len(audio), 1, dtype=torch.bool)} if fused else {}
    features = model.features(audio, truncation="fusion" if fused else "rand_trunc")
    states, output = model.states(features, **settings)
    return states.mean(2).mT, output.pooler_output


WAVES = Family("", _framing_of_waves, _frames_of_waves, normalizes=True)
WHISPER = Family("encoder", _framing_of_whisper, _frames_of_whisper)
AST = Family("", _framing_of_ast, _frames_of_ast, has_pooler=True)
CLAP = Family("audio_model", _framing_of_clap, _frames_of_clap, has_pooler=True, has_layers=False)
WAVE_TYPES = (
    *("wav2vec2", "hubert", "wavlm", "data2vec-audio", "unispeech", "unispeech-sat", "sew"),
    *("sew-d", "wav2vec2-conformer"),
)
FAMILIES: dict[str, Family] = {
    **dict.fromkeys(WAVE_TYPES, WAVES),
    "whisper": WHISPER,
    "audio-spectrogram-transformer": AST,
    "clap": CLAP,
    "clap_audio_model": CLAP,
}
