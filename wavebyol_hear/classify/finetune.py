"""Training encoder and head together, from a head that was fitted to the embeddings."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from wavebyol_hear.audio import read_audio
from wavebyol_hear.classify.logistic import L2, fit, score
from wavebyol_hear.embed import Embedder
from wavebyol_hear.files.labels import LabeledFiles
from wavebyol_hear.files.read_ahead import with_progress
from wavebyol_hear.head import Head

ENCODER_RATE, HEAD_RATE = 1e-4, 1e-3
BATCH = 16
LONGEST_SECONDS = 5.0
"""Of a crop; shorter where most clips are."""


@dataclass(frozen=True)
class Tuned:
    """What fine-tuning gives.

    Attributes:
        model: trained.
        head: trained with it.
        score: accuracy or mean average precision on clips that were left out, 0 to 1.
        before: the same of a head on the untouched encoder, fitted to the same clips.
        held: which those are: `the test part`, or a fold.
    """

    model: Embedder
    head: Head
    score: float
    before: float
    held: str


def finetune_and_score(
    build: Callable[[], Embedder],
    labeled: LabeledFiles,
    features: np.ndarray,
    head: Head,
    l2: float,
    epochs: int,
) -> Tuned:
    """Fine-tune without a fold or the part `test` and score it there; with folds, again on all.

    The number of epochs is given, so nothing is chosen on the clips of the score.

    Args:
        build: returns the untouched model.
        labeled: the clips.
        features: their embeddings.
        head: fitted to the clips that the saved one may see.
        l2: its penalty.
        epochs: passes over the clips, >= 1.

    Shape:
        features float32 [clips, D].
    """
    targets, split = labeled.targets(), np.array([file.split for file in labeled.files])
    name = "test" if labeled.fixed else min(set(split))
    held, rest = np.flatnonzero(split == name), np.flatnonzero(split != name)
    paths = [labeled.root / file.path for file in labeled.files]
    model = build()
    rows = with_progress(range(len(paths)), "reading")
    waves = [torch.from_numpy(read_audio(paths[row], model.sample_rate)) for row in rows]
    penalties = [penalty for penalty in L2 if penalty >= l2]
    *_, start = fit(features[rest], targets[rest], penalties, multilabel=head.multilabel)
    before = score(start.logits(features[held]), targets[held], head.multilabel)
    first = Head(
        start.weight, start.bias, head.classes, multilabel=head.multilabel, read_out=head.read_out
    )
    title = "fine-tuning to measure" if not labeled.fixed else "fine-tuning"
    finetune(model, first, [waves[row] for row in rest], targets[rest], epochs, title=title)
    scenes = torch.from_numpy(model.embed([paths[row] for row in held]))
    logits = functional.linear(scenes, first.weight, first.bias).numpy()
    reached = score(logits, targets[held], head.multilabel)
    if labeled.fixed:
        return Tuned(model, first, reached, before, "the test part")
    model = build()
    finetune(model, head, waves, targets, epochs)
    return Tuned(model, head, reached, before, name)


def finetune(
    model: Embedder,
    head: Head,
    waves: Sequence[Tensor],
    targets: np.ndarray,
    epochs: int,
    seed: int = 0,
    title: str = "fine-tuning",
) -> None:
    """Train a model and its head in place; nothing is chosen, so nothing has to be held out.

    AdamW with a cosine schedule to zero, on random crops of one length; BatchNorms keep their
    statistics.

    Args:
        model: from `load_model`.
        head: of its embeddings.
        waves: of the clips, float32 [n] each, at the model's rate.
        targets: which clip has which class, bool [clips, classes].
        epochs: passes over the clips, >= 1.
        seed: of order and crops.
        title: of the progress bar.
    """
    generator = torch.Generator().manual_seed(seed)
    wanted = torch.from_numpy(targets).float()
    lengths = torch.tensor([len(wave) for wave in waves])
    crop = min(int(lengths.median()), round(LONGEST_SECONDS * model.sample_rate))
    groups = [
        {"params": list(model.encoder.parameters()), "lr": ENCODER_RATE},
        {"params": list(head.parameters()), "lr": HEAD_RATE},
    ]
    model.eval()
    model.encoder.requires_grad_()
    head.requires_grad_()
    optimizer = torch.optim.AdamW(groups, weight_decay=1e-4)
    steps = epochs * -(-len(waves) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in with_progress(range(epochs), title, unit="epoch"):
        for rows in torch.randperm(len(waves), generator=generator).split(BATCH):
            batch = torch.stack([_crop(waves[row], crop, generator) for row in rows.tolist()])
            logits = functional.linear(model(batch), head.weight, head.bias)
            loss = (
                functional.binary_cross_entropy_with_logits(logits, wanted[rows])
                if head.multilabel
                else functional.cross_entropy(logits, wanted[rows])
            )
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.encoder.parameters(), 1.0)
            optimizer.step()
            schedule.step()
    model.encoder.requires_grad_(False)
    head.requires_grad_(False)


def _crop(wave: Tensor, samples: int, generator: torch.Generator) -> Tensor:
    """Return a random stretch of a wave, zero-padded evenly where it is shorter."""
    spare = len(wave) - samples
    if spare <= 0:
        return functional.pad(wave, (-spare // 2, -spare - -spare // 2))
    start = int(torch.randint(spare + 1, (), generator=generator))
    return wave[start : start + samples]
