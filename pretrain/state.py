"""A run's folder: the training state that a killed run goes on from, and where weights come from.

All randomness of a step is seeded by its number, so that number stands for the random generators of
every process and for the position in the data.
"""

import pickle
import zipfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch
from torch import nn

from pretrain.config import Config
from pretrain.distributed import from_first
from wavebyol_hear.files.atomic import atomic_write
from wavebyol_hear.files.provenance import git_revision

FORMAT = "wavebyol-state/2"  # 2: streams of random numbers apart, so that no older run goes on
MAY_CHANGE = ("optim.steps", "optim.decay", "optim.schedule", "run.")
# Settings that older code had, at the values at which they did nothing
GONE = {
    "views.augment.band_reject.probability": 0.0,
    "views.augment.gain.probability": 0.0,
    "views.augment.noise_last": True,
}


class StateError(ValueError):
    """A training state that cannot be gone on from: one line with the remedy."""


def save_state(
    path: Path,
    step: int,
    parts: Mapping[str, nn.Module | torch.optim.Optimizer],
    *,
    config: Config,
    data: str,
) -> None:
    """Write the training state; the file is the old state or the new one, never half of it.

    Args:
        path: of the file.
        step: steps done.
        parts: `network`, `optimizer` and, where there is one, the moving `average` of the networks.
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
        **{name: part.state_dict() for name, part in parts.items()},
    }
    try:
        with atomic_write(path, fsync=True) as file:
            torch.save(state, file)
    except (OSError, RuntimeError) as error:  # torch's writer raises the latter on a full disk
        reason = str(error).partition("\n")[0]
        raise StateError(
            f"{path} cannot be written at step {step} ({reason}): make room on the disk and start "
            "again; the run goes on from the state saved before, if any"
        ) from error


def load_state(
    path: Path, parts: Mapping[str, nn.Module | torch.optim.Optimizer], *, config: Config, data: str
) -> int:
    """Put a saved state into the parts of a run, see `save_state`, and return the steps done.

    The first process reads the file, for all of them. An average that the file lacks begins with
    the next step.

    Raises:
        StateError: a file of another format, another store, or another configuration; the
            settings of `MAY_CHANGE` (the run's length, what is logged) may differ, but the length
            may not fall below the steps done.
    """
    state = from_first(lambda: _read(path))
    if state["data"] != data:
        raise StateError(f"{path} was trained on another store: choose another --out")
    # Code older than a setting did as its default does
    before = GONE | _flat(Config().to_dict()) | _flat(state["config"])
    for key, value in (GONE | _flat(config.to_dict())).items():
        if before.get(key) != value and not key.startswith(MAY_CHANGE):
            raise StateError(
                f"{path} has {key} = {before.get(key)}, this run {value}: "
                "choose another --out or the same setting"
            )
    if state["step"] > config.optim.steps:
        raise StateError(
            f"{path} is at step {state['step']}, past optim.steps = {config.optim.steps}: "
            "choose another --out or more steps"
        )
    try:
        for name, part in parts.items():
            if name != "average" or state.get(name):
                part.load_state_dict(state[name])
    except (RuntimeError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise StateError(f"{path} does not fit the run ({reason}): remove it to start again") from (
            error
        )
    return int(state["step"])


def _read(path: Path) -> dict[str, Any]:
    """Return the state in a file, checked for its entries and their types."""
    kinds = {"step": int, "config": Mapping, "data": str, "network": Mapping, "optimizer": Mapping}
    try:
        with zipfile.ZipFile(path) as archive:  # torch does not check the sums
            if damaged := archive.testzip():
                raise ValueError(f"{damaged} has a wrong checksum")
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:  # torch's message advises to run the file's code
        raise StateError(
            f"{path} is not a file of plain tensors: remove it to start again"
        ) from error
    except Exception as error:
        reason = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
        raise StateError(f"{path} cannot be read ({reason}): remove it to start again") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise StateError(f"{path} is not a {FORMAT} file: choose another --out")
    wrong = [key for key, kind in kinds.items() if not isinstance(state.get(key), kind)]
    if wrong:
        raise StateError(f"{path} lacks {', '.join(wrong)}: remove it to start again")
    return state


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested settings as {dotted key: value}, tuples as lists."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = list(value) if isinstance(value, tuple) else value
    return flat


def provenance(config: Config, data: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """Return the record that travels in a weights file: configuration, data, length and code.

    Args:
        config: of the run.
        data: what `describe` of the store or the stream says.
        steps: steps done.
    """
    return {
        "config": config.to_dict(),
        "steps": steps,
        "crops": steps * config.optim.batch,
        **data,
        "git_revision": git_revision(),
        "torch": torch.__version__,
        "date": datetime.now(UTC).date().isoformat(),
    }
