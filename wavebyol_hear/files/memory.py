"""The peak memory of this process, and of a GPU, over a stretch of its work."""

import ctypes
import gc
import re
import sys
from pathlib import Path

import torch

STATUS, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class PeakMemory:
    """Watches the peak memory of this process, and of a GPU, from the moment it is made.

    The kernel keeps one peak for a process's whole life, and `getrusage` starts it at the parent's:
    either would hand an earlier model's memory to a later one. So it is set back first, and where
    the kernel refuses, a peak counts only if it rose meanwhile. Libraries and fragments of the heap
    that earlier work left cannot be set back: `held` says how much was there at the start.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        gc.collect()
        library = ctypes.CDLL(None) if sys.platform == "linux" else None
        trim = getattr(library, "malloc_trim", None)  # glibc has it, musl has not
        if trim is not None:
            trim(0)
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        try:
            RESET.write_text("5")  # proc(5): sets back the peak resident set size
            self.floor = 0
        except OSError:
            self.floor = kernel_size("VmHWM") or 0
        self.held = kernel_size("VmRSS")

    def process_bytes(self) -> int | str:
        """Return the peak of this process's resident memory in bytes, or why it is not known.

        It holds interpreter, libraries, weights and audio, and the pages of the embeddings' file
        that were in memory.
        """
        peak = kernel_size("VmHWM")
        if peak is None:
            return f"{STATUS} states no peak on this system"
        if peak <= self.floor:
            return f"hidden below {self.floor >> 20} MiB that this process needed earlier"
        return peak

    def gpu_bytes(self) -> int | None:
        """Return the peak of what tensors took on the GPU in bytes; None where there is none."""
        on_gpu = self.device.type == "cuda"
        return int(torch.cuda.max_memory_allocated(self.device)) if on_gpu else None


def kernel_size(name: str) -> int | None:
    """Return the process's peak ("VmHWM") or present ("VmRSS") resident memory in bytes."""
    try:
        line = re.search(rf"{name}:\s+(\d+) kB", STATUS.read_text())
    except OSError:
        return None
    return 1024 * int(line[1]) if line else None
