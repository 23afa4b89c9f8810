"""Pooling: from the feature maps of an encoder to an embedding.

A pooling defines which statistics over time are computed of which stage (the image below the Conv2d
stack, the feature map of each block), and whether rows are kept. The same pooling is used for
scenes, over the whole clip, and for timestamps, over a window around each of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import torch
from torch import Tensor

from wavebyol_hear.stream import Stage

Statistic = Literal["mean", "max", "std"]
# Added to a variance under the root: its gradient is finite where a row stands still.
VARIANCE_FLOOR = 1e-10
# Maximum size for which every stage is pooled by default.
MAX_DEFAULT_SIZE = 8192


@dataclass(frozen=True)
class Pooling:
    """The statistics of each stage that form an embedding.

    Args:
        image: statistics over time of the image below the Conv2d stack, for each row.
        blocks: statistics of the feature maps of all blocks except the last.
        last: statistics of the last feature map.
        rows: whether rows are kept; otherwise statistics are over rows and time.
        add: whether the statistics of a stage are added, as the authors do, or concatenated.
        compress: c of the compression x -> sign(x) log(1 + c |x|), which shortens the long tails of
            maxima; 0 for none.
    """

    image: tuple[Statistic, ...] = ()
    blocks: tuple[Statistic, ...] = ()
    last: tuple[Statistic, ...] = ("mean", "max")
    rows: bool = True
    add: bool = False
    compress: float = 0.0

    def __post_init__(self) -> None:
        """Check that the statistics can be joined."""
        if not self.rows and "std" in {*self.image, *self.blocks, *self.last}:
            raise ValueError("a deviation over all rows does not follow from those of each row")

    def of_stages(self, count: int) -> list[tuple[Statistic, ...]]:
        """Return the statistics of each of `count` stages, the image first."""
        return [self.image, *[self.blocks] * (count - 2), self.last]

    def size(self, stages: Sequence[Stage], one_column: Sequence[bool] = ()) -> int:
        """Return the length of an embedding.

        Args:
            stages: shapes of the maps, the image first.
            one_column: of each stage, whether statistics are over windows of one column; by
                default over the whole clip.
        """
        size = 0
        for index, (stage, wanted) in enumerate(
            zip(stages, self.of_stages(len(stages)), strict=True)
        ):
            if one_column and one_column[index]:
                wanted = self.of_one_column(wanted)
            numbers = stage.channels * (stage.rows if self.rows else 1)
            size += numbers * (min(len(wanted), 1) if self.add else len(wanted))
        return size

    def of_one_column(self, wanted: tuple[Statistic, ...]) -> tuple[Statistic, ...]:
        """Return the statistics of a window of one column, where mean and max are the same."""
        return wanted[:1] if self.rows and not self.add else wanted

    def parts(self, values: dict[Statistic, Tensor], wanted: Sequence[Statistic]) -> list[Tensor]:
        """Return what is kept of one stage's statistics, one tensor after another.

        Shape:
            values [B, C, R, ...] each -> [B, C, R or 1, ...] each.
        """
        parts = [values[name] if self.rows else _over_rows(values[name], name) for name in wanted]
        return [torch.stack(parts).sum(0)] if self.add and parts else parts

    def compressed(self, values: Tensor) -> Tensor:
        """Return pooled values, compressed where the pooling asks for it."""
        if not self.compress:
            return values
        return values.sign() * (self.compress * values.abs()).log1p()


# `global` is what the authors pretrain on, `bands` what they probe (FACTS: AdaptiveAvgPool +
# AdaptiveMaxPool to (1, 1) and to (10, 1), added). `contrast` leaves the means out,
# at 1.5 points more than `stages`: the mean of three small sets and two trainings' weights, under
# a ridge classifier (docs/runs.md); `maxima` found most onsets of real sounds in noise (there).
POOLINGS: dict[str, Pooling] = {
    "global": Pooling(rows=False, add=True),
    "bands": Pooling(add=True),
    "stages": Pooling(image=("mean", "max", "std"), blocks=("mean", "max")),
    "contrast": Pooling(
        image=("max", "std"), blocks=("max", "std"), last=("max", "std"), compress=10
    ),
    "maxima": Pooling(image=("max",), blocks=("max",), last=("max",)),
}
OF_SCENES, OF_TIMESTAMPS = "contrast", "maxima"


def choose(pooling: str | Pooling | None, stages: Sequence[Stage]) -> tuple[Pooling, Pooling]:
    """Return the poolings of scenes and timestamps for an argument of `load_model`.

    None means `contrast` and `maxima`, or `global` if `contrast` would be too large.

    Raises:
        ValueError: the name is unknown.
    """
    if isinstance(pooling, Pooling):
        return pooling, pooling
    if pooling is None:
        if POOLINGS[OF_SCENES].size(stages) <= MAX_DEFAULT_SIZE:
            return POOLINGS[OF_SCENES], POOLINGS[OF_TIMESTAMPS]
        pooling = "global"
    if pooling not in POOLINGS:
        raise ValueError(f"pooling {pooling!r} is unknown: it is one of {', '.join(POOLINGS)}")
    return POOLINGS[pooling], POOLINGS[pooling]


def name_of(pooling: Pooling) -> str:
    """Return a pooling's name in `POOLINGS`, or `?`."""
    return next((name for name, known in POOLINGS.items() if known == pooling), "?")


def _over_rows(values: Tensor, name: Statistic) -> Tensor:
    """Carry a statistic over time on to the rows; every row has as many frames."""
    return values.amax(2, keepdim=True) if name == "max" else values.mean(2, keepdim=True)


class TimeStatistics:
    """Statistics over time of a map that comes in pieces.

    Means and variances are merged piece by piece (Chan, Golub and LeVeque 1979): the plain sum of
    squares would lose a small deviation beside a large mean.

    Args:
        wanted: the statistics to keep; none of them makes `update` free.
    """

    def __init__(self, wanted: Sequence[Statistic]) -> None:
        """Start with no columns seen."""
        self.wanted = wanted
        self._count = 0
        self._values: dict[Statistic, Tensor] = {}

    def update(self, piece: Tensor) -> None:
        """Take in the columns of a piece [B, C, R, t]; t may be 0."""
        count = piece.shape[-1]
        if not self.wanted or count == 0:
            return
        # Channels stay innermost, in the result too: reductions are up to 30 times faster so.
        rows = piece.movedim(1, -1)
        maxima = rows.amax(2)
        rows = rows.to(torch.promote_types(piece.dtype, torch.float32))
        means = rows.mean(2, keepdim=True)
        new: dict[Statistic, Tensor] = {"mean": means[:, :, 0].mT, "max": maxima.to(rows).mT}
        if "std" in self.wanted:
            # Two passes, as torch's `var` makes them, which is many times slower.
            new["std"] = (rows - means).square_().mean(2).mT
        if self._count:
            new = self._merge(new, count / (self._count + count))
        self._values = new
        self._count += count

    def _merge(self, new: dict[Statistic, Tensor], share: float) -> dict[Statistic, Tensor]:
        """Return the statistics of both; `share` is how much of the columns is new."""
        old = self._values
        step = new["mean"] - old["mean"]
        both: dict[Statistic, Tensor] = {
            "mean": old["mean"] + step * share,
            "max": torch.maximum(old["max"], new["max"]),
        }
        if "std" in new:
            within = torch.lerp(old["std"], new["std"], share)
            both["std"] = within + step.square() * (share * (1 - share))
        return both

    def values(self) -> dict[Statistic, Tensor]:
        """Return the statistics of all columns so far, [B, C, R] each."""
        values = dict(self._values)
        if "std" in values:  # Until here it is the variance.
            values["std"] = (values["std"] + VARIANCE_FLOOR).sqrt()
        return values


def window_statistics(
    columns: list[Tensor], wanted: Sequence[Statistic]
) -> dict[Statistic, Tensor]:
    """Return statistics over windows, given their first columns, their second columns and so on.

    Shape:
        columns [B, C, R, t] each -> [B, C, R, t] each.
    """
    values: dict[Statistic, Tensor] = {}
    if "max" in wanted:
        values["max"] = reduce(torch.maximum, columns)
    if "mean" in wanted or "std" in wanted:
        values["mean"] = torch.stack(columns).mean(0) if len(columns) > 1 else columns[0]
    if "std" in wanted:
        squares = torch.stack([(column - values["mean"]).square() for column in columns]).sum(0)
        values["std"] = (squares / len(columns) + VARIANCE_FLOOR).sqrt()
    return values
