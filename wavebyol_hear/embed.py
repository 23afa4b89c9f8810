"""From audio to embeddings: the module that `load_model` returns."""

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from wavebyol_hear.chunking import (
    Wave,
    cat,
    check_audio,
    evaluating,
    max_clips,
    refuse_recording,
)
from wavebyol_hear.components import Components
from wavebyol_hear.embed_any import BATCH_SECONDS, Source, embed_any
from wavebyol_hear.encoder import Encoder, EncoderConfig
from wavebyol_hear.layers import pad_to
from wavebyol_hear.pooling import Pooling, TimeStatistics, choose, name_of, window_statistics
from wavebyol_hear.precision import Precision, check_precision, resolve
from wavebyol_hear.stream import (
    Frames,
    Piece,
    StreamedFrames,
    pieces,
    stack_halo,
    stages_of,
)
from wavebyol_hear.timestamps import TimeGrid, windows
from wavebyol_hear.whitening import Whitening


class Embedder(nn.Module):
    """An encoder with its pooling; `forward` returns scene embeddings and is differentiable.

    Clips can have any length from one sample. A clip longer than `chunk_seconds` is computed in
    pieces, with the same result, so that memory only grows with its front-end channels.

    Args:
        encoder: the network; it is put in evaluation mode, with weights in channels-last format.
        pooling: a `Pooling`, a name in `POOLINGS`, or None: see `wavebyol_hear.pooling.choose`.
        whitenings: by name, such as `scene.contrast` and `timestamps.maxima`; those of the chosen
            poolings (`whitening_names`) are applied.
        components: principal components of scene embeddings, by the same names.
        dims: number of principal components to return; None returns all dimensions.
        normalize: whether to scale embeddings to unit L2 norm, as the authors' probe does. Probes
            that standardize each dimension do better without.
        chunk_seconds: audio computed at once; bounds memory (h2: about 35 MB per second).
        precision: `fp32`, `bf16`, or `auto` for bf16 on hardware that supports it. Gradients,
            training mode and `fast=False` use the precision of the weights.
        fast: whether to compute embeddings with an optimized copy of the encoder (`fast/`), which
            gives the same values up to rounding; False uses the encoder itself.

    Shape:
        [B, n] -> [B, scene_embedding_size].
    """

    forward_embeds_scenes = True
    """Tells code that fine-tunes HEAR models to call this model directly."""

    def __init__(
        self,
        encoder: Encoder,
        pooling: str | Pooling | None = None,
        *,
        whitenings: Mapping[str, Whitening] | None = None,
        components: Mapping[str, Components] | None = None,
        dims: int | None = None,
        normalize: bool = False,
        chunk_seconds: float = 20.48,
        precision: Precision = "fp32",
        fast: bool = True,
    ) -> None:
        super().__init__()
        check_precision(precision)
        if precision == "bf16" and not fast:
            raise ValueError("precision is 'bf16' with fast=False: only fast=True computes in bf16")
        if not chunk_seconds > 0:
            raise ValueError(f"chunk_seconds is {chunk_seconds}: it must be above 0")
        self.encoder = encoder
        self.encoder.whitenings = whitenings or {}
        self.encoder.components = components or {}
        self.encoder.features.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.stages = stages_of(encoder)
        self.normalize = normalize
        self._precision = precision if fast else "fp32"
        self._fast = None
        if fast:
            from wavebyol_hear.fast.inference import InferenceCopy

            self._fast = InferenceCopy()
        self.grid = TimeGrid.of(encoder)
        self.pooling, self.timestamp_pooling = choose(pooling, self.stages)
        self.halo = stack_halo(encoder)
        self.sample_rate = encoder.config.sample_rate
        stride = max(self.stages[-1].step, self.grid.step)
        frames = chunk_seconds * self.sample_rate / encoder.front_end.hop
        self.core = max(round(frames / stride), 1) * stride
        self.scene_embedding_size = self.pooling.size(self.stages)
        one_column = [self.grid.window(stage)[1] == 1 for stage in self.stages]
        self.timestamp_embedding_size = self.timestamp_pooling.size(self.stages, one_column)
        sizes = self.scene_embedding_size, self.timestamp_embedding_size
        self.whiten_scene, self.whiten_timestamps = (
            _choose_whitening(whitenings or {}, name, size)
            for name, size in zip(self.whitening_names, sizes, strict=True)
        )
        self.reduce_scene: nn.Module = nn.Identity()
        if dims is not None:
            name = self.whitening_names[0]
            self.reduce_scene = _choose_components(components or {}, name, sizes[0], dims)
            self.scene_embedding_size = dims
        self.eval()

    @property
    def config(self) -> EncoderConfig:
        """The configuration of the encoder."""
        return self.encoder.config

    @property
    def precision(self) -> str:
        """The precision in which embeddings are computed: `fp32` or `bf16`."""
        return resolve(self._precision, self._like.device)

    @property
    def pads_scenes_to(self) -> int:
        """Number of samples to which shorter clips are zero-padded evenly on both sides.

        An odd zero goes to the right. Clips that are padded in this way beforehand get the same
        embeddings, so that short clips of different lengths can share a batch.
        """
        return self.config.crop_samples

    @property
    def whitening_names(self) -> tuple[str, str]:
        """Names of the whitenings of its scene and timestamp embeddings."""
        return f"scene.{name_of(self.pooling)}", f"timestamps.{name_of(self.timestamp_pooling)}"

    def _network(self) -> Encoder:
        """Return the optimized copy if no gradients are needed, else the encoder."""
        refuse_recording()
        if self._fast is None or torch.is_grad_enabled() or self.encoder.training:
            return self.encoder
        return self._fast.copy_of(self.encoder, self.precision)

    @property
    def _like(self) -> Tensor:
        """A weight, which gives the device and type of the computation."""
        return next(self.encoder.features.parameters())

    def clips_at_once(self, samples: int) -> int:
        """Return how many clips of a length are computed at once."""
        frames = max(samples, self.config.crop_samples) // self.encoder.front_end.hop
        largest = max(s.channels * s.rows / s.step for s in self.stages)  # numbers per frame
        most = max_clips(frames * largest, self._like.device)
        return max(min(self.core // frames, most), 1)

    def _chunks(self, audio: Tensor) -> tuple[Tensor, ...]:
        """Check a batch and split it evenly into parts that are computed at once."""
        check_audio(audio)
        return torch.tensor_split(audio, -(-len(audio) // self.clips_at_once(audio.shape[1])))

    def scenes(self, audio: Tensor) -> Tensor:
        """Return scene embeddings, computed a few clips at a time; see the class."""
        network = self._network()
        return cat([self(chunk, network) for chunk in self._chunks(audio)])

    def forward(self, audio: Tensor, network: Encoder | None = None) -> Tensor:
        """Return scene embeddings of a batch; see the class.

        Args:
            audio: of clips of equal length.
            network: result of `_network`, if it was called before (it compares all weights) and the
                audio was checked.
        """
        if network is None:
            network = self._network()
            check_audio(audio)
        return self._scenes_of(self._frames(audio, network))

    def _scenes_of(self, frames: Frames | StreamedFrames) -> Tensor:
        """Return scene embeddings from the front end's frames, piece by piece."""
        wanted = self.pooling.of_stages(len(self.stages))
        running = [TimeStatistics(statistics) for statistics in wanted]
        for piece in pieces(frames.count, self.core, self.halo):
            image = _channels_last(frames.image(piece.start, piece.stop))
            maps = frames.encoder.dense_maps(image, self.stages[-1].step)
            for stage, statistics, values in zip(self.stages, running, maps, strict=True):
                statistics.update(values[..., piece.kept(stage.step, frames.count)])
        parts = [
            part.flatten(1)
            for statistics in running
            for part in self.pooling.parts(statistics.values(), statistics.wanted)
        ]
        whitened = self.whiten_scene(self.pooling.compressed(torch.cat(parts, 1)))
        return self._finish(self.reduce_scene(whitened))

    def embed(
        self,
        source: Source,
        sample_rate: int | None = None,
        *,
        batch_seconds: float = BATCH_SECONDS,
        workers: int | None = None,
    ) -> np.ndarray:
        """Decode and resample files or arrays, and return their scene embeddings as NumPy arrays.

        Only clips of equal length share a batch, so that an embedding does not depend on the other
        clips. Files are decoded as a whole; for hours of audio use `wavebyol embed`.

        Args:
            source: a path; a mono array [n] or [clips, n] of floats with full scale 1 or of signed
                integers; or a list of paths or of arrays [n] of any lengths.
            sample_rate: of arrays, in Hz; not needed for files.
            batch_seconds: maximum audio per batch in seconds, > 0.
            workers: decoding threads, >= 0; by default the number of processors, at most 4.

        Shape:
            one file or array [n] -> float32 [D]; N of them -> [N, D], in their order.

        Raises:
            AudioError: a file cannot be used; the message names it.
            ValueError: an array cannot be used or comes without its rate.

        Example:
            >>> from wavebyol_hear import load_model
            >>> load_model().embed(np.zeros(44_100), 44_100).shape
            (7104,)
        """
        with evaluating(self):
            return embed_any(
                source,
                sample_rate,
                scenes=self.scenes,
                size=self.scene_embedding_size,
                model_rate=self.sample_rate,
                min_samples=self.pads_scenes_to,
                batch_seconds=batch_seconds,
                workers=workers,
            )

    def long_scene(self, wave: Wave) -> Tensor:
        """Return the scene embedding of one recording that need not be in memory.

        The result equals that of `scenes` up to rounding. Memory does not grow with the length of
        the recording, which is read twice (three times with an image norm). Call it without
        gradients.

        Args:
            wave: an array [n], or whatever has a length and slices, such as samples on disk.

        Shape:
            wave float32 [n] -> [1, scene_embedding_size].
        """
        if len(wave) < self.config.crop_samples:
            return self.scenes(torch.from_numpy(wave[0 : len(wave)])[None])
        return self._scenes_of(self._streamed(wave))

    def long_timestamps(self, wave: Wave) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield timestamp embeddings of one recording that need not be in memory, and instants.

        Call it without gradients.

        Args:
            wave: as of `long_scene`.

        Shape:
            wave float32 [n] -> [T, timestamp_embedding_size] and float64 [T] in ms, several times.
        """
        if len(wave) < self.config.crop_samples:
            embeddings, times = self.timestamps(torch.from_numpy(wave[0 : len(wave)])[None])
            yield embeddings[0], times[0]
            return
        frames, step = self._streamed(wave), self.grid.step
        columns = self.grid.columns(0, len(wave))
        times = self.grid.milliseconds(0, len(wave), self.sample_rate)
        for piece, out in self._timestamps_of(frames, columns):
            begin = max(piece.first // step, columns.start)
            kept = out[0, begin - piece.first // step :]
            first = begin - columns.start
            embeddings = self.timestamp_pooling.compressed(kept)
            yield (
                self._finish(self.whiten_timestamps(embeddings)),
                times[first : first + len(kept)],
            )

    def _streamed(self, wave: Wave) -> StreamedFrames:
        """Return the frames of a recording that is read as they are asked for."""
        return StreamedFrames(self._network(), wave, self.core, self._weight())

    def timestamps(self, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Return embeddings at a regular hop and the instants in ms that they are centred on.

        Shape:
            [B, n] -> ([B, T, timestamp_embedding_size], float64 [B, T]).
        """
        network = self._network()
        chunks = [self._timestamps(chunk, network) for chunk in self._chunks(audio)]
        embeddings, times = zip(*chunks, strict=True)
        return cat(embeddings), cat(times)

    def _timestamps(self, audio: Tensor, network: Encoder) -> tuple[Tensor, Tensor]:
        """Return embeddings and instants of clips that are computed together."""
        frames = self._frames(audio, network)
        samples = audio.shape[1]
        left = max(self.config.crop_samples - samples, 0) // 2
        columns = self.grid.columns(left, samples)
        out = cat([values for _, values in self._timestamps_of(frames, columns)], 1)
        times = self.grid.milliseconds(left, samples, self.sample_rate).to(out.device)
        embeddings = self.timestamp_pooling.compressed(out[:, columns.start :])
        return self._finish(self.whiten_timestamps(embeddings)), times.expand(len(audio), -1)

    def _timestamps_of(
        self, frames: Frames | StreamedFrames, columns: range
    ) -> Iterator[tuple[Piece, Tensor]]:
        """Yield pieces and their columns' embeddings, not yet whitened, from column 0 on."""
        step = self.grid.step
        end = max(frames.count, step * (columns.stop + 1))
        for piece in pieces(step * columns.stop, self.core, self.halo, end):
            image = _channels_last(frames.image(piece.start, piece.stop))
            here = range((piece.first - piece.start) // step, (piece.last - piece.start) // step)
            maps = frames.encoder.dense_maps(image, step)
            out = frames.new_empty(len(image), len(here), self.timestamp_embedding_size)
            self._embed_columns(maps, here, out)
            yield piece, out

    def _embed_columns(self, maps: Iterator[Tensor], columns: range, out: Tensor) -> None:
        """Write the embeddings of some columns of a piece to `out` [B, len(columns), D]."""
        filled = 0
        pooling = self.timestamp_pooling
        wanted = pooling.of_stages(len(self.stages))
        for stage, statistics, dense in zip(self.stages, wanted, maps, strict=True):
            if not statistics:
                continue
            offset, width, stride = self.grid.window(stage)
            begin = columns.start * stride + offset
            local = windows(dense, begin, len(columns), width, stride)
            if width == 1:
                statistics = pooling.of_one_column(statistics)
            for part in pooling.parts(window_statistics(local, statistics), statistics):
                size = part.shape[1] * part.shape[2]
                place = torch.unflatten(out[..., filled : filled + size], -1, part.shape[1:3])
                place.copy_(part.permute(0, 3, 1, 2))
                filled += size

    def _frames(self, audio: Tensor, network: Encoder) -> Frames:
        """Bring audio to the weights' device and run the front end."""
        wave = pad_to(audio.to(self._weight())[:, None], self.config.crop_samples)
        return Frames(network, wave, self.core)

    def _weight(self) -> Tensor:
        """Return a weight of the type that audio is brought to."""
        if self._like.dtype not in (torch.float32, torch.float64):
            raise ValueError(
                f"the weights are {self._like.dtype}: leave them in float32; for bfloat16 "
                'products, load_model(precision="bf16")'
            )
        return self._like

    def _finish(self, embeddings: Tensor) -> Tensor:
        """Scale to unit norm if asked to."""
        return nn.functional.normalize(embeddings, dim=-1) if self.normalize else embeddings


def _choose_whitening(whitenings: Mapping[str, Whitening], name: str, size: int) -> nn.Module:
    """Return the whitening of a name, or none."""
    whitening = whitenings.get(name)
    if whitening is None:
        return nn.Identity()
    if whitening.size != size:
        raise ValueError(f"whitening {name} has {whitening.size} numbers, not {size}")
    return whitening


def _choose_components(
    components: Mapping[str, Components], name: str, size: int, dims: int
) -> Components:
    """Return the first of the components of a name."""
    own = components.get(name)
    if not isinstance(dims, int):
        raise ValueError(f"dims is {dims!r}: give a whole number")
    if own is None or own.size != size:
        raise ValueError(
            f"dims is {dims}: the weights hold no components of {name}, whitened; leave dims out, "
            "or fit some by python -m pretrain.whiten STORE WEIGHTS --components 1024"
        )
    return own.first(dims)


def _channels_last(image: Tensor) -> Tensor:
    """Return the image in the order in which the convolutions are fastest."""
    return image.contiguous(memory_format=torch.channels_last)
