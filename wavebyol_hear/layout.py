"""How long an embedding is, and which pooling an encoder has by default."""

from dataclasses import dataclass

from wavebyol_hear.pooling import MOST_BY_DEFAULT, OF_SCENES, OF_TIMESTAMPS, POOLINGS, Pooling
from wavebyol_hear.stream import Stage
from wavebyol_hear.timestamps import TimeGrid


@dataclass(frozen=True)
class Layout:
    """The shapes of an encoder's maps, as far as poolings depend on them.

    Args:
        stages: the image under the Conv2d stack, then each block's map.
        grid: where timestamps lie.
    """

    stages: list[Stage]
    grid: TimeGrid

    def choose(self, pooling: str | Pooling | None) -> tuple[Pooling, Pooling]:
        """Return the poolings of scenes and of timestamps that an argument stands for.

        Raises:
            ValueError: the name is unknown.
        """
        if isinstance(pooling, Pooling):
            return pooling, pooling
        if pooling is None:
            if self.size(POOLINGS[OF_SCENES], windowed=False) <= MOST_BY_DEFAULT:
                return POOLINGS[OF_SCENES], POOLINGS[OF_TIMESTAMPS]
            pooling = "global"
        if pooling not in POOLINGS:
            raise ValueError(f"pooling {pooling!r} is unknown: it is one of {', '.join(POOLINGS)}")
        return POOLINGS[pooling], POOLINGS[pooling]

    def size(self, pooling: Pooling, *, windowed: bool) -> int:
        """Return the length of an embedding.

        Args:
            pooling: what is kept of each stage.
            windowed: whether it is over the windows of timestamps, not over the whole clip.
        """
        size = 0
        for stage, wanted in zip(self.stages, pooling.of_stages(len(self.stages)), strict=True):
            if windowed and self.grid.window(stage)[1] == 1:
                wanted = pooling.of_one_column(wanted)
            numbers = stage.channels * (stage.rows if pooling.rows else 1)
            size += numbers * (min(len(wanted), 1) if pooling.add else len(wanted))
        return size
