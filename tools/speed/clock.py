"""What a speed is: medians of runs taken in turn, beside the machine's own matrix product."""

import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import torch

ROOF_SIZE = 2048


@dataclass(frozen=True)
class Figure:
    """One measured number and what it has to reach.

    Attributes:
        part: of the benchmark that measured it.
        what: was measured.
        value: the number.
        unit: of the value.
        ratio: to what `what` says it is compared with; None where there is nothing to compare.
        roof: share of the machine's matrix product in the same precision; None where it computes
            no products.
        target: the minimum ratio (or maximum value, where `at_most`); None where none is set.
        at_most: whether the target is a bound from above.
    """

    part: str
    what: str
    value: float
    unit: str
    ratio: float | None = None
    roof: float | None = None
    target: float | None = None
    at_most: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the target is reached, None without one."""
        if self.target is None:
            return None
        found = self.value if self.ratio is None else self.ratio
        return found <= self.target if self.at_most else found >= self.target


@dataclass(frozen=True)
class Plan:
    """How thoroughly to measure.

    Attributes:
        runs: of each call; medians are taken of them.
        small: whether sizes are cut down to a check that everything runs and agrees.
        workers: threads that decode, 1 or more.
        counts: of clips for the growth.
        data_dir: folder of the data sets on which precisions are compared; None takes the default.
    """

    runs: int = 5
    small: bool = False
    workers: int = 1
    counts: tuple[int, ...] = (1_000, 10_000)
    data_dir: Path | None = None


def interleaved(
    calls: Mapping[str, Callable[[], object]], runs: int, *, settled: bool = False
) -> dict[str, float]:
    """Return the median seconds of each call, all called in turn `runs` times after a warm-up.

    In turn, because a machine's speed drifts by tens of percents within minutes: a ratio of
    neighbours stands where a ratio of blocks would not.

    Args:
        calls: by name.
        runs: 1 or more.
        settled: whether each timed call follows an untimed one of its own, as batch follows batch
            in use; else it pays for what the other left in the caches and took from the heap.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for run in range(runs + 1):
        for name, call in calls.items():
            if settled:
                call()
            begin = perf_counter()
            call()
            if run:
                seconds[name].append(perf_counter() - begin)
    return {name: statistics.median(values) for name, values in seconds.items()}


def matrix_product(dtype: torch.dtype, size: int = ROOF_SIZE) -> Callable[[], object]:
    """Return a call that multiplies two square matrices, and so shows the roof."""
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(size, size, generator=generator).to(dtype) for _ in range(2))
    return lambda: torch.mm(left, right)


def product_flop(size: int = ROOF_SIZE) -> float:
    """Return the operations of one `matrix_product`."""
    return 2.0 * size**3
