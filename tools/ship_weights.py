"""Copy an encoder's weights in half precision: tools/ship_weights.py RUN/weights.safetensors OUT.

Convolution weights and the directions of the whitenings are stored as float16 and read back as
float32; header and principal components stay as they are.
"""

import sys
from pathlib import Path

import torch

from wavebyol_hear.checkpoint import WeightsError, load_weights, save_encoder


def main() -> int:
    """Run the command and return its exit status."""
    if len(sys.argv) != 3:
        sys.stderr.write(f"{__doc__}\n")
        return 2
    source, target = map(Path, sys.argv[1:])
    try:
        weights = load_weights(source)
    except WeightsError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    target.parent.mkdir(parents=True, exist_ok=True)
    save_encoder(
        target,
        weights.encoder,
        weights.provenance,
        dtype=torch.float16,
        whitenings=weights.whitenings,
        components=weights.components,
        head=weights.head,
    )
    target.chmod(0o644)
    sys.stdout.write(f"{target}: {target.stat().st_size / 1e6:.1f} MB\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
