"""The protocols that score embeddings; each has a version, and two versions share no column."""

from dataclasses import dataclass
from typing import Any, NoReturn
from typing import Protocol as Interface

from benchmark.probes import knn, linear, mlp
from benchmark.probes.rows import Examples, ProbeError, ProbeResult


class Evaluate(Interface):
    """Selects on validation rows, then predicts every row that a fold tests."""

    def __call__(self, data: Examples, *, device: str = "cpu", seed: int = 0) -> ProbeResult:
        """Return the result; the same seed, of all that is random, gives the same result.

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
