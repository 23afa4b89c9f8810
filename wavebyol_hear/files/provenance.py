"""Where a number comes from: the code's revision, the packages, the machine."""

import functools
import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path

import torch

from wavebyol_hear.files.threads import load_average, usable_cores

PACKAGES = ("torch", "numpy", "soundfile", "soxr", "safetensors")


@functools.cache
def git_revision(file: Path = Path(__file__)) -> str:
    """Return the commit that tracks a file of the code, with "+changes" where files differ from it.

    Code that no repository tracks, such as an installed package inside someone's, or no git, gives
    "unknown".
    """

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(file.parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", file.name)
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


def machine(device: str) -> dict[str, str | int | float | None]:
    """Return the system, the processor, its cores, threads and load, and the torch device used."""
    listing = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*: (.*)", listing.read_text()) if listing.is_file() else None
    processor = named[1].strip() if named else platform.processor() or platform.machine()
    return {
        "system": platform.platform(),
        "processor": processor,
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "wait_policy": os.environ.get("OMP_WAIT_POLICY", "default"),
        "load_average": load_average(),
        "device": device,
    }
