"""The protocols by which embeddings are judged; each has a version, and none shares a column."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol as Interface

import numpy as np

from benchmark.data.split import Fold
from benchmark.finetune import finetune
from benchmark.finetune.protocol import without_sound
from benchmark.probes import knn, linear, mlp
from benchmark.probes.outcome import Outcome


class Evaluate(Interface):
    """Chooses on validation rows, then predicts every row that a fold tests."""

    def __call__(
        self,
        embeddings: np.ndarray,
        labels: np.ndarray,
        folds: Sequence[Fold],
        n_classes: int,
        *,
        device: str = "cpu",
        seed: int = 0,
    ) -> Outcome:
        """Return the outcome; the same seed gives the same outcome.

        Args:
            embeddings: possibly memory-mapped.
            labels: class numbers.
            folds: whose test rows do not overlap.
            n_classes: number of classes of the task.
            device: torch device that does the work.
            seed: of all that is drawn at random.

        Shape:
            embeddings `[n, D]`, labels `[n]`.

        Raises:
            ProbeError: a fold lacks rows, or a label or an embedding is out of range.
        """


@dataclass(frozen=True)
class Protocol:
    """A way to judge embeddings.

    Attributes:
        name: on the command line.
        version: in results; changes whenever the same embeddings could score otherwise.
        setting: what is chosen on validation rows, as results name it.
        random: whether the outcome depends on the seed.
        evaluate: the protocol itself.
    """

    name: str
    version: str
    setting: str
    random: bool
    evaluate: Evaluate


PROTOCOLS = {
    protocol.name: protocol
    for protocol in (
        Protocol("linear", linear.PROTOCOL, "strength", random=False, evaluate=linear.evaluate),
        Protocol("knn", knn.PROTOCOL, "neighbours", random=False, evaluate=knn.evaluate),
        Protocol("mlp", mlp.PROTOCOL, "learning_rate", random=True, evaluate=mlp.evaluate),
        # Needs sound: benchmark.evaluate puts in its place what evaluates.
        Protocol(
            "finetune", finetune.PROTOCOL, "learning_rate", random=True, evaluate=without_sound
        ),
    )
}
