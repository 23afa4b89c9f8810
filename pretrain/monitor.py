"""Seeing a run learn: progress bar, JSON lines, TensorBoard, signs of collapse, an online probe."""

import json
import logging
import math
import sys
from collections import defaultdict
from pathlib import Path
from time import perf_counter
from types import ModuleType

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize
from tqdm import tqdm

from pretrain.methods.method import Method
from wavebyol_hear.audio import read_audio
from wavebyol_hear.encoder import Encoder
from wavebyol_hear.front_end import BankFrontEnd, mel_bands, window_frames

log = logging.getLogger(__name__)
COLLAPSED = 0.1
LEAKS = 0.1
BANDWIDTHS = 4  # to either side of its centre, within which a filter is to hear
CROPS = 16  # that the leak is measured on
STEP_PARTS = ("data", "augment", "model")
NEIGHBORS, PROBE_BATCH, PROBE_SECONDS = 5, 64, 2.56


def spread(projections: Tensor) -> float:
    """Return the standard deviation of the normalized projections, times sqrt(D).

    1 where the directions are even over the sphere, 0 where all are one (collapse).

    Shape:
        projections [B, D].
    """
    rows = normalize(projections.float(), dim=1)
    return float(rows.std(0).mean() * math.sqrt(rows.shape[1]))


def rank_me(projections: Tensor) -> float:
    """Return RankMe, the exponential of the entropy of the singular values; 1 to min(B, D).

    Shape:
        projections [B, D].

    Source: RankMe (arXiv 2210.02885), equation 3.
    """
    values = torch.linalg.svdvals(projections.float())
    share = values / values.sum() + 1e-7
    return float(torch.exp(-(share * share.log()).sum()))


@torch.no_grad()
def filter_bank(encoder: object, wave: Tensor) -> dict[str, float]:
    """Return how far a learned filter bank has moved, and how much of what it hears is leak.

    `bank/movement` is the norm of the change of its taps over that of the taps at first.
    `bank/leak` is the share of frames and bands whose energy comes mostly from outside
    four bandwidths to either side of the band's centre: Adam moves taps by what loud bands tell,
    and the logarithm looks at quiet ones as much (docs/runs.md).

    Args:
        encoder: of the run; of one without such a front end there is nothing to say.
        wave: a batch of crops, of which a few are looked at.

    Shape:
        wave [B, 1, T].
    """
    if not isinstance(encoder, Encoder) or not isinstance(encoder.front_end, BankFrontEnd):
        return {}
    bank = encoder.front_end
    first, taps, config = bank.initial_taps().to(bank.taps), bank.taps, bank.config
    centre, bandwidth = (b.to(taps.device)[:, None] for b in mel_bands(config, bank.sample_rate))
    frequency = torch.fft.rfftfreq(config.taps, 1 / bank.sample_rate, device=taps.device)
    outside = ((frequency - centre).abs() > BANDWIDTHS * bandwidth).repeat(2, 1)
    strays = torch.fft.irfft(torch.fft.rfft(taps) * outside, config.taps)
    level = encoder.input_norm(encoder.emphasize(wave[:CROPS].to(taps)))
    windows = window_frames(level, config)
    within, beyond = (
        (windows @ part.T).square().unflatten(2, (2, -1)).sum(2) for part in (taps - strays, strays)
    )
    return {
        "bank/movement": float((taps - first).norm() / first.norm()),
        "bank/leak": float((beyond > within).float().mean()),
    }


class Clock:
    """Adds up the seconds of named parts of the steps between two log lines."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.last = perf_counter()

    def lap(self, part: str) -> None:
        """Add the time since the last lap to a part; on a GPU, waits for its work."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        now = perf_counter()
        self.seconds[part] += now - self.last
        self.last = now

    def restart(self) -> None:
        """Leave the time since the last lap out."""
        self.last = perf_counter()

    def take(self, clips: int) -> dict[str, float]:
        """Return each part's share of the time, and begin again; and clips per second.

        What is logged, probed and saved has its own shares and does not count in the latter.
        """
        total = sum(self.seconds.values())
        steps = sum(self.seconds[part] for part in STEP_PARTS)
        shares = {f"share/{part}": seconds / total for part, seconds in self.seconds.items()}
        self.seconds.clear()
        return {"clips_per_second": clips / steps, **shares}


class Monitor:
    """Writes what a run says of itself; silent on all ranks but 0.

    Args:
        folder: gets `log.jsonl` and TensorBoard's files.
        start: steps done before.
        steps: length of the run.
        active: whether this process writes.
    """

    def __init__(self, folder: Path, start: int, steps: int, *, active: bool) -> None:
        self.active = active
        self.warned: set[str] = set()
        self.bar = tqdm(total=steps, initial=start, unit="step", disable=not active, mininterval=2)
        if active:
            # TensorBoard's own switch to do without TensorFlow, whose import takes many seconds.
            sys.modules.setdefault("tensorboard.compat.notf", ModuleType("notf"))
            from torch.utils.tensorboard import SummaryWriter

            self.lines = (folder / "log.jsonl").open("a")
            self.board = SummaryWriter(str(folder))

    def close(self) -> None:
        """Close the files."""
        self.bar.close()
        if self.active:
            self.lines.close()
            self.board.close()

    def write(self, step: int, values: dict[str, float]) -> None:
        """Write one line of values, and warn once where the projections collapse."""
        if not self.active:
            return
        rounded = {name: float(f"{value:.6g}") for name, value in values.items()}
        self.lines.write(json.dumps({"step": step, **rounded}) + "\n")
        self.lines.flush()
        for name, value in values.items():
            self.board.add_scalar(name, value, step)
        shown = ("loss", "spread", "clips_per_second")
        self.bar.set_postfix({n: f"{values[n]:.3g}" for n in shown if n in values})
        if values.get("spread", 1.0) < COLLAPSED:
            self._warn_once(
                "spread",
                f"step {step}: the projections collapse (spread {values['spread']:.3f}, healthy is "
                "near 1): lower the learning rate, or raise tau or the batch",
            )
        if values.get("bank/leak", 0.0) > LEAKS:
            self._warn_once(
                "leak",
                f"step {step}: {values['bank/leak']:.0%} of the filter bank's energies come from "
                "other bands (healthy is below 10%): its filters are held from here on; a lower "
                "optim.front_end_scale would let them learn longer",
            )

    def _warn_once(self, about: str, text: str) -> None:
        """Warn of what was not warned of yet."""
        if about not in self.warned:
            self.warned.add(about)
            log.warning("%s", text)


def read_probe(folder: str, sample_rate: int) -> tuple[Tensor, Tensor]:
    """Read a folder of `class/clip` audio, each clip's first 2.56 s, shorter ones zero-padded.

    Shape:
        returns waves [N, 1, T] and labels [N].

    Raises:
        ValueError: fewer than two classes, or no clip.
    """
    paths = sorted(p for p in Path(folder).glob("*/*") if p.is_file())
    names = sorted({p.parent.name for p in paths})
    if len(names) < 2:
        raise ValueError(f"run.probe: {folder} holds {len(names)} classes: lay it out class/clip")
    length = int(PROBE_SECONDS * sample_rate)
    waves = np.zeros((len(paths), 1, length), np.float32)
    for row, path in zip(waves, paths, strict=True):
        clip = read_audio(path, sample_rate)[:length]
        row[0, : len(clip)] = clip
    labels = torch.tensor([names.index(p.parent.name) for p in paths])
    return torch.from_numpy(waves), labels


@torch.no_grad()
def knn_accuracy(method: Method, waves: Tensor, labels: Tensor, device: torch.device) -> float:
    """Return the leave-one-out accuracy (percent) of a majority of 5 neighbors by cosine.

    Features are standardised over the clips. The method is put in evaluation mode and back.

    Shape:
        waves [N, 1, T], labels [N].
    """
    was_training = method.training
    method.eval()
    batches = waves.split(PROBE_BATCH)
    rows = torch.cat([method.embed(batch.to(device)).float().cpu() for batch in batches])
    method.train(was_training)
    rows = (rows - rows.mean(0)) / rows.std(0).clamp_min(1e-6)
    rows = normalize(rows, dim=1)
    similarity = (rows @ rows.T).fill_diagonal_(-2)
    nearest = labels[similarity.topk(NEIGHBORS, dim=1).indices]
    return float((nearest.mode(dim=1).values == labels).float().mean()) * 100
