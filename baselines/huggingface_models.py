"""The encoders that `baselines.huggingface` knows, family by family: how they are fed and read."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from baselines.base import prepare

LONGEST_SECONDS = 30
"""Of a window of encoders whose attention grows with the square of the length."""
MEL_HOP, MEL_WINDOW = 160, 400  # of AST's spectrogram, in samples
POOLS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda frames: frames.mean(1),
    "max": lambda frames: frames.amax(1),
    "meanmax": lambda frames: torch.cat([frames.mean(1), frames.amax(1)], 1),
}
POOLER = "pooler"
"""Pooling by the network's own last layer (AST, CLAP)."""


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


class HuggingFaceModel(nn.Module):
    """An encoder with its feature extractor; `forward` gives scenes and can be trained through.

    A family says where its frames lie (`_framing`), and gives the frames of a window of waves
    [B, m] -> [B, T, D] with what the network's own pooling makes of them, [B, D'], of no size where
    it has none (`_frames`).

    Args:
        network: of `transformers`, or the audio part of it.
        extractor: its feature extractor.
        layer: whose hidden states are taken, 0 (below the first) to the number of layers; None
            takes the network's output.
        pool: one of `POOLS`, or `pooler`.

    Attributes:
        part: of the loaded network that hears, or "" where it is all of it.
        pools: how scenes may be pooled; the first one is the default.
        has_layers: whether hidden states have one shape.

    Shape:
        [B, n] -> [B, scene_embedding_size].
    """

    forward_embeds_scenes = True
    part = ""
    pools: tuple[str, ...] = tuple(POOLS)
    has_layers = True

    def __init__(self, network: Any, extractor: Any, layer: int | None, pool: str) -> None:  # noqa: ANN401
        super().__init__()
        self.network, self.extractor, self.layer, self.pool = network, extractor, layer, pool
        self.config: Any = network.config
        self.framing = self._framing()
        self.sample_rate = int(extractor.sampling_rate)
        with torch.no_grad():
            frames, pooled = self.embed(torch.zeros(1, self.framing.field))
        self.timestamp_embedding_size = frames.shape[2]
        self.scene_embedding_size = pooled.shape[1]

    def _framing(self) -> Framing:
        raise NotImplementedError

    def _frames(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def embed(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Return frames and pooled embeddings: [B, n] -> [B, T, D] and [B, D']."""
        audio = prepare(audio, self)
        audio = nn.functional.pad(audio, (0, max(self.framing.field - audio.shape[1], 0)))
        audio = self._normalized(audio)
        parts, pooled, counts = [], [], []
        for begin, end, count in self.framing.windows(audio.shape[1]):
            frames, own = self._frames(audio[:, begin:end])
            parts.append(frames[:, :count])
            pooled.append(own)
            counts.append(count)
        frames = torch.cat(parts, 1)
        if self.pool != POOLER:
            return frames, POOLS[self.pool](frames)
        shares = torch.tensor(counts, device=frames.device) / sum(counts)
        return frames, torch.einsum("wbd,w->bd", torch.stack(pooled), shares)

    def forward(self, audio: Tensor) -> Tensor:
        """Return scene embeddings; see the class."""
        return self.embed(audio)[1]

    def _normalized(self, audio: Tensor) -> Tensor:
        return audio

    def features(self, audio: Tensor, **settings: object) -> Tensor:
        """Return what the feature extractor makes of waves, on their device."""
        waves = list(audio.detach().cpu().numpy())
        made = self.extractor(
            waves, sampling_rate=self.sample_rate, return_tensors="pt", **settings
        )
        result: Tensor = made[self.extractor.model_input_names[0]]
        return result.to(audio.device)

    def states(self, *args: Tensor, **settings: object) -> tuple[Tensor, Any]:
        """Return the hidden states of the layer, and all that the network gives."""
        output = self.network(*args, output_hidden_states=self.layer is not None, **settings)
        states = output.last_hidden_state if self.layer is None else output.hidden_states
        return (states if self.layer is None else states[self.layer]), output


class Waves(HuggingFaceModel):
    """wav2vec 2.0 and its kin: convolutions on waves, a frame every 20 ms with a field of 25 ms.

    Clips are normalized where the feature extractor says so.
    """

    def _framing(self) -> Framing:
        field, hop = 1, 1
        for kernel, stride in zip(self.config.conv_kernel, self.config.conv_stride, strict=True):
            field += (kernel - 1) * hop
            hop *= stride
        return Framing(hop, field, (field - 1) / 2, LONGEST_SECONDS * 16_000 // hop)

    def _normalized(self, audio: Tensor) -> Tensor:
        if not self.extractor.do_normalize:
            return audio
        deviation = (audio.var(1, correction=0, keepdim=True) + 1e-7).sqrt()
        return (audio - audio.mean(1, keepdim=True)) / deviation

    def _frames(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        return self.states(audio)[0], audio[:, :0]


class Whisper(HuggingFaceModel):
    """Whisper's encoder, of which a frame is centred on the first of two of its spectrogram."""

    part = "encoder"

    def _framing(self) -> Framing:
        hop = 2 * self.extractor.hop_length
        return Framing(hop, hop, 0, self.config.max_source_positions, whole=False)

    def _frames(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        return self.states(self.features(audio))[0], audio[:, :0]  # padded to the full window


class Ast(HuggingFaceModel):
    """AST: columns of patches of a spectrogram; its own pooling is its two tokens' mean."""

    pools = (*POOLS, POOLER)

    def _framing(self) -> Framing:
        config = self.config
        hop = config.time_stride * MEL_HOP
        field = (config.patch_size - 1) * MEL_HOP + MEL_WINDOW
        columns = (config.max_length - config.patch_size) // config.time_stride + 1
        return Framing(hop, field, (field - 1) / 2, columns)

    def _frames(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        states, output = self.states(self.features(audio))
        patches = states[:, 2:].unflatten(1, (-1, self.framing.most))  # frequency, then time
        return patches.mean(1), output.pooler_output


class Clap(HuggingFaceModel):
    """The audio tower of CLAP: columns of its last map."""

    part = "audio_model"
    pools = (POOLER, *POOLS)
    has_layers = False

    def _framing(self) -> Framing:
        config = self.config
        ratio = config.spec_size // config.num_mel_bins
        step = config.patch_stride[1] * 2 ** (len(config.depths) - 1)
        columns = ratio * config.spec_size // step
        hop = math.ceil(self.extractor.nb_max_samples / columns)
        return Framing(hop, hop, hop / 2, columns, whole=False)

    def _frames(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        fused = bool(self.config.enable_fusion)
        settings = {"is_longer": torch.zeros(len(audio), 1, dtype=torch.bool)} if fused else {}
        features = self.features(audio, truncation="fusion" if fused else "rand_trunc")
        states, output = self.states(features, **settings)
        return states.mean(2).mT, output.pooler_output


WAVE_TYPES = (
    *("wav2vec2", "hubert", "wavlm", "data2vec-audio", "unispeech", "unispeech-sat", "sew"),
    *("sew-d", "wav2vec2-conformer"),
)
FAMILIES: dict[str, type[HuggingFaceModel]] = {
    **dict.fromkeys(WAVE_TYPES, Waves),
    "whisper": Whisper,
    "audio-spectrogram-transformer": Ast,
    "clap": Clap,
    "clap_audio_model": Clap,
}
