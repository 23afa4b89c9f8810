"""Arrays whose test rows may not be read yet."""

from typing import Any

import numpy as np


class Guarded:
    """An array that raises when a forbidden row is read."""

    def __init__(self, array: np.ndarray, forbidden: np.ndarray) -> None:
        self.array, self.forbidden, self.shape = array, set(forbidden.tolist()), array.shape
        self.armed = True

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, key: Any) -> np.ndarray:
        if self.armed and self.forbidden & set(np.atleast_1d(np.arange(len(self))[key]).tolist()):
            raise AssertionError("a test row was read before the choice was made")
        return self.array[key]
