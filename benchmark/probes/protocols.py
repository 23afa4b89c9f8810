"""The protocols that score embeddings; each has a version, and two versions share no column."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn
from typing import Protocol as Interface

import numpy as np

from benchmark.data.split import Fold
from benchmark.probes import knn, linear, mlp
from benchmark.probes.rows import ProbeError, ProbeResult


class Evaluate(Interface):
    """Selects on validation rows, then predicts every row that a fold tests."""

    def __call__(
        self,
        embeddings: np.ndarray,
        labels: np.ndarray,
        folds: Sequence[Fold],
        n_classes: int,
        *,
        device: str = "cpu",
        seed: int = 0,
    ) -> ProbeResult:
        """Return the result; the same seed gives the same result.

        Args:
            embeddings: possibly memory-mapped, `[n, D]`.
            labels: class indices, `[n]`.
            folds: whose test rows do not overlap.
            n_classes: number of classes of the task.
            device: torch device that does the work.
            seed: of all that is random.

        Raises:
            ProbeError: a fold lacks rows, or a label or an embedding is out of range.
        """


@dataclass(frozen=True)
class Protocol:
    """A way to score embeddings."""

    name: str  #: on the command line
    version: str  #: in results; changes whenever the same embeddings could score otherwise
    setting: str  #: what is selected on validation rows, as results name it
    random: bool  #: whether the result depends on the seed
    #: the protocol itself. That of "finetune" needs audio: `benchmark.evaluate` puts a
    #: `benchmark.finetune.protocol.Finetune` in its place
    evaluate: Evaluate


def needs_audio(*args: Any, **options: Any) -> NoReturn:  # noqa: ANN401
    """Raise ProbeError: embeddings alone cannot be fine-tuned."""
    raise ProbeError("the protocol finetune needs audio, not embeddings: use benchmark.run")


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("linear", linear.PROTOCOL, "strength", random=False, evaluate=linear.evaluate),
        Protocol("knn", knn.PROTOCOL, "neighbours", random=False, evaluate=knn.evaluate),
        Protocol("mlp", mlp.PROTOCOL, "learning_rate", random=True, evaluate=mlp.evaluate),
        Protocol("finetune", "finetune-1", "learning_rate", random=True, evaluate=needs_audio),
    )
}
