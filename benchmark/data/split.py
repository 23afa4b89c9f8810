"""Which clips train, which choose and which test, from the split a data set was published with."""

import re
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmark.data.clip import FIXED, SplitPolicy, TaskDataError


@dataclass(frozen=True)
class Fold:
    """One choice of training, validation and test rows; each is ascending."""

    name: str  #: of the part that is tested
    train: np.ndarray  #: rows to train on while the strength is chosen
    valid: np.ndarray  #: rows to choose on
    test: np.ndarray  #: rows that are read once, after the choice

    @property
    def development(self) -> np.ndarray:
        """Rows for the final fit: training and validation together, ascending."""
        return np.sort(np.concatenate([self.train, self.valid]))


def make_folds(policy: SplitPolicy, splits: np.ndarray, groups: np.ndarray) -> list[Fold]:
    """Return the folds of a task.

    With policy "folds" every published fold is tested once: fold i tests, fold i + 1 (the first
    after the last) chooses, the rest train, as in HEAR. With "fixed" there is one fold of the
    published train, valid and test parts. Of each row, `splits` is the published part and `groups`
    what may never be on two sides of a split.

    Raises:
        TaskDataError: too few parts, an unknown part, or a group on two sides.
    """
    home: dict[str, str] = {}
    for part, group in zip(splits.tolist(), groups.tolist(), strict=True):
        if home.setdefault(group, part) != part:
            raise TaskDataError(
                f"group {group!r} is in the parts {home[group]!r} and {part!r}: "
                "one recording or speaker would be trained on and tested"
            )
    # "fold2" comes before "fold10".
    number = partial(re.sub, r"\d+", lambda digits: digits[0].zfill(20))
    parts = sorted(set(splits.tolist()), key=number)
    rows = {part: np.flatnonzero(splits == part) for part in parts}
    if policy == "fixed":
        if set(parts) != set(FIXED):
            raise TaskDataError(
                f"a fixed split needs the parts {', '.join(FIXED)}, "
                f"but has {', '.join(parts) or 'none'}: add the clips of the missing parts"
            )
        return [Fold("test", rows["train"], rows["valid"], rows["test"])]
    if len(parts) < 3:
        raise TaskDataError(
            f"folds need three parts or more (train, valid, test), but there are {len(parts)}"
            f" ({', '.join(parts)}): add the clips of the missing folds"
        )
    folds = []
    for part, chooser in zip(parts, parts[1:] + parts[:1], strict=True):
        train = np.flatnonzero((splits != part) & (splits != chooser))
        folds.append(Fold(part, train, rows[chooser], rows[part]))
    return folds
