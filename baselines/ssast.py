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
from torch.nn.functional import pad

from baselines.base import (
    BaselineError,
    WeightsError,
    check_pooling,
    fill,
    normalization,
    pool_stages,
    prepare,
    read_state_dict,
    read_weights,
    spread_windows,
    weights_path,
)
from baselines.ssast_network import (
    HEAD,
    HOP,
    MELS,
    SAMPLE_RATE,
    SPECIAL,
    WINDOW,
    SsastNetwork,
    fbank,
)
from wavebyol_hear.chunking import evaluating
from wavebyol_hear.layers import pad_to

KIND = "wavebyol-hear-ssast/1"
AUTHORS_MEAN, AUTHORS_STD = -4.2677393, 4.5689974  # AudioSet and LibriSpeech
STEP_FRAMES = 4  # between timestamps of a patch model: 40 ms
DROPPED = ("v.head.", "v.head_dist.", "cpredlayer.", "gpredlayer.", "mask_embed", "p_input_")
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
        self.network = network
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
        return (fbank(wave) - self.mean) / (2 * self.std)

    def forward(self, audio: Tensor) -> Tensor:
        """Return scenes, clips zero-padded to one patch at least: [B, n] -> [B, D].

        It can be trained through; `get_scene_embeddings` evaluates.
        """
        shortest = WINDOW + HOP * (self.width - 1)
        bank = self.bank(pad_to(prepare(audio, self), shortest))
        parts = [
            self.network.blocks(bank[:, start : start + self.window], self.stride)
            for start in spread_windows(bank.shape[1], self.window)
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
    path = weights_path(model_file_path, "ssast_tiny", module="ssast")
    if path.suffix == ".safetensors":
        tensors, settings = read_weights(path, KIND)
    else:
        tensors = _encoder_of(read_state_dict(path, "SSAST"), path)
        settings = {"mean": AUTHORS_MEAN, "std": AUTHORS_STD}
    mean, std = normalization(settings, mean, std)
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
            f"{path} is not an SSAST encoder: width {width}, {depth} blocks, patches of {bands} x "
            f"{frames}, {places} positions"
        )
    return {"width": width, "depth": depth, "patch": (bands, frames), "columns": columns}


def _encoder_of(state: Mapping[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Return the encoder of an authors' checkpoint by the names of `SsastNetwork`.

    Raises:
        WeightsError: another kind of file, or a tensor that SSAST does not have.
    """
    names = {key.removeprefix("module."): key for key in state}
    encoder = {}
    for name, key in names.items():
        if name.startswith(DROPPED):
            continue
        if not name.startswith("v."):
            raise WeightsError(f"{path} holds {key}, which SSAST does not have: {WANTED}")
        for old, new in RENAMED:
            name = name.replace(old, new, 1)
        encoder[name] = state[key]
    return encoder
