"""The configuration of a run: frozen dataclasses, YAML files that hold only differences, `--set`.

The defaults of the classes are the preset `default`; a preset or a file of the user names only
what differs from them. A key that does not exist is an error that names its nearest neighbor.
"""

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pretrain.augment.layer import RECIPES, AugmentConfig
from pretrain.data.stream import StreamConfig
from wavebyol_hear.encoder import PRESETS, EncoderConfig
from wavebyol_hear.files.settings import SettingsError, check_range, load_settings


@dataclass(frozen=True)
class SampleConfig:
    """Share of each kind of clip in a batch; all 0 draws every clip of the store equally often.

    A store that is mostly music then trains no music model. Within a kind, every clip is drawn
    equally often; clips of a kind with the share 0, or of no kind, are not drawn.
    """

    everyday: float = 0.0
    speech: float = 0.0
    music: float = 0.0

    def __post_init__(self) -> None:
        check_range(self, "everyday", "speech", "music", minimum=0, maximum=1)
        total = self.everyday + self.speech + self.music
        if total and abs(total - 1) > 1e-6:
            raise ValueError(f"the shares sum to {total:g}: give shares with the sum 1, or none")


@dataclass(frozen=True)
class ViewsConfig:
    """How two views come from a clip.

    Args:
        sample: share of each kind of clip in a batch.
        file_groups: equal parts of a batch to which the files of a store are dealt out, each kind's
            again each epoch. Where the processes divide them, each reads only the files of its own;
            the order of clips is the same for any number of processes.
        two_crops: each view has its own crop of the clip; else both share one (the authors').
        speed: range of each sample's playback factor, done in the gather of the crop by linear
            interpolation: not band-limited, its images lie 9 dB under a tone of 6 kHz.
        augment: the Augmentation Layer; `none` and `light` name one of `RECIPES`.
    """

    sample: SampleConfig = field(default_factory=SampleConfig)
    file_groups: int = 1
    two_crops: bool = False
    speed: tuple[float, float] = (1.0, 1.0)
    augment: AugmentConfig = field(default_factory=AugmentConfig)

    def __post_init__(self) -> None:
        check_range(self, "file_groups", minimum=1)
        check_range(self, "speed", above=0)
        if self.speed[0] > self.speed[1]:
            raise ValueError(f"speed is {self.speed}: give (low, high), low <= high")


@dataclass(frozen=True)
class ByolConfig:
    """Heads, loss and target.

    Args:
        loss: `byol` (2 - 2 cos to the target), `infonce` (over the batch, no target) or
            `infonce_target` (over the batch, against the momentum target, as MoCo v3).
        projector: hidden and output width (the authors': 4096, 4096).
        predictor: hidden width; unused by `infonce`.
        temperature: of InfoNCE.
        tau: share of the target kept at an update, at the first step.
        tau_final: the same at the last step; a cosine between them.
        tau_every: `step`, or `epoch` as the authors coded it.
        mix_views: whether the two views share BatchNorm statistics.
    """

    loss: Literal["byol", "infonce", "infonce_target"] = "byol"
    projector: tuple[int, int] = (4096, 4096)
    predictor: int = 4096
    temperature: float = 0.1
    tau: float = 0.99
    tau_final: float = 1.0
    tau_every: Literal["step", "epoch"] = "step"
    mix_views: bool = False

    def __post_init__(self) -> None:
        check_range(self, "tau", "tau_final", minimum=0, maximum=1)
        check_range(self, "temperature", above=0)
        check_range(self, "projector", "predictor", minimum=1)


@dataclass(frozen=True)
class SsastConfig:
    """Network and masks of SSAST.

    Args:
        width: of the transformer: 192 (tiny), 384 (small) or 768 (base); 64 numbers per head.
        depth: blocks.
        patch: mel bands and frames of a patch; 128 bands make the frame model.
        masked: share of a crop's patches that are masked, rounded to whole patches.
        generative: weight of the squared error beside the discriminative loss.
    """

    width: int = 192
    depth: int = 12
    patch: tuple[int, int] = (16, 16)
    masked: float = 0.78125
    generative: float = 10.0

    def __post_init__(self) -> None:
        check_range(self, "width", minimum=64)
        check_range(self, "depth", "patch", minimum=1)
        check_range(self, "masked", above=0, maximum=1)
        check_range(self, "generative", minimum=0)
        if self.width % 64:
            raise ValueError(f"width is {self.width}: give a multiple of 64, the size of a head")
        if 128 % self.patch[0]:
            raise ValueError(f"patch is {self.patch}: give bands that divide the 128")


@dataclass(frozen=True)
class DeloresConfig:
    """Network and losses of DeLoRes.

    Args:
        embedding: width of the encoder's last layers.
        projector: width of the projectors' layers.
        off_diagonal: weight of redundancy against invariance in the Barlow loss.
        barlow: weight of each stage's Barlow loss beside InfoNCE (DeLoRes-M).
        key: width of queries and keys (DeLoRes-M).
        queue: keys that InfoNCE compares with, a multiple of the batch (DeLoRes-M).
        temperature: of InfoNCE (DeLoRes-M).
    """

    embedding: int = 2048
    projector: int = 2048
    off_diagonal: float = 0.005
    barlow: float = 1e-3
    key: int = 128
    queue: int = 4096
    temperature: float = 0.07

    def __post_init__(self) -> None:
        check_range(self, "embedding", "projector", "key", "queue", minimum=1)
        check_range(self, "off_diagonal", "barlow", minimum=0)
        check_range(self, "temperature", above=0)


@dataclass(frozen=True)
class OptimConfig:
    """Optimizer and schedule; every length is in steps of the global batch.

    Args:
        name: `adamw` or `adamp`.
        lr: learning rate after the warm-up.
        front_end_scale: factor on `lr` for the front end's own parameters.
        schedule: `constant`, `cosine`, or `wsd` (warm up, stable, linear decay to zero).
        decay: share of the steps that `wsd` spends on its decay.
        batch: clips a step, over all processes.
        clip_norm: largest gradient norm; 0 for none.
    """

    name: Literal["adamw", "adamp"] = "adamp"
    lr: float = 5e-5
    front_end_scale: float = 1.0
    weight_decay: float = 1.5e-6
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-3
    batch: int = 64
    steps: int = 100_000
    warmup: int = 1000
    schedule: Literal["constant", "cosine", "wsd"] = "cosine"
    decay: float = 0.2
    clip_norm: float = 0.0

    def __post_init__(self) -> None:
        check_range(self, "lr", "weight_decay", "steps", "warmup", "clip_norm", minimum=0)
        check_range(self, "batch", minimum=2)
        check_range(self, "decay", "betas", minimum=0, maximum=1)


@dataclass(frozen=True)
class RunConfig:
    """How the machine is used and what is written down.

    Args:
        precision: `fp32`, `bf16` (autocast), or `auto`, bf16 where the device has units for it.
        compile: whether torch.compile is applied to the networks.
        log_every: steps between two lines of the log.
        save_minutes: minutes between two training states.
        ema: share of a moving average of the weights that is kept at each step, such as 0.999; it
            is written beside the weights, as `weights_ema.safetensors`. 0 keeps none. It changes
            nothing of the training, and a run that goes on may begin or end it.
        probe: folder of `class/clip` audio that a kNN is tried on, or empty.
        probe_every: steps between two tries.
    """

    precision: Literal["auto", "fp32", "bf16"] = "auto"
    compile: bool = False
    log_every: int = 20
    save_minutes: float = 5.0
    ema: float = 0.0
    probe: str = ""
    probe_every: int = 1000

    def __post_init__(self) -> None:
        check_range(self, "log_every", "probe_every", minimum=1)
        check_range(self, "save_minutes", minimum=0)
        check_range(self, "ema", minimum=0, maximum=1)


@dataclass(frozen=True)
class Config:
    """A whole run; `encoder` is a preset's name or a mapping with `preset` and differences."""

    method: Literal["byol", "byol_a", "cola", "ssast", "delores_s", "delores_m"] = "byol"
    seed: int = 0
    encoder: EncoderConfig = PRESETS["h2"]
    views: ViewsConfig = field(default_factory=ViewsConfig)
    byol: ByolConfig = field(default_factory=ByolConfig)
    ssast: SsastConfig = field(default_factory=SsastConfig)
    delores: DeloresConfig = field(default_factory=DeloresConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    stream: StreamConfig = field(default_factory=StreamConfig)
    run: RunConfig = field(default_factory=RunConfig)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON and checkpoints."""
        return {**dataclasses.asdict(self), "encoder": self.encoder.to_dict()}


def read_config(preset: str, path: str | None = None, sets: Iterable[str] = ()) -> Config:
    """Return the preset, changed by a YAML file, changed by `a.b=value` assignments.

    Raises:
        SettingsError: an unknown preset, file, key or a value of the wrong type or range.
    """
    folder = Path(__file__).with_name("configs")
    names = sorted(file.stem for file in folder.glob("*.yaml"))
    if preset not in names:
        raise SettingsError(f"preset {preset!r} is unknown: it is one of {', '.join(names)}")
    files = [folder / f"{preset}.yaml", *([Path(path)] if path is not None else [])]
    presets: dict[type, Mapping[str, Any]] = {EncoderConfig: PRESETS, AugmentConfig: RECIPES}
    return load_settings(Config(), *files, sets=sets, presets=presets)
