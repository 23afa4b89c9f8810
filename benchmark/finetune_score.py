"""Whole clips through an encoder or a classifier: embeddings for the first head, and scores."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmark.finetune_model import Classifier
from benchmark.hear_api import EncodeError
from benchmark.read_ahead import read_batches

BATCH_SECONDS = 64.0


class FinetuneError(ValueError):
    """Clips that nothing can be trained, chosen or tested on; one line with the remedy."""


@dataclass(frozen=True)
class Sounds:
    """The clips of a task as fine-tuning sees them.

    Attributes:
        paths: of the files, by row.
        labels: class numbers.
        n_classes: number of classes of the task.
        sample_rate: wanted, in Hz.
        workers: processes that decode, 0 or more.
        title: of the progress bars.

    Shape:
        paths and labels `[n]`.
    """

    paths: Sequence[str]
    labels: np.ndarray
    n_classes: int
    sample_rate: int
    workers: int
    title: str


@dataclass(frozen=True)
class Judged:
    """What a classifier made of some rows.

    Attributes:
        rows: that could be read, ascending.
        predicted: the class number given to each.
        accuracy: in percent.
        loss: mean cross-entropy.

    Shape:
        rows and predicted `[n]`.
    """

    rows: np.ndarray
    predicted: np.ndarray
    accuracy: float
    loss: float


def outputs(
    function: Callable[[Tensor], Tensor], sounds: Sounds, rows: np.ndarray, errors: dict[int, str]
) -> Iterator[tuple[list[int], Tensor]]:
    """Yield rows and what a function returns of their whole clips, without gradients.

    Only clips of one length share a batch; where a batch fails, each clip goes by itself.

    Args:
        function: of waves `[B, n]`.
        sounds: all clips.
        rows: wanted.
        errors: gets the reason of every row that is left out.
    """
    batches = read_batches(
        sounds.paths, rows.tolist(), sounds.sample_rate, sounds.workers, BATCH_SECONDS
    )
    for batch in batches:
        by_length: dict[int, list[tuple[int, np.ndarray]]] = defaultdict(list)
        for row, wave in batch:
            if isinstance(wave, str):
                errors[row] = wave
            else:
                by_length[len(wave)].append((row, wave))
        for same in by_length.values():
            waves = torch.from_numpy(np.stack([wave for _, wave in same]))
            yield from _try(function, [row for row, _ in same], waves, errors)


def _try(
    function: Callable[[Tensor], Tensor], rows: list[int], waves: Tensor, errors: dict[int, str]
) -> Iterator[tuple[list[int], Tensor]]:
    """Yield the rows with the function's answer, or each row by itself, or note why not."""
    try:
        with torch.no_grad():
            answer = function(waves)
    except EncodeError as error:
        if len(rows) == 1:
            errors[rows[0]] = str(error)
        else:
            for place, row in enumerate(rows):
                yield from _try(function, [row], waves[place : place + 1], errors)
        return
    finite = answer.isfinite().all(1).cpu()
    for place in (~finite).nonzero().flatten().tolist():
        errors[rows[place]] = "the embedding holds NaN or infinity; mend the module"
    kept = [row for row, good in zip(rows, finite.tolist(), strict=True) if good]
    if kept:
        yield kept, answer[finite.to(answer.device)]


def judge(
    classifier: Classifier, sounds: Sounds, rows: np.ndarray, errors: dict[int, str]
) -> Judged:
    """Score a classifier on whole clips.

    Args:
        classifier: put in evaluation mode.
        sounds: all clips.
        rows: to score.
        errors: gets the reason of every row that is left out.

    Raises:
        FinetuneError: not one of the rows can be read.
    """
    classifier.eval()
    found: dict[int, int] = {}
    total = 0.0
    for some, logits in outputs(classifier, sounds, rows, errors):
        targets = torch.from_numpy(sounds.labels[some]).to(logits.device)
        total += cross_entropy(logits, targets, reduction="sum").item()
        found |= dict(zip(some, logits.argmax(1).tolist(), strict=True))
    if not found:
        reason = errors.get(int(rows[0]), "there is none") if len(rows) else "there is none"
        raise FinetuneError(f"{sounds.title}: no clip of a part can be read; the first: {reason}")
    read = np.array(sorted(found), dtype=np.int64)
    predicted = np.array([found[row] for row in read.tolist()], dtype=np.int64)
    accuracy = 100.0 * float((predicted == sounds.labels[read]).mean())
    return Judged(read, predicted, accuracy, total / len(read))


def usable(rows: np.ndarray, errors: dict[int, str]) -> np.ndarray:
    """Return the rows that nothing was wrong with so far."""
    return np.array([row for row in rows.tolist() if row not in errors], dtype=np.int64)
