"""BYOL-A (AudioNTT2020) as a HEAR module: weights trained on our corpus, or NTT's public file.

`baselines.byol_a` takes the shipped weights, `baselines.byol_a:FILE` a file written
by `python -m pretrain --method byol_a`, or NTT's `AudioNTT2020-BYOLA-64x96d512.pth` (and d1024,
d2048) from github.com/nttcslab/byol-a, which has a licence of its own and is not shipped.

Departure: BYOL-A's evaluation normalises log-mels by mean and standard deviation of the task's
training clips. A HEAR module never sees a task, so both are constants: those of the training data
in our files, those of NTT's README for theirs, or what is written behind the file's name as
`FILE?mean=-5.5&std=5.0`.

Source: Niizumi et al. (arXiv 2103.06695) and nttcslab/byol-a, config.yaml.
"""

import math
import pickle
from pathlib import Path
from urllib.parse import parse_qs

import torch
from torch import Tensor, nn
from torchaudio.transforms import MelSpectrogram

from baselines.batch import gradients_in_training, hear_batch, pad_centred
from baselines.weights_file import WeightsError, default_weights, fill, read_weights

KIND = "wavebyol-hear-byol_a/1"
SAMPLE_RATE, HOP, MELS = 16_000, 160, 64
CROP = 15_200  # samples of a training crop: 0.95 s, 96 frames
STEP = 8  # frames to a step of the network, after three pools
NTT_MEAN, NTT_STD = -5.4919195, 5.0389895  # nttcslab/byol-a, README.md


class LogMel(nn.Module):
    """Log-mel spectrogram of BYOL-A.

    Shape:
        [B, n], n > 512 -> [B, 1, 64, 1 + n // 160]; frame i is centred on sample 160 i.
    """

    def __init__(self) -> None:
        super().__init__()
        self.mel = MelSpectrogram(
            SAMPLE_RATE, n_fft=1024, win_length=1024, hop_length=HOP, n_mels=MELS,
            f_min=60, f_max=7800, power=2,
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
        normalised log-mel [B, 1, 64, T] -> [B, T // 8, d].
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
        """Return one vector a step of 8 frames; see the class."""
        maps = self.features(image)  # [B, 64, 8, T / 8]
        steps: Tensor = self.fc(maps.permute(0, 3, 2, 1).flatten(2))  # order: mel, channel
        return steps


def pool(steps: Tensor) -> Tensor:
    """Return max over time + mean over time: [B, T, d] -> [B, d]."""
    return steps.amax(1) + steps.mean(1)


class ByolAModel(nn.Module):
    """The HEAR model: log-mel, constant normalisation, network.

    Args:
        network: with its weights.
        mean: of the log-mels.
        std: their standard deviation, > 0.
    """

    sample_rate = SAMPLE_RATE

    def __init__(self, network: AudioNtt2020, mean: float, std: float) -> None:
        super().__init__()
        self.log_mel, self.network = LogMel(), network
        self.mean, self.std = mean, std
        self.scene_embedding_size = self.timestamp_embedding_size = network.fc[0].out_features

    def image(self, wave: Tensor) -> Tensor:
        """Return the normalised log-mel: [B, n] -> [B, 1, 64, T]."""
        image: Tensor = (self.log_mel(wave) - self.mean) / self.std
        return image


def load_model(model_file_path: str = "") -> ByolAModel:
    """Return BYOL-A; see the module for what the path may be.

    Raises:
        WeightsError: a file that is missing, damaged or of another network, or a bad option.
    """
    name, _, query = model_file_path.partition("?")
    path = Path(name) if name else default_weights("byol_a")
    if path.suffix == ".safetensors":
        tensors, settings, _ = read_weights(path, KIND)
        mean, std = settings["mean"], settings["std"]
    else:
        tensors, mean, std = _read_ntt(path), NTT_MEAN, NTT_STD
    options = {"mean": mean, "std": std, **_options(query)}
    bias = tensors.get("fc.0.bias")
    if bias is None:
        raise WeightsError(f"{path} lacks fc.0.bias: it is no AudioNTT2020 network")
    network = AudioNtt2020(len(bias))
    fill(network, tensors, path)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return ByolAModel(network, **options).eval()


def get_scene_embeddings(audio: Tensor, model: ByolAModel) -> Tensor:
    """Return the published embedding, clips under 0.95 s zero-padded to it: [B, n] -> [B, d]."""
    wave = pad_centred(hear_batch(audio, model), CROP)
    with gradients_in_training(model):
        return pool(model.network(model.image(wave)))


@torch.no_grad()
def get_timestamp_embeddings(audio: Tensor, model: ByolAModel) -> tuple[Tensor, Tensor]:
    """Return a vector every 40 ms and its time in ms: [B, n] -> [B, T, d], [B, T].

    The network gives a vector every 80 ms; it is run twice, the second time 4 frames later, and
    both are interleaved. A step covers 8 frames, so that behind 3 repeated frames the first one
    is centred on frame 0.5, at 5 ms.
    """
    wave = hear_batch(audio, model)
    count = max(1, 1 + (1000 * wave.shape[1] // SAMPLE_RATE - 5) // 40)
    pairs = math.ceil(count / 2)
    padded = nn.functional.pad(wave, (0, max(0, 1024 - wave.shape[1])))
    image = model.image(padded)
    frames = torch.arange(-3, 8 * pairs + 1, device=wave.device).clamp(0, image.shape[-1] - 1)
    image = image[..., frames]  # [B, 1, 64, 8 * pairs + 4]
    both = [model.network(part) for part in (image[..., :-4], image[..., 4:])]
    steps = torch.stack(both, 2).flatten(1, 2)[:, :count]
    times = 5.0 + 40.0 * torch.arange(count, device=wave.device)
    return steps, times.expand(len(wave), -1)


def _read_ntt(path: Path) -> dict[str, Tensor]:
    """Return the state dict of a file that torch.save wrote."""
    if not path.is_file():
        raise WeightsError(f"{path} is no file: give weights of AudioNTT2020")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (
        RuntimeError,
        EOFError,
        OSError,
        LookupError,
        ValueError,
        pickle.UnpicklingError,
    ) as error:  # what unpickling makes of foreign bytes
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise WeightsError(f"{path} is damaged or no state dict ({reason})") from error
    if not isinstance(state, dict) or not all(isinstance(v, Tensor) for v in state.values()):
        raise WeightsError(f"{path} holds no state dict: give NTT's file as it is")
    return state


def _options(query: str) -> dict[str, float]:
    """Return mean and std from `mean=-5.5&std=5.0`."""
    options = {}
    for key, values in parse_qs(query, keep_blank_values=True).items():
        try:
            options[key] = float(values[-1])
        except ValueError:
            options[key] = math.nan
        if key not in ("mean", "std") or not math.isfinite(options[key]):
            raise WeightsError(f"{key}={values[-1]}: the options are mean=NUMBER and std=NUMBER")
    if options.get("std", 1) <= 0:
        raise WeightsError(f"std={options['std']}: it must be above 0")
    return options
