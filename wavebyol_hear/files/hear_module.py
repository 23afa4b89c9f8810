"""Loading a HEAR module by its import path, and embedding with it."""

import functools
import importlib
import inspect
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
import torch
from torch import Tensor, nn

from wavebyol_hear.chunking import Wave
from wavebyol_hear.files.hear_checks import (
    check_attributes,
    check_options,
    check_tensor,
    check_timestamps,
    foreign_errors,
)
from wavebyol_hear.files.model_spec import HearError, one_line, parse_spec
from wavebyol_hear.files.weights_hash import weights_fingerprint

FUNCTIONS = ("load_model", "get_scene_embeddings", "get_timestamp_embeddings")
NOISE_SECONDS = 0.5


class EncodeError(HearError):
    """A batch that the module could not embed; other batches may still work."""


def import_module(name: str) -> ModuleType:
    """Import a HEAR module and check that its three functions are there."""
    if str(Path.cwd()) not in sys.path and "" not in sys.path:
        sys.path.append(str(Path.cwd()))  # a module beside the user, as `python -m` would have it
    remedy = "give the import path of an installed HEAR module"
    if "/" in name or name.endswith((".safetensors", ".pt", ".pth")):
        remedy = f"for a file of weights give wavebyol_hear:{name}"
    with foreign_errors(HearError, f"{name}: cannot be imported", f"; {remedy}"):
        module = importlib.import_module(name)
    absent = [f for f in FUNCTIONS if not callable(getattr(module, f, None))]
    if absent:
        raise HearError(
            f"{name}: lacks the function {', '.join(absent)}; a HEAR module needs "
            f"{', '.join(FUNCTIONS)}"
        )
    return module


@dataclass(frozen=True)
class HearModel:
    """A HEAR module loaded on a device, whose answers are checked.

    The model is what the module's `load_model` returned, in evaluation mode on the device.
    """

    spec: str
    module: ModuleType
    model: nn.Module
    device: torch.device
    weights_hash: str

    @property
    def sample_rate(self) -> int:
        """The rate the model wants, in Hz."""
        return int(getattr(self.model, "sample_rate", 0))

    @property
    def size(self) -> int:
        """The number of values of a scene embedding."""
        return int(getattr(self.model, "scene_embedding_size", 0))

    @property
    def timestamp_size(self) -> int:
        """The number of values of a timestamp embedding."""
        return int(getattr(self.model, "timestamp_embedding_size", 0))

    @property
    def precision(self) -> str:
        """The precision in which the model says it computes; "as loaded" where it says nothing."""
        return str(getattr(self.model, "precision", "as loaded"))

    @property
    def pads_scenes_to(self) -> int:
        """Samples to which the model says it zero-pads shorter scenes evenly; 0 says nothing."""
        return int(getattr(self.model, "pads_scenes_to", 0))

    @functools.cached_property
    def noise_embedding(self) -> np.ndarray:
        """The scene embedding of fixed noise; empty where the module fails on it or varies.

        It changes with whatever the module reads besides its weights, which no hash would notice.

        Shape:
            float32 `[size]` or `[0]`.
        """
        random = np.random.default_rng(0)
        noise = random.uniform(-0.1, 0.1, (1, round(NOISE_SECONDS * self.sample_rate)))
        try:
            first, again = (self.scenes(noise.astype(np.float32))[0] for _ in range(2))
        except HearError:
            return np.zeros(0, np.float32)
        scale = max(float(np.abs(first).max()), 1e-12)
        same = np.isfinite(first).all() and np.abs(first - again).max() <= 1e-3 * scale
        return first if same else np.zeros(0, np.float32)

    def scenes(self, waves: np.ndarray) -> np.ndarray:
        """Embed a batch of clips of one length, without gradients.

        Shape:
            waves float32 `[B, n]`, result float32 `[B, size]`; a row may hold NaN.
        """
        with torch.inference_mode():
            return self.embed(torch.from_numpy(waves)).detach().cpu().numpy()

    def embed(self, audio: Tensor) -> Tensor:
        """Embed a batch of clips of one length, with gradients where the caller has them on.

        In training mode a model that says `forward_embeds_scenes` is called itself, so that its
        HEAR function can evaluate whatever mode it finds; others are trained through the function.

        Shape:
            audio float32 `[B, n]`, result float32 `[B, size]`; a row may hold NaN.

        Raises:
            HearError: where the answer is not float32 of that shape.
            EncodeError: where the module raises.
        """
        trains = torch.is_grad_enabled() and self.model.training
        by_call = trains and getattr(self.model, "forward_embeds_scenes", False)
        answer = self._call("forward" if by_call else "get_scene_embeddings", audio)
        return check_tensor(f"{self.spec}: get_scene_embeddings", answer, (len(audio), self.size))

    def timestamps(self, waves: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Embed instants of clips of one length, without gradients.

        Shape:
            waves float32 `[B, n]` -> embeddings float32 `[B, T, D]`, which may hold NaN, and their
            instants in ms, float `[B, T]`.

        Raises:
            HearError: where the answer is no such pair, or an instant is not finite.
            EncodeError: where the module raises.
        """
        with torch.inference_mode():
            answer = self._call("get_timestamp_embeddings", torch.from_numpy(waves))
        what = f"{self.spec}: get_timestamp_embeddings"
        values, stamps = check_timestamps(what, answer, len(waves), self.timestamp_size)
        return values.detach().cpu().numpy(), stamps.detach().cpu().numpy()

    def long_scene(self, wave: Wave) -> np.ndarray:
        """Embed one long recording that need not be in memory, without gradients.

        A model that has `long_scene(wave)` reads slices of the wave; to others it is given whole.

        Shape:
            wave float32 `[n]`, result float32 `[size]`; may hold NaN.

        Raises:
            HearError, EncodeError: as of `embed`.
        """
        if not hasattr(self.model, "long_scene"):
            whole: np.ndarray = self.scenes(wave[0 : len(wave)][None])[0]
            return whole
        what = f"{self.spec}: long_scene"
        failed = f"{what} failed on {len(wave)} samples"
        with torch.inference_mode(), foreign_errors(EncodeError, failed):
            answer = self.model.long_scene(wave)  # type: ignore[operator]
        value: np.ndarray = check_tensor(what, answer, (1, self.size)).cpu().numpy()[0]
        return value

    def long_timestamps(self, wave: Wave) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the embeddings of instants of one long recording and the instants in ms, in order.

        As `long_scene`, of a model that has `long_timestamps(wave)` or of others.

        Shape:
            wave float32 `[n]` -> float32 `[T, D]` and float64 `[T]`, several times.

        Raises:
            HearError, EncodeError: as of `timestamps`.
        """
        if not hasattr(self.model, "long_timestamps"):
            values, stamps = self.timestamps(wave[0 : len(wave)][None])
            yield values[0], stamps[0]
            return
        what = f"{self.spec}: long_timestamps"
        failed = f"{what} failed on {len(wave)} samples"
        with torch.inference_mode(), foreign_errors(EncodeError, failed):
            pieces = iter(self.model.long_timestamps(wave))  # type: ignore[operator]
        while True:
            with torch.inference_mode(), foreign_errors(EncodeError, failed):
                piece = next(pieces, None)
            if piece is None:
                return
            some, ms = piece
            checked = check_tensor(what, some, (len(ms), self.timestamp_size))
            yield checked.cpu().numpy(), ms.cpu().numpy()

    def _call(self, function: str, audio: Tensor) -> object:
        """Return what a function of the module, or the model's `forward`, makes of a copy."""
        what = f"{self.spec}: {function} failed on {tuple(audio.shape)}"
        with foreign_errors(EncodeError, what):  # the batch is lost, not the run
            copied = audio.to(self.device, copy=True)
            if function == "forward":
                return self.model(copied)
            return getattr(self.module, function)(copied, self.model)


def load(spec: str, device: str = "cpu", *, precision: str = "fp32") -> HearModel:
    """Import a HEAR module, load its model and put it on a device.

    Args:
        spec: `module[:weights][?key=value&...]`, such as `wavebyol_hear:encoder.safetensors` or
            `wavebyol_hear?whiten=false`; the options go to `load_model`. See `parse_spec`. Weights
            are a file, unless the module says `WEIGHTS_ARE_NAMES = True`.
        device: a torch device.
        precision: handed to a `load_model` that takes it.

    Raises:
        HearError: where the module, the weights, the model or the device is no good.
    """
    parsed = parse_spec(spec)
    weights = parsed.weights
    module = import_module(parsed.module)
    names = bool(getattr(module, "WEIGHTS_ARE_NAMES", False))  # such as of a hub, or folders
    if weights and not names and not Path(weights).is_file():
        raise HearError(f"{spec}: no weights file {weights}; name an existing file")
    check_options(spec, module.load_model, parsed.options)
    with foreign_errors(HearError, f"{spec}: load_model failed", "; check the weights"):
        takes = "precision" in inspect.signature(module.load_model).parameters
        options = ({"precision": precision} if takes else {}) | parsed.options
        model = module.load_model(*([weights] if weights else []), **options)
    check_attributes(parsed.module, model)
    weights_hash = weights_fingerprint(module, model, weights)
    try:
        chosen = torch.empty(0, device=device).device  # a model without parameters goes anywhere
        model = model.to(chosen).eval()
    except (RuntimeError, AssertionError) as error:
        raise HearError(
            f"{spec}: device {device!r} cannot be used ({one_line(error)}); try cpu"
        ) from error
    return HearModel(spec, module, model, chosen, weights_hash)


@contextmanager
def capture_untrained_warning(notes: list[str]) -> Iterator[list[str]]:
    """Yield, filled at the end, a module's warnings that it is untrained; all are shown as ever.

    `notes` gets each text once.
    """
    untrained: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        # Python shows a warning once per line of code: the second task must get it too.
        warnings.filterwarnings("always", message="(?i).*untrained", category=UserWarning)
        yield untrained
    for each in caught:
        warnings.showwarning(each.message, each.category, each.filename, each.lineno, line="")
    texts = [str(each.message) for each in caught]
    untrained += [text for text in texts if "untrained" in text.lower()]
    notes += dict.fromkeys(untrained)
