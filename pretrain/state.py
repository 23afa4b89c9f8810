"""The training state: everything that a killed run needs to go on as if nothing had happened.

All randomness of a step is seeded by (seed, step, rank), so the step's number stands for the
random generators of every process and for the place in the data.
"""

import os
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pretrain.config import Config

FORMAT = "wavebyol-state/1"
MAY_CHANGE = ("optim.steps", "optim.decay", "optim.schedule", "run.")


class StateError(ValueError):
    """A training state that cannot be gone on from: one line with the remedy."""


def save_state(
    path: Path,
    step: int,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    *,
    config: Config,
    data: str,
) -> None:
    """Write the state beside its place and rename it, so that no half file is ever seen.

    Args:
        path: where the state lies.
        step: steps done.
        network: the method with all its networks.
        optimizer: of its trainable parameters.
        config: of the run.
        data: hash of the store.

    Raises:
        StateError: it cannot be written, e.g. because the disk is full; the last one is kept.
    """
    state = {
        "format": FORMAT,
        "step": step,
        "config": config.to_dict(),
        "data": data,
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    beside = path.with_suffix(".part")
    try:
        torch.save(state, beside)
        with beside.open("rb") as file:
            os.fsync(file.fileno())
        beside.replace(path)
    except (OSError, RuntimeError) as error:  # torch's writer raises the latter on a full disk
        beside.unlink(missing_ok=True)
        reason = str(error).partition("\n")[0]
        raise StateError(
            f"{path} cannot be written at step {step} ({reason}): make room on the disk and start "
            "again; the run goes on from the state saved before, if any"
        ) from error


def load_state(
    path: Path,
    network: nn.Module,
    optimizer: torch.optim.Optimizer,
    device: torch.device,
    *,
    config: Config,
    data: str,
) -> int:
    """Put a saved state into network and optimiser and return the number of steps done.

    Raises:
        StateError: a file of another format, another store, or another configuration; the
            settings of `MAY_CHANGE` (the run's length, what is logged) may differ, but the length
            may not fall below the steps done.
    """
    try:
        state = torch.load(path, map_location=device, weights_only=True)
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise StateError(f"{path} cannot be read ({reason}): remove it to start anew") from error
    if state.get("format") != FORMAT:
        raise StateError(f"{path} is no {FORMAT} file: choose another --out")
    if state["data"] != data:
        raise StateError(f"{path} was trained on another store: choose another --out")
    before, now = _flat(state["config"]), _flat(config.to_dict())
    for key in sorted(before.keys() | now.keys()):
        same = before.get(key) == now.get(key)
        if not same and not key.startswith(MAY_CHANGE):
            raise StateError(
                f"{path} has {key} = {before.get(key)}, this run {now.get(key)}: "
                "choose another --out or the same setting"
            )
    if state["step"] > config.optim.steps:
        raise StateError(
            f"{path} is at step {state['step']}, past optim.steps = {config.optim.steps}: "
            "choose another --out or more steps"
        )
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])
    return int(state["step"])


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as {dotted key: value}, tuples as lists."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = list(value) if isinstance(value, tuple) else value
    return flat
