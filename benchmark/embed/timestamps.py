"""Whether timestamps are what HEAR asks for: rising, regular, dense and reaching the clip's end."""

import numpy as np

from wavebyol_hear.files.model_spec import HearError

LARGEST_HOP_MS = 50.0
REGULAR_MS = 1.0
"""As in hear-validator's validate.py."""


def check_spacing(what: str, timestamps: np.ndarray, length_ms: float) -> list[str]:
    """Return warnings of timestamps `[B, T]` in ms that are sparse or stop before the clip's end.

    Raises:
        HearError: where they do not rise, the spacing varies by more than 1 ms, or the last one is
            past the clip's end or more than two hops before it.
    """
    if timestamps.shape[1] == 1:
        return [f"{what}: a clip of {length_ms:.0f} ms has one timestamp only"]
    hops = np.diff(timestamps, axis=1)
    if hops.min() <= 0:
        raise HearError(f"{what}: the timestamps do not rise; return ascending ms")
    hop, first, last = float(hops.mean()), float(timestamps.min()), float(timestamps.max())
    uneven = float(np.abs(hops - hop).max())
    if uneven > REGULAR_MS:
        raise HearError(f"{what}: the spacing varies by {uneven:.2f} ms; keep it within 1 ms")
    if last > length_ms or last < length_ms - 2 * hop:
        remedy = "end within the clip" if last > length_ms else "reach its end"
        times = f"the last timestamp is {last:.2f} ms, the clip {length_ms:.2f} ms long"
        raise HearError(f"{what}: {times}; {remedy}")
    warnings = []
    if float(hops.max()) > LARGEST_HOP_MS:
        warnings.append(f"{what}: the hop is {float(hops.max()):.1f} ms; HEAR suggests 50 or less")
    if first > hop:
        warnings.append(f"{what}: the first timestamp is {first:.1f} ms, more than one hop")
    if last < length_ms - min(hop, LARGEST_HOP_MS):
        warnings.append(f"{what}: the last timestamp is more than one hop before the clip's end")
    return warnings
