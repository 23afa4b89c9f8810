"""A classifier for fine-tuning: an encoder, called through the HEAR API, with a linear head.

Clips are scored as a whole, without crop, padding or augmentation.
"""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.nn.modules.batchnorm import _BatchNorm

from benchmark.finetune.config import FinetuneConfig
from benchmark.probes.linear import LinearProbe
from benchmark.probes.rows import ProbeError
from wavebyol_hear.files.hear_module import HearModel
from wavebyol_hear.files.model_spec import HearError
from wavebyol_hear.files.read_ahead import Reader, of_one_length

BATCH_SECONDS = 64.0
MIN_BIAS = -20.0
"""Bias of a class without training clips. The probe has minus infinity there, which times a target
of 0 would be NaN."""

Head = dict[str, Tensor]
"""Initial head: mean and scale `[D]`, weight `[K, D]` and bias `[K]`."""


class FinetuneError(ProbeError):
    """Clips that cannot be used to train, select or test; one line with the remedy."""


class NoGradientError(HearError):
    """A module that cannot be trained through its HEAR function; one line with the remedy."""


@dataclass(frozen=True)
class Setup:
    """The model, clips and configuration that all folds share."""

    hear: HearModel  #: the module, whose model is trained in place
    initial: dict[str, Tensor]  #: state of the model before training
    paths: Sequence[str]  #: of the files, by row; all are readable
    labels: np.ndarray  #: class indices, by row
    n_classes: int  #: number of classes of the task
    workers: int  #: threads that decode, 0 or more
    title: str  #: of the progress bars and messages
    config: FinetuneConfig  #: of the training
    samples: int  #: of a training clip
    seed: int  #: of all random numbers

    def readable(
        self, batch: Sequence[tuple[int, np.ndarray | str]]
    ) -> tuple[list[int], list[np.ndarray]]:
        """Return the rows and waves of a decoded batch; raise FinetuneError for an unread clip."""
        for _, wave in batch:
            if isinstance(wave, str):
                raise FinetuneError(
                    f"{self.title}: a clip can no longer be read ({wave}); run again"
                )
        return [row for row, _ in batch], [wave for _, wave in batch if not isinstance(wave, str)]


class Classifier(nn.Module):
    """A HEAR model, a fixed standardization and a linear layer: float32 `[B, n] -> [B, K]`."""

    mean: Tensor
    scale: Tensor

    def __init__(self, setup: Setup, head: Head) -> None:
        super().__init__()
        self.hear = hear = setup.hear
        self.encoder = hear.model
        self.encoder.load_state_dict(setup.initial)
        self.register_buffer("mean", head["mean"].to(hear.device))
        self.register_buffer("scale", head["scale"].to(hear.device))
        n_classes, size = head["weight"].shape
        self.linear = nn.utils.skip_init(nn.Linear, size, n_classes, device=hear.device)
        self.linear.load_state_dict({name: head[name] for name in ("weight", "bias")})

    def forward(self, audio: Tensor) -> Tensor:
        """Return the logits of a batch of clips of one length."""
        logits: Tensor = self.linear((self.hear.embed(audio) - self.mean) / self.scale)
        return logits

    def groups(self, rate: float, config: FinetuneConfig) -> list[dict[str, object]]:
        """Return the parameters for an optimizer: of vectors, such as biases, none is decayed."""
        groups: list[dict[str, object]] = []
        for part, lr in ((self.encoder, rate), (self.linear, config.head_learning_rate)):
            for matrix, decay in ((True, config.weight_decay), (False, 0.0)):
                params = [
                    x for x in part.parameters() if x.requires_grad and matrix == (x.dim() > 1)
                ]
                if params:
                    groups.append({"params": params, "lr": lr, "weight_decay": decay})
        return groups


def head_of(probe: LinearProbe) -> Head:
    """Return the head that computes what a probe of one fold and one C computes."""
    return {
        "mean": probe.mean[0].clone(),
        "scale": probe.scale[0].clone(),
        "weight": probe.weight[0, :, 0].T.clone(),
        "bias": probe.bias[0, 0].clamp_min(MIN_BIAS),
    }


def copy_state(module: nn.Module) -> dict[str, Tensor]:
    """Return a module's state as it is now, on the CPU."""
    return {name: value.to("cpu", copy=True) for name, value in module.state_dict().items()}


def freeze_batch_norm(module: nn.Module) -> None:
    """Put the BatchNorms of a module into evaluation mode."""
    for layer in module.modules():
        if isinstance(layer, _BatchNorm):
            layer.eval()


@dataclass(frozen=True)
class ClipScores:
    """A classifier's scores on some rows."""

    predicted: np.ndarray  #: the class index of each row
    accuracy: float  #: in percent
    loss: float  #: mean cross-entropy


def score_clips(classifier: Classifier, setup: Setup, rows: np.ndarray) -> ClipScores:
    """Score a classifier on whole clips, in batches of one length."""
    if not len(rows):
        raise FinetuneError(f"{setup.title}: a part of the split has no clips; add them")
    classifier.eval()
    predicted = np.full(len(rows), -1, dtype=np.int64)
    total = 0.0
    reader = Reader(setup.paths, setup.hear.sample_rate)
    with closing(reader.batches(rows, setup.workers, BATCH_SECONDS)) as batches:
        for batch in batches:
            for some, block in of_one_length(zip(*setup.readable(batch), strict=True)):
                with torch.no_grad():
                    logits = classifier(torch.from_numpy(block))
                targets = torch.from_numpy(setup.labels[some]).to(logits.device)
                total += cross_entropy(logits, targets, reduction="sum").item()
                predicted[np.searchsorted(rows, some)] = logits.argmax(1).cpu().numpy()
    accuracy = 100.0 * float((predicted == setup.labels[rows]).mean())
    return ClipScores(predicted, accuracy, total / len(rows))


def check_trainable(hear: HearModel, samples: int) -> None:
    """Raise NoGradientError unless gradients come through a training module's scene embeddings."""
    trained = [each for each in hear.model.parameters() if each.requires_grad]
    if not trained:
        raise NoGradientError(
            f"{hear.spec}: the model has no parameters to train; --protocol finetune needs a "
            "torch module with parameters"
        )
    hear.model.train()
    freeze_batch_norm(hear.model)  # trying it must not change the statistics
    noise = torch.randn(2, samples, generator=torch.Generator().manual_seed(0))
    with torch.enable_grad():
        scenes = hear.embed(0.1 * noise)
        reached = scenes.requires_grad and any(
            each is not None
            for each in torch.autograd.grad(scenes.sum(), trained, allow_unused=True)
        )
    hear.model.eval()
    if not reached:
        raise NoGradientError(
            f"{hear.spec}: get_scene_embeddings gives no gradient to a model in training mode; "
            "let it compute under torch.set_grad_enabled(model.training and "
            "torch.is_grad_enabled()), without model.eval() there, or set "
            "forward_embeds_scenes = True on a model that embeds scenes when it is called"
        )
