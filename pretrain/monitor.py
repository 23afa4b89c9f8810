"""Seeing a run learn: progress bar, JSON lines, TensorBoard, and the signs of collapse."""

import json
import logging
import math
from collections import defaultdict
from pathlib import Path
from time import perf_counter
from types import TracebackType

import torch
from torch import Tensor
from tqdm import tqdm

log = logging.getLogger(__name__)
COLLAPSED = 0.1


def spread(projections: Tensor) -> float:
    """Return the standard deviation of the normalised projections, times sqrt(D).

    1 where the directions are even over the sphere, 0 where all are one (collapse).

    Shape:
        projections [B, D].
    """
    rows = torch.nn.functional.normalize(projections.float(), dim=1)
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

    def take(self, clips: int) -> dict[str, float]:
        """Return clips per second and each part's share of the time, and begin anew."""
        total = sum(self.seconds.values())
        shares = {f"share/{part}": seconds / total for part, seconds in self.seconds.items()}
        self.seconds.clear()
        return {"clips_per_second": clips / total, **shares}


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
        self.warned = False
        self.bar = tqdm(total=steps, initial=start, unit="step", disable=not active, mininterval=2)
        if active:
            # Here, not above: where TensorFlow is installed this import takes seconds.
            from torch.utils.tensorboard import SummaryWriter

            self.lines = (folder / "log.jsonl").open("a")
            self.board = SummaryWriter(str(folder))

    def __enter__(self) -> "Monitor":
        """Return the monitor."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the files."""
        self.bar.close()
        if self.active:
            self.lines.close()
            self.board.close()

    def advance(self) -> None:
        """Move the bar by one step."""
        self.bar.update()

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
        if values.get("spread", 1.0) < COLLAPSED and not self.warned:
            self.warned = True
            log.warning(
                "step %d: the projections collapse (spread %.3f, healthy is near 1): lower the "
                "learning rate, or raise tau or the batch", step, values["spread"],
            )
