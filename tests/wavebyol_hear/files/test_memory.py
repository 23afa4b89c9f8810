"""Peak memory is that of a stretch of work, not of the process's whole life."""

import numpy as np
import torch

from wavebyol_hear.files.memory import PeakMemory


def measured(peak: PeakMemory) -> int:
    """The peak in bytes, where there is no reason for its absence."""
    value = peak.process_bytes()
    assert isinstance(value, int), value
    return value


def test_a_peak_is_that_of_its_own_stretch() -> None:
    first = PeakMemory(torch.device("cpu"))
    base = measured(first)
    held = np.ones(100 << 20, dtype=np.uint8)
    assert measured(first) - base > 90 << 20
    del held
    later = PeakMemory(torch.device("cpu"))
    assert measured(later) < measured(first) + 1
    assert measured(later) - base < 50 << 20
    assert later.held is not None
    assert abs(later.held - base) < 50 << 20
    assert later.gpu_bytes() is None
