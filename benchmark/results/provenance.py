"""Where a number comes from: the code's revision, the packages, the machine."""

import importlib.metadata
import os
import platform
import subprocess
from pathlib import Path

PACKAGES = ("torch", "numpy", "soundfile", "soxr", "safetensors")


def git_revision(folder: Path = Path(__file__).parent) -> str:
    """Return the commit of the code, with "+changes" where files differ from it.

    Args:
        folder: of the code. Code that no repository tracks, such as an installed package inside
            someone's, or no git, gives "unknown".
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "provenance.py")
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def package_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that can change a number."""
    versions = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "absent"
    return versions


def machine(device: str) -> dict[str, str | int]:
    """Return the system, the processor, the number of its cores and the device used.

    Args:
        device: torch device that embedded and trained.
    """
    processor = platform.processor() or platform.machine()
    listing = Path("/proc/cpuinfo")
    if listing.is_file():
        for line in listing.read_text().splitlines():
            if line.startswith("model name"):
                processor = line.partition(":")[2].strip()
                break
    if hasattr(os, "sched_getaffinity"):
        cores = len(os.sched_getaffinity(0))
    else:
        cores = os.cpu_count() or 1
    return {
        "system": platform.platform(),
        "processor": processor,
        "cores": cores,
        "device": device,
    }
