"""BYOL-A (AudioNTT2020) as a HEAR module: weights trained on our corpus, or NTT's public file.

`baselines.byol_a` takes the shipped weights, `baselines.byol_a:FILE` a file written
by `python -m pretrain --method byol_a`, or NTT's `AudioNTT2020-BYOLA-64x96d512.pth` (and d1024,
d2048) from github.com/nttcslab/byol-a, which has a licence of its own and is not shipped.

Departure: BYOL-A's evaluation normalizes log-mels by mean and standard deviation of the task's
training clips. A HEAR module never sees a task, so both are constants: those of the training data
in our files, those of NTT's README for theirs, or the options of `FILE?mean=-5.5&std=5.0`.

Source: Niizumi et al. (arXiv 2103.06695) and nttcslab/byol-a, config.yaml.
"""

import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torchaudio.transforms import MelSpectrogram

from baselines.base import (
    WeightsError,
    check_pooling,
    fill,
    normalization,
    pool_stages,
    prepare,
    read_state_dict,
    read_weights,
    weights_path,
)
from wavebyol_hear.chunking import evaluating
from wavebyol_hear.layers import pad_to

KIND = "wavebyol-hear-byol_a/1"
SAMPLE_RATE, HOP, MELS = 16_000, 160, 64
CROP = 15_200  # samples of a training crop: 0.95 s, 96 frames
STEP = 8  # frames to a step of the network, after three pools
NTT_MEAN, NTT_STD = -5.4919195, 5.0389895  # nttcslab/byol-a, README.md


class LogMel(nn.Module):
    """Log-mel spectrogram of BYOL-A: the natural logarithm of the energy + float32's epsilon.

    Args:
        pad_mode: what lies past the ends of a clip: `reflect`, as published, or `constant` zeros.

    Shape:
        [B, n], n > 512 for `reflect` -> [B, 1, 64, 1 + n // 160]; frame i is centred on sample
        160 i.
    """

    def __init__(self, pad_mode: str = "reflect") -> None:
        super().__init__()
        self.mel = MelSpectrogram(
            SAMPLE_RATE, n_fft=1024, win_length=1024, hop_length=HOP, n_mels=MELS,
            f_min=60, f_max=7800, power=2, pad_mode=pad_mode,
        )  # fmt: skip

    def forward(self, wave: Tensor) -> Tensor:
        """Return the log energies; see the class."""
        energy: Tensor = self.mel(wave)
        return (energy + torch.finfo(torch.float32).eps).log().unsqueeze(1)


class AudioNtt2020(nn.Module):
    """The network of BYOL-A v1, with the names of NTT's state dict.

    Args:
        d: size of the embedding.

    Shape:
        normalized log-mel [B, 1, 64, T] -> [B, T // 8, d].
    """

    def __init__(self, d: int = 512) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs in (1, 64, 64):
            # Published as BatchNorm, ReLU, MaxPool. A maximum and a ReLU commute: the function
            # is the same, and this ReLU has a quarter of the work.
            layers += [nn.Conv2d(inputs, 64, 3, padding=1), nn.BatchNorm2d(64)]
            layers += [nn.MaxPool2d(2), nn.ReLU(inplace=True)]
        self.features = nn.Sequential(*layers)
        self.fc = nn.Sequential(
            nn.Linear(64 * MELS // STEP, d), nn.ReLU(), nn.Dropout(0.3), nn.Linear(d, d), nn.ReLU()
        )

    def forward(self, image: Tensor) -> Tensor:
        """Return one vector per step of 8 frames; see the class."""
        return self.steps(self.features(image))

    def blocks(self, image: Tensor) -> list[Tensor]:
        """Return the maps of the three blocks: [B, 64, 32, T // 2] to [B, 64, 8, T // 8]."""
        maps, blocks = image, []
        for layer in self.features:
            maps = layer(maps)
            if isinstance(layer, nn.ReLU):
                blocks.append(maps)
        return blocks

    def steps(self, maps: Tensor) -> Tensor:
        """Return one vector per step of the last maps: [B, 64, 8, T // 8] -> [B, T // 8, d]."""
        steps: Tensor = self.fc(maps.permute(0, 3, 2, 1).flatten(2))  # order: mel, channel
        return steps


def pool(steps: Tensor) -> Tensor:
    """Return max over time + mean over time: [B, T, d] -> [B, d]."""
    return steps.amax(1) + steps.mean(1)


class ByolAModel(nn.Module):
    """The HEAR model: log-mel, constant normalization, network.

    Args:
        network: with its weights.
        mean: of the log-mels.
        std: their standard deviation, > 0.
        pooling: of scenes: `published`, or `contrast`: maximum and deviation over time of the
            log-mel, of every block and of the last layer, as ours pools.
    """

    sample_rate = SAMPLE_RATE
    forward_embeds_scenes = True

    def __init__(
        self, network: AudioNtt2020, mean: float, std: float, pooling: str = "published"
    ) -> None:
        super().__init__()
        self.log_mel, self.network = LogMel(), network
        self.mean, self.std, self.pooling = mean, std, pooling
        last = network.fc[0]
        assert isinstance(last, nn.Linear)
        size = last.out_features
        self.timestamp_embedding_size = size
        rows = MELS + 64 * (MELS // 2 + MELS // 4 + MELS // 8)
        self.scene_embedding_size = size if pooling == "published" else 2 * (rows + size)

    def image(self, wave: Tensor) -> Tensor:
        """Return the normalized log-mel: [B, n] -> [B, 1, 64, T]."""
        image: Tensor = (self.log_mel(wave) - self.mean) / self.std
        return image

    def forward(self, audio: Tensor) -> Tensor:
        """Return the published embedding, clips under 0.95 s zero-padded to it: [B, n] -> [B, d].

        It can be trained through; `get_scene_embeddings` evaluates.
        """
        image = self.image(pad_to(prepare(audio, self), CROP))
        if self.pooling == "contrast":
            blocks = self.network.blocks(image)
            steps = self.network.steps(blocks[-1])
            return pool_stages([image, *blocks, steps.mT[:, :, None]])
        return pool(self.network(image))


def load_model(
    model_file_path: str = "",
    *,
    mean: float | None = None,
    std: float | None = None,
    pooling: str = "published",
) -> ByolAModel:
    """Return BYOL-A.

    Args:
        model_file_path: our file or NTT's; empty takes the shipped weights.
        mean: of the log-mels that the network was trained on; None takes what the file says.
        std: their standard deviation, > 0; None takes what the file says.
        pooling: of scenes, `published` or `contrast`; see `ByolAModel`.

    Raises:
        WeightsError: a file that is missing, damaged or of another network.
        BaselineError: `mean` or `std` is no such number, or the pooling is unknown.
    """
    check_pooling(pooling)
    path = weights_path(model_file_path, "byol_a")
    if path.suffix == ".safetensors":
        tensors, settings = read_weights(path, KIND)
    else:
        tensors = read_state_dict(path, "AudioNTT2020 by NTT")
        settings = {"mean": NTT_MEAN, "std": NTT_STD}
    mean, std = normalization(settings, mean, std)
    network = filled(tensors, path)
    return ByolAModel(network, mean, std, pooling).eval()


def filled(tensors: dict[str, Tensor], path: Path) -> AudioNtt2020:
    """Return the network of a weights file's tensors.

    Raises:
        WeightsError: they are not those of an AudioNTT2020.
    """
    bias = tensors.get("fc.0.bias")
    if bias is None:
        raise WeightsError(f"{path} lacks fc.0.bias: it is not an AudioNTT2020 network")
    return fill(lambda: AudioNtt2020(bias.numel()), tensors, path)


def get_scene_embeddings(audio: Tensor, model: ByolAModel) -> Tensor:
    """Return the published embedding, without gradients: [B, n] -> [B, d]."""
    with evaluating(model):
        scenes: Tensor = model(audio)
    return scenes


def get_timestamp_embeddings(audio: Tensor, model: ByolAModel) -> tuple[Tensor, Tensor]:
    """Return a vector every 40 ms and its time in ms: [B, n] -> [B, T, d], [B, T].

    The network gives a vector every 80 ms; it is run twice, the second time 4 frames later, and
    both are interleaved. A step covers 8 frames, so that behind 3 repeated frames the first one
    is centred on frame 0.5, at 5 ms.
    """
    wave = prepare(audio, model)
    count = max(1, 1 + (1000 * wave.shape[1] // SAMPLE_RATE - 5) // 40)
    pairs = math.ceil(count / 2)
    padded = nn.functional.pad(wave, (0, max(0, 1024 - wave.shape[1])))
    frames = torch.arange(-3, 8 * pairs + 1, device=wave.device)
    with evaluating(model):
        image = model.image(padded)
        image = image[..., frames.clamp(0, image.shape[-1] - 1)]  # [B, 1, 64, 8 * pairs + 4]
        both = [model.network(part) for part in (image[..., :-4], image[..., 4:])]
    steps = torch.stack(both, 2).flatten(1, 2)[:, :count]
    times = 5.0 + 40.0 * torch.arange(count, device=wave.device)
    return steps, times.expand(len(wave), -1)
