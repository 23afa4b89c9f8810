"""A classifier judged on whole clips, each as it is: no crop, no padding, no augmentation."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import cross_entropy

from benchmark.finetune.model import Classifier
from benchmark.probes.rows import ProbeError
from wavebyol_hear.files.read_ahead import of_one_length, read_batches

BATCH_SECONDS = 64.0


class FinetuneError(ProbeError):
    """Clips that nothing can be trained, chosen or tested on; one line with the remedy."""


@dataclass(frozen=True)
class Sounds:
    """The clips of a task as fine-tuning sees them.

    Attributes:
        paths: of the files, by row; all can be read.
        labels: class numbers.
        n_classes: number of classes of the task.
        sample_rate: wanted, in Hz.
        workers: threads that decode, 0 or more.
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
        predicted: the class number given to each row.
        accuracy: in percent.
        loss: mean cross-entropy.

    Shape:
        predicted `[n]`.
    """

    predicted: np.ndarray
    accuracy: float
    loss: float

    def beats(self, accuracy: float, loss: float) -> bool:
        """Return whether this is more accurate, or as accurate at a lower loss."""
        return (self.accuracy, -self.loss) > (accuracy, -loss)


def judge(classifier: Classifier, sounds: Sounds, rows: np.ndarray) -> Judged:
    """Score a classifier on whole clips, in batches of one length.

    Args:
        classifier: put in evaluation mode.
        sounds: all clips.
        rows: to score, ascending.

    Raises:
        FinetuneError: there is no row, or a clip can no longer be read.
        HearError: the module fails on a clip.
    """
    if not len(rows):
        raise FinetuneError(f"{sounds.title}: a part of the split has no clips; add them")
    classifier.eval()
    predicted = np.full(len(rows), -1, dtype=np.int64)
    total = 0.0
    with closing(
        read_batches(sounds.paths, rows.tolist(), sounds.sample_rate, sounds.workers, BATCH_SECONDS)
    ) as batches:
        for batch in batches:
            for some, block in of_one_length(zip(*together(batch, sounds), strict=True)):
                with torch.no_grad():
                    logits = classifier(torch.from_numpy(block))
                targets = torch.from_numpy(sounds.labels[some]).to(logits.device)
                total += cross_entropy(logits, targets, reduction="sum").item()
                predicted[np.searchsorted(rows, some)] = logits.argmax(1).cpu().numpy()
    accuracy = 100.0 * float((predicted == sounds.labels[rows]).mean())
    return Judged(predicted, accuracy, total / len(rows))


def together(
    batch: Sequence[tuple[int, np.ndarray | str]], sounds: Sounds
) -> tuple[list[int], list[np.ndarray]]:
    """Return the rows and the waves of a batch.

    Raises:
        FinetuneError: a clip that could be embedded can no longer be read.
    """
    rows, waves = [], []
    for row, wave in batch:
        if isinstance(wave, str):
            raise FinetuneError(f"{sounds.title}: a clip can no longer be read ({wave}); run again")
        rows.append(row)
        waves.append(wave)
    return rows, waves
