"""A model as one graph without branches: what ONNX and torch.export can record.

`Embedder` looks at its audio, computes long clips in pieces and compares weights with those of its
folded copy; an exporter cannot follow any of it. Here the same numbers come of a fixed sequence of
convolutions and sums, for clips of any length.
"""

import copy
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

from wavebyol_hear.classify.model import Classifier
from wavebyol_hear.components import Components
from wavebyol_hear.embed import Embedder
from wavebyol_hear.encoder import Encoder
from wavebyol_hear.fast.front_end import factor_and_offset
from wavebyol_hear.front_end import BankFrontEnd, ConvFrontEnd, GaborFrontEnd
from wavebyol_hear.layers import TimeNorm, TimePool2d, pre_emphasize, stack_chunks
from wavebyol_hear.pooling import VARIANCE_FLOOR, Statistic
from wavebyol_hear.whitening import Whitening


class SceneNetwork(nn.Module):
    """The scene embeddings of a model in float32, for export; nothing in it is trained.

    Longer clips take more memory, since none is computed in pieces.

    Args:
        model: from `load_model`; its weights are copied.

    Shape:
        [B, n] -> [B, model.scene_embedding_size]; B and n at least 1.

    Example:
        >>> from wavebyol_hear import load_model
        >>> model = load_model(preset="slim", precision="fp32")
        >>> audio = torch.sin(torch.arange(32000.0) / 9)[None]
        >>> bool((SceneNetwork(model)(audio) - model(audio)).abs().max() < 1e-4)
        True
    """

    def __init__(self, model: Embedder) -> None:
        super().__init__()
        encoder, config = model.encoder, model.config
        self.shortest = config.crop_samples
        self.pre_emphasis, self.chunks = config.pre_emphasis, config.chunks
        self.input_norm = ScaledNorm(encoder.input_norm)
        self.image_norm = ScaledNorm(encoder.image_norm) if encoder.image_norm else nn.Identity()
        front_end = encoder.front_end
        if isinstance(front_end, ConvFrontEnd):
            self.front_end: nn.Module = nn.Sequential(*_folded_lines(front_end))
        else:
            self.front_end = FilterBank(front_end)
        self.blocks = nn.ModuleList(_folded_blocks(encoder))
        self.pooling, self.normalize = model.pooling, model.normalize
        whiten, reduce = model.whiten_scene, model.reduce_scene
        self.whiten = Affine(whiten) if isinstance(whiten, Whitening) else nn.Identity()
        self.reduce = _projection(reduce) if isinstance(reduce, Components) else nn.Identity()
        self.float().eval().requires_grad_(False)

    def forward(self, audio: Tensor) -> Tensor:
        """Return scene embeddings; see the class."""
        if torch.jit.is_tracing():
            raise RuntimeError("torch.jit.trace would freeze the length: use torch.export")
        missing = torch.sym_max(self.shortest - audio.shape[1], 0)
        wave = functional.pad(audio, (missing // 2, missing - missing // 2))[:, None]
        wave = self.input_norm(pre_emphasize(wave, self.pre_emphasis))
        maps = stack_chunks(self.image_norm(self.front_end(wave)), self.chunks)
        wanted = self.pooling.of_stages(1 + len(self.blocks))
        parts = self._pool(maps, wanted[0])
        for block, statistics in zip(self.blocks, wanted[1:], strict=True):
            maps = block(maps)
            parts += self._pool(maps, statistics)
        whitened = self.whiten(self.pooling.compressed(torch.cat(parts, 1)))
        embeddings: Tensor = self.reduce(whitened)
        return functional.normalize(embeddings, dim=-1) if self.normalize else embeddings

    def _pool(self, maps: Tensor, wanted: tuple[Statistic, ...]) -> list[Tensor]:
        """Return statistics over time of a map [B, C, R, T], one tensor [B, ...] each."""
        if not wanted:
            return []
        values: dict[Statistic, Tensor] = {"mean": maps.mean(-1), "max": maps.amax(-1)}
        if "std" in wanted:
            variance = (maps - values["mean"][..., None]).square().mean(-1)
            # Exporters take the tiny floor for a zero and drop it: add 1 to a larger number.
            values["std"] = (variance / VARIANCE_FLOOR + 1).sqrt() * VARIANCE_FLOOR**0.5
        return [part.flatten(1) for part in self.pooling.parts(values, wanted)]


class ClassNetwork(nn.Module):
    """The probabilities of a classifier's classes, for export.

    Args:
        model: from `load_model`, of a file with a head; its weights are copied.

    Shape:
        [B, n] -> [B, classes].
    """

    def __init__(self, model: Classifier) -> None:
        super().__init__()
        self.scenes = SceneNetwork(model)
        self.head = copy.deepcopy(model.head)

    def forward(self, audio: Tensor) -> Tensor:
        """Return the probabilities; see the class."""
        probabilities: Tensor = self.head(self.scenes(audio))
        return probabilities


class ScaledNorm(nn.Module):
    """`TimeNorm` as a mean, in which the length does not occur.

    Shape:
        [..., T] -> [..., T].
    """

    def __init__(self, norm: TimeNorm) -> None:
        super().__init__()
        self.gain, self.eps = norm.reference**-0.5, norm.eps

    def forward(self, rows: Tensor) -> Tensor:
        """Return the rows scaled."""
        level = rows.square().mean(-1, keepdim=True).sqrt()
        return rows * (self.gain / level.clamp_min(self.eps))


class FilterBank(nn.Module):
    """A Gabor or learned filter bank as two convolutions, BatchNorm behind the logarithm.

    Shape:
        [B, 1, n] -> [B, channels, frames].
    """

    def __init__(self, front_end: nn.Module) -> None:
        super().__init__()
        assert isinstance(front_end, GaborFrontEnd | BankFrontEnd)
        self.config = config = front_end.config
        if isinstance(front_end, GaborFrontEnd):
            taps = front_end.filters()[:, 0]
            averaging = taps.new_full((config.pool, 2, config.channels), 1 / config.pool)
        else:
            taps, averaging = front_end.taps, front_end.averaging
        # The two parts of a filter side by side, for the sums over them to be one convolution.
        pairs = taps.unflatten(0, (2, -1)).transpose(0, 1).flatten(0, 1)
        self.register_buffer("taps", pairs.detach()[:, None].clone())
        self.register_buffer("averaging", averaging.detach().permute(2, 1, 0).clone())
        factor, offset = factor_and_offset(front_end.norm)
        self.register_buffer("factor", factor.detach()[:, None].clone())
        self.register_buffer("offset", offset.detach()[:, None].clone())

    def forward(self, wave: Tensor) -> Tensor:
        """Return the normalized log energies of a waveform; see the class."""
        config = self.config
        filtered = functional.conv1d(
            wave, self.get_buffer("taps"), None, config.stride, config.padding
        )
        energy = functional.conv1d(
            filtered.square(),
            self.get_buffer("averaging"),
            stride=config.pool,
            groups=config.channels,
        )
        level = (energy.relu() + config.floor).log()
        return level * self.get_buffer("factor") + self.get_buffer("offset")


class Affine(nn.Module):
    """`Whitening` without writing in place, which an exporter may drop without a word.

    Shape:
        [B, D] -> [B, D].
    """

    def __init__(self, whitening: Whitening) -> None:
        super().__init__()
        for name, value in whitening.state_dict().items():
            self.register_buffer(f"whitening_{name}", value.clone())

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return whitened embeddings."""
        mean, scale, directions, gains = (
            self.get_buffer(f"whitening_{name}")
            for name in ("mean", "scale", "directions", "gains")
        )
        whitened = (embeddings - mean) * scale
        return whitened + (whitened @ directions * gains) @ directions.T


def _projection(components: Components) -> nn.Linear:
    """Return principal components as one matrix product."""
    directions = components.get_buffer("directions")
    linear = nn.Linear(directions.shape[1], directions.shape[0])
    mean = components.get_buffer("mean").double()
    linear.load_state_dict({"weight": directions, "bias": -(directions.double() @ mean).float()})
    return linear


def _folded_lines(front_end: ConvFrontEnd) -> Iterator[nn.Module]:
    """Yield the authors' convolutions with their BatchNorms folded."""
    for layer in front_end.layers:
        assert isinstance(layer, nn.Sequential)
        convolution, norm = layer[0], layer[1]
        assert isinstance(convolution, nn.Conv1d)
        assert isinstance(norm, nn.BatchNorm1d)
        yield from (fuse_conv_bn_eval(convolution, norm), nn.ReLU())


def _folded_blocks(encoder: Encoder) -> Iterator[nn.Module]:
    """Yield the Conv2d stack in blocks, BatchNorms folded, each ReLU behind its pool."""
    for block in encoder.blocks():
        layers: list[nn.Module] = []
        for layer in block:
            if isinstance(layer, nn.BatchNorm2d):
                convolution = layers.pop()
                assert isinstance(convolution, nn.Conv2d)
                folded = fuse_conv_bn_eval(convolution, layer)
                plain = nn.Conv2d(folded.in_channels, folded.out_channels, 3, padding=1)
                plain.load_state_dict(folded.state_dict())
                layers.append(plain)
            elif isinstance(layer, TimePool2d):
                rectified = bool(layers) and isinstance(layers[-1], nn.ReLU)
                layers[len(layers) - rectified :] = [nn.MaxPool2d(2), *[nn.ReLU()] * rectified]
            elif isinstance(layer, nn.ReLU):
                layers.append(nn.ReLU())
            else:
                layers.append(layer)
        yield nn.Sequential(*layers)
