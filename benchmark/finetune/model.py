"""An encoder with a linear head, trained through the HEAR function that embeds scenes."""

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from benchmark.embed.model import HearError, HearModel
from benchmark.finetune.config import FinetuneConfig
from benchmark.probes.linear import LinearProbe

LEAST_BIAS = -20.0
"""Of a class without training clips, which the probe gives minus infinity: times a target of 0
that would be no number."""

Head = dict[str, Tensor]
"""Mean and scale `[D]`, weight `[K, D]` and bias `[K]`: what a head is before it is trained."""


class NoGradientError(HearError):
    """A module that cannot be trained through its HEAR function; one line with the remedy."""


def head_of(probe: LinearProbe) -> Head:
    """Return the head that does what a probe of one fold and one strength does."""
    return {
        "mean": probe.mean[0].clone(),
        "scale": probe.scale[0].clone(),
        "weight": probe.weight[0, :, 0].T.clone(),
        "bias": probe.bias[0, 0].clamp_min(LEAST_BIAS),
    }


def copy_state(module: nn.Module) -> dict[str, Tensor]:
    """Return a module's state as it is now, on the CPU."""
    return {name: value.to("cpu", copy=True) for name, value in module.state_dict().items()}


class Classifier(nn.Module):
    """A HEAR model, a fixed standardisation and a linear layer.

    Args:
        hear: the module, whose model is trained in place: foreign models need not survive a copy.
        initial: the model's state, where its training begins.
        head: where the training of the head begins.

    Shape:
        float32 [B, n] -> [B, K].
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, hear: HearModel, initial: dict[str, Tensor], head: Head) -> None:
        """Bring the model to its initial state and copy the head."""
        super().__init__()
        self.hear = hear
        self.encoder = hear.model
        self.encoder.load_state_dict(initial)
        self.register_buffer("mean", head["mean"].to(hear.device))
        self.register_buffer("scale", head["scale"].to(hear.device))
        n_classes, size = head["weight"].shape
        self.linear = nn.utils.skip_init(nn.Linear, size, n_classes, device=hear.device)
        with torch.no_grad():
            self.linear.weight.copy_(head["weight"])
            self.linear.bias.copy_(head["bias"])

    def forward(self, audio: Tensor) -> Tensor:
        """Return the logits of a batch of clips of one length."""
        logits: Tensor = self.linear((self.hear.embed(audio) - self.mean) / self.scale)
        return logits

    def training_mode(self, batch_norm: str) -> None:
        """Go into training mode, with the BatchNorms as the configuration has them."""
        self.train()
        if batch_norm == "frozen":
            for module in self.encoder.modules():
                if isinstance(module, _BatchNorm):
                    module.eval()

    def groups(self, rate: float, config: FinetuneConfig) -> list[dict[str, object]]:
        """Return the parameters for an optimiser: encoder and head, decayed or not.

        Biases, scales and other vectors are not decayed.
        """
        groups: list[dict[str, object]] = []
        for part, part_rate in ((self.encoder, rate), (self.linear, config.head_learning_rate)):
            trained = [each for each in part.parameters() if each.requires_grad]
            for decay, chosen in (
                (config.weight_decay, [each for each in trained if each.dim() > 1]),
                (0.0, [each for each in trained if each.dim() <= 1]),
            ):
                if chosen:
                    groups.append({"params": chosen, "lr": part_rate, "weight_decay": decay})
        return groups


def check_trainable(hear: HearModel, samples: int) -> None:
    """Raise unless gradients come through the module's scene embeddings in training mode.

    Args:
        hear: the module; left in evaluation mode.
        samples: of the clip it is tried on.

    Raises:
        NoGradientError: no parameters to train, or no gradient.
        EncodeError: the module raises.
    """
    trained = [each for each in hear.model.parameters() if each.requires_grad]
    if not trained:
        raise NoGradientError(
            f"{hear.spec}: the model has no parameters to train; --protocol finetune needs a "
            "torch module with parameters"
        )
    hear.model.train()
    for module in hear.model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()  # trying it must not move the statistics
    noise = torch.randn(2, samples, generator=torch.Generator().manual_seed(0))
    with torch.enable_grad():
        answer = hear.embed(0.1 * noise)
        reached = answer.requires_grad and any(
            each is not None
            for each in torch.autograd.grad(answer.sum(), trained, allow_unused=True)
        )
    hear.model.eval()
    if not reached:
        raise NoGradientError(
            f"{hear.spec}: get_scene_embeddings gives no gradient to a model in training mode; "
            "let it compute under torch.set_grad_enabled(model.training and "
            "torch.is_grad_enabled()), and without model.eval() there"
        )
