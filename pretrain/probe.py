"""An online probe: nearest neighbours on a small labelled folder, to see a run learn.

It watches and decides nothing; the benchmark measures what a representation is worth.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor, nn

from pretrain.methods.method import Method
from wavebyol_hear.audio import read_audio
from wavebyol_hear.encoder import EncoderConfig

NEIGHBOURS = 5
BATCH = 64


@dataclass(frozen=True)
class Probe:
    """Labelled clips of one length: waves [N, 1, T], labels [N]."""

    waves: Tensor
    labels: Tensor


def read_probe(folder: str, config: EncoderConfig, seconds: float = 2.56) -> Probe:
    """Read a folder of `class/clip` audio, each clip's first seconds, shorter ones zero-padded.

    Raises:
        ValueError: fewer than two classes, or no clip.
    """
    paths = sorted(p for p in Path(folder).glob("*/*") if p.is_file())
    names = sorted({p.parent.name for p in paths})
    if len(names) < 2:
        raise ValueError(f"run.probe: {folder} holds {len(names)} classes: lay it out class/clip")
    length = int(seconds * config.sample_rate)
    waves = np.zeros((len(paths), 1, length), np.float32)
    for row, path in zip(waves, paths, strict=True):
        clip = read_audio(path, config.sample_rate)[:length]
        row[0, : len(clip)] = clip
    labels = torch.tensor([names.index(p.parent.name) for p in paths])
    return Probe(torch.from_numpy(waves), labels)


@torch.no_grad()
def knn_accuracy(method: nn.Module, probe: Probe, device: torch.device) -> float:
    """Return the leave-one-out accuracy (percent) of a majority of 5 neighbours by cosine.

    Features are standardised over the clips. The method is put in evaluation mode and back.
    """
    was_training = method.training
    method.eval()
    embed = cast(Method, method).embed
    rows = torch.cat([embed(b.to(device)).float().cpu() for b in probe.waves.split(BATCH)])
    method.train(was_training)
    rows = (rows - rows.mean(0)) / rows.std(0).clamp_min(1e-6)
    rows = nn.functional.normalize(rows, dim=1)
    likeness = (rows @ rows.T).fill_diagonal_(-2)
    nearest = probe.labels[likeness.topk(NEIGHBOURS, dim=1).indices]
    return float((nearest.mode(dim=1).values == probe.labels).float().mean()) * 100
