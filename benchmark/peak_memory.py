"""The most memory that this process held over a stretch of work."""

import re
from pathlib import Path

import torch

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class PeakMemory:
    """Watches the peak from the moment it is made.

    The kernel keeps one peak for a process's whole life, and `getrusage` starts it at the parent's:
    either would hand an earlier model's memory to a later one. So it is set back first, and where
    the kernel refuses, a peak counts only if it rose meanwhile.

    Args:
        device: whose own memory is watched too, where it is a GPU.
    """

    def __init__(self, device: torch.device) -> None:
        """Set the peaks back."""
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        try:
            RESET.write_text("5")  # proc(5): sets back the peak resident set size
            self.floor = 0
        except OSError:
            self.floor = high_water() or 0

    def process_bytes(self) -> int | str:
        """Return the peak of this process's resident memory in bytes, or why it is not known.

        It holds interpreter, libraries, weights and sound, and the pages of the embeddings' file
        that were in memory; processes that decode are not in it.
        """
        peak = high_water()
        if peak is None:
            return f"{STATUS} tells no peak on this system"
        if peak <= self.floor:
            return f"hidden below {self.floor >> 20} MiB that this process needed earlier"
        return peak

    def gpu_bytes(self) -> int | None:
        """Return the peak of what tensors took on the GPU in bytes; None where there is none."""
        if self.device.type != "cuda":
            return None
        return int(torch.cuda.max_memory_allocated(self.device))


def high_water() -> int | None:
    """Return the peak resident memory of this process in bytes; None where it is not told."""
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", STATUS.read_text())
    except OSError:
        return None
    return 1024 * int(found[1]) if found else None
