"""The head of a classifier, as a weights file keeps it beside the encoder."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

PREFIX, FORMAT = "head.", "wavebyol-hear-head/1"
READ_OUT = ("pooling", "whiten", "dims", "normalize")
"""Options of `load_model` that shape the embedding which a head was trained on."""


class Head(nn.Module):
    """Scene embeddings to the probabilities of classes.

    Args:
        weight: of the classes.
        bias: of the classes.
        classes: their names.
        multilabel: whether a clip may have several: a sigmoid per class in place of a softmax.
        read_out: the options in `READ_OUT` that the embeddings were made with.

    Shape:
        weight [K, D], bias [K]; [B, D] -> [B, K].
    """

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor,
        classes: tuple[str, ...],
        *,
        multilabel: bool,
        read_out: Mapping[str, Any],
    ) -> None:
        super().__init__()
        if weight.dim() != 2 or weight.shape[0] != len(classes) or bias.shape != (len(classes),):
            raise ValueError(f"the head is of other sizes than its {len(classes)} classes")
        self.classes, self.multilabel, self.read_out = classes, multilabel, dict(read_out)
        self.weight = nn.Parameter(weight.float(), requires_grad=False)
        self.bias = nn.Parameter(bias.float(), requires_grad=False)

    def forward(self, embeddings: Tensor) -> Tensor:
        """Return the probabilities; see the class."""
        logits = nn.functional.linear(embeddings, self.weight, self.bias)
        return logits.sigmoid() if self.multilabel else logits.softmax(-1)

    def header(self, encoder: nn.Module) -> str:
        """Return what a file's header says of the head, as JSON."""
        return json.dumps(
            {
                "format": FORMAT,
                "classes": self.classes,
                "multilabel": self.multilabel,
                "read_out": self.read_out,
                "encoder": encoder_hash(encoder),
            }
        )


def from_tensors(tensors: Mapping[str, Tensor], header: str | None, encoder: nn.Module) -> Head:
    """Return the head that a file's tensors and header hold.

    Raises:
        ValueError: it is incomplete, of another version, or was trained on another encoder.
    """
    try:
        facts = json.loads(header or "")
        version = facts["format"]
        if version != FORMAT:
            raise ValueError(f"the head has the format {version!r}, not {FORMAT!r}: train it again")
        if facts["encoder"] != encoder_hash(encoder):
            raise ValueError("the head was trained on another encoder than the file's: train again")
        classes = tuple(map(str, facts["classes"]))
        read_out = {key: facts["read_out"][key] for key in READ_OUT}
        weight, bias = (tensors[f"{PREFIX}{name}"] for name in ("weight", "bias"))
        if len(tensors) > 2:
            raise ValueError("the head has tensors besides weight and bias: train it again")
        return Head(weight, bias, classes, multilabel=bool(facts["multilabel"]), read_out=read_out)
    except (KeyError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"the head is incomplete ({error!r}): train it again") from error


def encoder_hash(encoder: nn.Module) -> str:
    """Return a hash of an encoder's weights, in single precision."""
    digest = hashlib.blake2b(digest_size=16)
    for name, value in sorted(encoder.state_dict().items()):
        digest.update(f"{name} {list(value.shape)}".encode())
        digest.update(value.detach().cpu().to(torch.float32).contiguous().numpy().tobytes())
    return digest.hexdigest()
