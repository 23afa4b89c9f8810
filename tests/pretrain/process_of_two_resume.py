"""Resume a run by each of two processes that a test starts, each with a folder of its own."""

import sys
from pathlib import Path

import torch

from pretrain.config import read_config
from pretrain.data.store import Store
from pretrain.distributed import from_first, process_group, rank
from pretrain.state import StateError
from pretrain.train import train


def main():
    """Train on from a state that only the first process can see; then fail on it alone."""
    meet, clips, out = Path(sys.argv[1]), Store.open(sys.argv[2]), Path(sys.argv[3])
    with process_group("cpu", f"file://{meet}") as device:
        mine = out / str(rank())  # no disk is shared
        train(read_config("tiny", None, sys.argv[4:]), clips, mine, device)
        step = from_first(lambda: torch.load(out / "0" / "state.pt", weights_only=True)["step"])

        def fail():
            raise StateError("only the first process saw this")

        try:
            from_first(fail)
        except StateError as error:
            torch.save({"step": step, "error": str(error)}, mine / "seen.pt")


if __name__ == "__main__":
    main()
