"""SSAST as a HEAR module: a transformer over patches of a Kaldi-style filter bank.

`baselines.ssast` takes the shipped weights, `baselines.ssast:FILE` a file written by
`python -m pretrain --preset ssast_tiny`, or one of the authors' pretraining checkpoints, such as
`SSAST-Tiny-Patch-400.pth` from github.com/YuanGongND/ssast (tiny, small or base; patches or
frames), which are not shipped. Their size, patch and number of positions are read from the tensors.

Scenes are the mean of the patch tokens, as the authors pool, over windows of at most the frames
whose positions were learned (1,024 in their files); the authors publish fine-tuned models only and
warn that frozen ones do poorly. `FILE?stride=10&tokens=cls` sets the patches of their fine-tuning
(16 x 16 every 10 x 10; frames every one) and their other pooling, cls and distillation token.

Departures: constants of the normalization belong to the pretraining data, as a HEAR module never
sees a task; the clip's mean is not subtracted first, as every frame's is; timestamps come from
waves padded with silence, where the authors' zeros on the normalized bank are louder than it.

Source: Gong et al. (arXiv 2110.09784) and YuanGongND/ssast (ast_models.py, dataloader.py).
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad
from torchaudio.compliance.kaldi import get_mel_banks

from baselines.base import (
    BaselineError,
    WeightsError,
    check_pooling,
    fill,
    finite_number,
    pool_stages,
    prepare,
    read_state_dict,
    read_weights,
    weights_path,
)
from wavebyol_hear.chunking import evaluating
from wavebyol_hear.layers import pad_to

KIND = "wavebyol-hear-ssast/1"
SAMPLE_RATE, HOP, WINDOW, FFT, MELS = 16_000, 160, 400, 512, 128
FLOOR = torch.finfo(torch.float32).eps
AUTHORS_MEAN, AUTHORS_STD = -4.2677393, 4.5689974  # AudioSet and LibriSpeech
SIZES = {192: "tiny", 384: "small", 768: "base"}
HEAD = 64  # numbers per attention head
SPECIAL = 2  # tokens before the patches: cls, distillation
STEP_FRAMES = 4  # between timestamps of a patch model: 40 ms
DROPPED = ("v.head.", "v.head_dist.", "cpredlayer.", "gpredlayer.", "mask_embed", "p_input_")
CONVERTED = "audio_spectrogram_transformer."  # how names begin in transformers' AST
WANTED = "what is read is a pretraining checkpoint such as SSAST-Tiny-Patch-400.pth"
RENAMED = (
    ("v.", ""),
    ("patch_embed.proj.", "patch_embed."),
    ("blocks.", "encoder.layers."),
    ("attn.qkv.", "self_attn.in_proj_"),
    ("attn.proj.", "self_attn.out_proj."),
    ("mlp.fc1.", "linear1."),
    ("mlp.fc2.", "linear2."),
)


class Fbank(nn.Module):
    """Log mel filter bank as Kaldi computes it, of a batch; the bits of torchaudio's.

    Frames of 25 ms every 10 ms that lie within the clip, each centred, pre-emphasized by 0.97 and
    under a symmetric Hann window; the natural logarithm of 128 mel bands' power, 20 Hz to 8 kHz.

    Shape:
        [B, n], n >= 400 -> [B, 1 + (n - 400) // 160, 128].

    Source: torchaudio.compliance.kaldi.fbank(htk_compat=True, use_energy=False, dither=0,
    window_type="hanning", num_mel_bins=128), as SSAST's dataloader calls it.

    Example:
        >>> Fbank()(torch.zeros(1, 16_000)).shape
        torch.Size([1, 98, 128])
    """

    window: Tensor
    filters: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(WINDOW, periodic=False), persistent=False)
        filters, _ = get_mel_banks(MELS, FFT, SAMPLE_RATE, 20.0, 0.0, 100.0, -500.0, 1.0)
        self.register_buffer("filters", pad(filters, (0, 1)), persistent=False)

    def forward(self, wave: Tensor) -> Tensor:
        """Return the log energies; see the class."""
        frames = wave.unfold(1, WINDOW, HOP)
        frames = frames - frames.mean(2, keepdim=True)
        before = torch.cat([frames[..., :1], frames[..., :-1]], 2)
        frames = (frames - 0.97 * before) * self.window
        power = torch.fft.rfft(pad(frames, (0, FFT - WINDOW))).abs().pow(2)
        # Clip by clip: how a product of matrices is summed depends on their rows.
        energies = torch.stack([torch.mm(clip, self.filters.T) for clip in power])
        return energies.clamp_min(FLOOR).log()


class SsastNetwork(nn.Module):
    """Patch embedding, learned positions and a pre-norm transformer.

    Args:
        width: of tokens: 192 (tiny), 384 (small), 768 (base).
        depth: blocks.
        patch: mel bands and frames of a patch.
        columns: of patches along time whose positions are learned.

    Shape:
        normalized bank [B, T, 128] -> tokens [B, 2 + rows * columns, width]: cls, distillation,
        then the patches, row by row from the lowest bands.
    """

    def __init__(
        self,
        width: int = 192,
        depth: int = 12,
        patch: tuple[int, int] = (16, 16),
        columns: int = 64,
    ) -> None:
        super().__init__()
        self.patch, self.grid = patch, (MELS // patch[0], columns)
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.dist_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, SPECIAL + math.prod(self.grid), width))
        self.patch_embed = nn.Conv2d(1, width, patch, patch)
        layer = nn.TransformerEncoderLayer(
            width, width // HEAD, 4 * width, 0.0, "gelu",
            layer_norm_eps=1e-6, batch_first=True, norm_first=True,
        )  # fmt: skip
        self.encoder = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width, eps=1e-6)
        self.initialize()

    def initialize(self) -> None:
        """Draw tokens, positions and linear layers as the authors do; blocks differ."""
        for name, parameter in self.named_parameters():
            if name.startswith("patch_embed"):
                continue  # PyTorch's default
            if parameter.ndim > 1:
                nn.init.trunc_normal_(parameter, std=0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def embed_patches(self, bank: Tensor, stride: tuple[int, int]) -> Tensor:
        """Return the patches' embeddings alone: [B, T, 128] -> [B, D, rows, columns]."""
        image = bank.mT[:, None]
        embed = self.patch_embed
        return nn.functional.conv2d(image, embed.weight, embed.bias, stride)

    def positions(self, rows: int, columns: int) -> Tensor:
        """Return the positions of a grid of patches, [1, rows * columns, D].

        The middle of the learned columns where fewer are wanted, else interpolated, as the authors
        do; rows likewise interpolated.
        """
        grid = self.pos_embed[:, SPECIAL:].mT.unflatten(2, self.grid)
        had_rows, had = self.grid
        if columns < had:
            first = had // 2 - columns // 2
            grid = grid[..., first : first + columns]
        elif columns > had:
            grid = interpolate(grid, (had_rows, columns), mode="bilinear")
        if rows != had_rows:
            grid = interpolate(grid, (rows, columns), mode="bilinear")
        return grid.flatten(2).mT

    def with_positions(self, patches: Tensor, rows: int, columns: int) -> Tensor:
        """Return what the blocks take: special tokens and patches [B, N, D], positions added."""
        special = torch.cat([self.cls_token, self.dist_token], 1) + self.pos_embed[:, :SPECIAL]
        patches = patches + self.positions(rows, columns)
        return torch.cat([special.expand(len(patches), -1, -1), patches], 1)

    def forward(self, bank: Tensor, stride: tuple[int, int] | None = None) -> Tensor:
        """Return the tokens; see the class.

        Args:
            bank: normalized.
            stride: of the patches in bands and frames; None is that of pretraining, their size.
        """
        return self.blocks(bank, stride or self.patch)[0][-1]

    def blocks(self, bank: Tensor, stride: tuple[int, int]) -> tuple[list[Tensor], int]:
        """Return the tokens after every block, the last ones normalized, and how many rows."""
        maps = self.embed_patches(bank, stride)
        rows, columns = maps.shape[2:]
        tokens, stages = self.with_positions(maps.flatten(2).mT, rows, columns), []
        for layer in self.encoder.layers:
            tokens = layer(tokens)
            stages.append(tokens)
        return [*stages[:-1], self.norm(stages[-1])], rows


class SsastModel(nn.Module):
    """The HEAR model: filter bank, constant normalization, network, pooling of tokens.

    Args:
        network: with its weights.
        mean: of the filter bank's values.
        std: their standard deviation, > 0; the normalized bank has half of it as unit.
        stride: of the patches, in bands and frames (frames only for a frame model); None is their
            size.
        tokens: of scenes, `patches` (their mean) or `cls` (mean of cls and distillation token).
        pooling: of scenes, `published`, or `contrast`: maximum and deviation over time of the
            bank and of every block's tokens, averaged over the rows of patches first.
    """

    sample_rate = SAMPLE_RATE
    forward_embeds_scenes = True

    def __init__(
        self,
        network: SsastNetwork,
        mean: float,
        std: float,
        *,
        stride: int | None = None,
        tokens: str = "patches",
        pooling: str = "published",
    ) -> None:
        super().__init__()
        self.fbank, self.network = Fbank(), network
        self.mean, self.std, self.tokens, self.pooling = mean, std, tokens, pooling
        bands, self.width = network.patch
        whole = network.grid[0] == 1
        self.stride = network.patch if stride is None else (bands if whole else stride, stride)
        self.window = network.grid[1] * self.width  # frames
        size = network.norm.normalized_shape[0]
        self.timestamp_embedding_size = size
        stages = 2 * (MELS + size * len(network.encoder.layers))
        self.scene_embedding_size = size if pooling == "published" else stages

    def bank(self, wave: Tensor) -> Tensor:
        """Return the normalized filter bank: [B, n] -> [B, T, 128]."""
        bank: Tensor = (self.fbank(wave) - self.mean) / (2 * self.std)
        return bank

    def forward(self, audio: Tensor) -> Tensor:
        """Return scenes, clips zero-padded to one patch at least: [B, n] -> [B, D].

        It can be trained through; `get_scene_embeddings` evaluates.
        """
        shortest = WINDOW + HOP * (self.width - 1)
        bank = self.bank(pad_to(prepare(audio, self), shortest))
        room = max(0, bank.shape[1] - self.window)
        gaps = math.ceil(room / self.window)
        starts = [round(i * room / max(1, gaps)) for i in range(gaps + 1)]
        parts = [
            self.network.blocks(bank[:, start : start + self.window], self.stride)
            for start in starts
        ]
        if self.pooling == "contrast":
            stages = [
                torch.cat([_over_rows(part[block], rows) for part, rows in parts], 1)
                for block in range(len(self.network.encoder.layers))
            ]
            return pool_stages(stage.mT[:, :, None] for stage in (bank, *stages))
        kept = slice(None, SPECIAL) if self.tokens == "cls" else slice(SPECIAL, None)
        return torch.stack([part[-1][:, kept].mean(1) for part, _ in parts]).mean(0)

    def steps(self, bank: Tensor) -> Tensor:
        """Return the tokens of whole patches averaged over rows: [B, T, 128] -> [B, T // width, D].

        Windows follow one another; the last one ends with the bank, however much it overlaps.
        """
        columns, most = bank.shape[1] // self.width, self.network.grid[1]
        parts = []
        for first in range(0, columns, most):
            start = max(0, min(first, columns - most))
            window = bank[:, start * self.width : (start + most) * self.width]
            blocks, rows = self.network.blocks(window, self.network.patch)
            parts.append(_over_rows(blocks[-1], rows)[:, first - start :])
        return torch.cat(parts, 1)[:, :columns]


def _over_rows(tokens: Tensor, rows: int) -> Tensor:
    """Return patch tokens averaged over the rows of patches: [B, 2 + N, D] -> [B, columns, D]."""
    return tokens[:, SPECIAL:].unflatten(1, (rows, -1)).mean(1)


def load_model(
    model_file_path: str = "",
    *,
    mean: float | None = None,
    std: float | None = None,
    stride: int | None = None,
    tokens: str = "patches",
    pooling: str = "published",
) -> SsastModel:
    """Return SSAST.

    Args:
        model_file_path: our file or the authors'; empty takes the shipped weights.
        mean: of the filter bank that the network was trained on; None takes what the file says.
        std: its standard deviation, > 0; None takes what the file says.
        stride: of the patches of scenes, in bands and frames, 1 to the patch's frames; None is
            that of pretraining.
        tokens: of scenes, `patches` or `cls`; see `SsastModel`.
        pooling: of scenes, `published` or `contrast`; see `SsastModel`.

    Raises:
        WeightsError: a file that is missing, damaged or of another network.
        BaselineError: an option is out of range.
    """
    check_pooling(pooling)
    if tokens not in ("patches", "cls"):
        raise BaselineError(f"tokens is {tokens!r}: give patches or cls")
    with weights_path(model_file_path, "ssast_tiny", module="ssast") as path:
        if path.suffix == ".safetensors":
            tensors, settings, _ = read_weights(
                path, KIND, others={CONVERTED: f"a Hugging Face conversion: {WANTED}"}
            )
        else:
            tensors = _encoder_of(read_state_dict(path, "SSAST"), path)
            settings = {"mean": AUTHORS_MEAN, "std": AUTHORS_STD}
        mean = finite_number("mean", settings.get("mean") if mean is None else mean)
        std = finite_number("std", settings.get("std") if std is None else std, positive=True)
        network = fill(lambda: SsastNetwork(**_shape(tensors, path)), tensors, path)
    if stride is not None and not (isinstance(stride, int) and 1 <= stride <= network.patch[1]):
        raise BaselineError(f"stride is {stride!r}: give 1 to {network.patch[1]} frames")
    return SsastModel(network, mean, std, stride=stride, tokens=tokens, pooling=pooling).eval()


def get_scene_embeddings(audio: Tensor, model: SsastModel) -> Tensor:
    """Return the scene embedding, without gradients: [B, n] -> [B, D]."""
    with evaluating(model):
        scenes: Tensor = model(audio)
    return scenes


def get_timestamp_embeddings(audio: Tensor, model: SsastModel) -> tuple[Tensor, Tensor]:
    """Return a vector every 40 ms (20 ms of a frame model) and its time in ms.

    A patch model gives a vector every 160 ms; it is run four times, each time 4 frames later, and
    all are interleaved. Half a patch of silence before the clip puts the first one at 7.5 ms.

    Shape:
        audio [B, n] -> [B, T, D], [B, T].
    """
    wave = prepare(audio, model)
    width = model.width
    hop = min(STEP_FRAMES, width)
    runs = width // hop
    count = max(1, 1 + math.floor((1000 * wave.shape[1] / SAMPLE_RATE - 7.5) / (10 * hop)))
    columns = math.ceil(count / runs)
    frames = width * columns + hop * (runs - 1)
    before = HOP * width // 2
    after = max(0, WINDOW + HOP * (frames - 1) - before - wave.shape[1])
    with evaluating(model):
        bank = model.bank(pad(wave, (before, after)))
        each = [model.steps(bank[:, hop * i : hop * i + width * columns]) for i in range(runs)]
    steps = torch.stack(each, 2).flatten(1, 2)[:, :count]
    times = 7.5 + 10.0 * hop * torch.arange(count, device=wave.device)
    return steps, times.expand(len(wave), -1)


def _shape(tensors: Mapping[str, Tensor], path: Path) -> dict[str, Any]:
    """Return the arguments of the network that has these tensors."""
    try:
        width, _, bands, frames = tensors["patch_embed.weight"].shape
        places = tensors["pos_embed"].shape[1] - SPECIAL
        columns, rest = divmod(places, MELS // bands)
    except (KeyError, ValueError, IndexError, ZeroDivisionError) as error:
        raise WeightsError(
            f"{path} lacks the patch embedding and positions of an SSAST encoder"
        ) from error
    depth = len({k.split(".")[2] for k in tensors if k.startswith("encoder.layers.")})
    if rest or columns < 1 or not depth or width % HEAD or MELS % bands:
        raise WeightsError(
            f"{path} is no SSAST encoder: width {width}, {depth} blocks, patches of {bands} x "
            f"{frames}, {places} positions"
        )
    return {"width": width, "depth": depth, "patch": (bands, frames), "columns": columns}


def _encoder_of(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return the encoder of an authors' checkpoint by the names of `SsastNetwork`.

    Raises:
        WeightsError: another kind of file, another size, or a tensor that SSAST does not have.
    """
    names = {key.removeprefix("module."): key for key in state}
    if any("mlp_head." in name for name in names):
        raise WeightsError(f"{path} is an SSAST fine-tuned to a task (mlp_head): {WANTED}")
    if any(name.startswith(CONVERTED) for name in names):
        raise WeightsError(f"{path} is a Hugging Face conversion: {WANTED}")
    encoder = {}
    for name, key in names.items():
        if name.startswith(DROPPED):
            continue
        if not name.startswith("v."):
            raise WeightsError(f"{path} holds {key}, which SSAST does not have: {WANTED}")
        for old, new in RENAMED:
            name = name.replace(old, new, 1)
        encoder[name] = state[key]
    shape = _shape(encoder, path)
    if shape["width"] not in SIZES or shape["depth"] != 12:
        sizes = ", ".join(f"{name} ({width})" for width, name in SIZES.items())
        raise WeightsError(
            f"{path} has {shape['depth']} blocks of width {shape['width']}: SSAST is {sizes}, of 12"
        )
    return encoder
