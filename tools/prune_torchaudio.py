"""Take torchaudio's compiled part out of this environment where its torch has no CUDA.

The registry's torchaudio is a CUDA build: beside a CPU-only torch, `import torchaudio` fails on
libc10_cuda.so. Without its compiled files it imports, and its Python parts (the mel spectrogram
that the rivals' front ends use) work the same.
"""

import logging
import sys
from importlib import metadata
from pathlib import Path

import torch


def main() -> None:
    """Remove the files, if they are this environment's own, and say so in one line."""
    if torch.version.cuda is not None:
        return
    folder = Path(str(metadata.distribution("torchaudio").locate_file("torchaudio/lib"))).resolve()
    if not folder.is_relative_to(Path(sys.prefix).resolve()):
        return
    files = sorted(folder.glob("*.so"))
    for file in files:
        file.unlink()
    if files:
        names = ", ".join(file.name for file in files)
        logging.info("torchaudio: removed %s: a CUDA build, and torch here is CPU-only", names)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main()
