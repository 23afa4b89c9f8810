"""What a folder of embeddings was made with: kept beside them, and held against the next run."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from wavebyol_hear.files.atomic import file_hash, write_text
from wavebyol_hear.files.command import readable
from wavebyol_hear.files.embed_parts import Options
from wavebyol_hear.files.hear_module import HearModel
from wavebyol_hear.files.model_spec import parse_spec
from wavebyol_hear.files.stores import is_remote, names_in
from wavebyol_hear.files.weights_hash import tensors_hash

MANIFEST = "manifest.json"
KEPT = ("model", "weights_hash", "weights_file", "precision", "options", "sources", "noise")
"""What a manifest must hold."""
NOISE_NUMBERS = 32
TOLERANCE, TOLERANCE_16 = 1e-3, 3e-2
"""Of the largest value: the same noise embedded again in 32 and in 16 bit."""


class OutputError(ValueError):
    """An output folder that cannot be used: one line with the folder and the remedy."""


@dataclass(frozen=True)
class Settings:
    """All of the command line but how sources are listed; see `embed_command`."""

    sources: tuple[str, ...]
    out: Path
    model: str
    device: str
    precision: str
    options: Options
    batch_seconds: float
    workers: int
    share: tuple[int, int]
    ray_address: str | None = None


def check_folder(settings: Settings) -> None:
    """Raise an OutputError where a folder holds something else, before the model is loaded."""
    out = settings.out
    if out.exists() and not out.is_dir():
        raise OutputError(f"{out}: is not a folder; choose another --out")
    if is_remote(out) and settings.options.format == "npy":
        raise OutputError(
            f"{out}: --format npy needs a folder on disk; drop it, load() maps a copy"
        )
    made = read_manifest(out)
    if made is None:
        if any(not name.startswith(("in-use-", ".")) for name in names_in(out)):
            raise OutputError(f"{out}: holds other files; choose an empty or new --out")
        return
    _must_be(out, made["options"], asdict(settings.options))
    _must_be(out, made, {"model": settings.model})
    if made["weights_file"] != _weights_file(settings.model):
        raise OutputError(
            f"{out}: the weights file of {settings.model} was another one when this was made; "
            "choose another --out"
        )
    if not set(made["sources"]) <= set(_sources(settings)):
        raise OutputError(
            f"{out}: was made from {', '.join(made['sources'])[:200]}; name these too, or choose "
            "another --out"
        )


def agree(settings: Settings, model: HearModel) -> dict[str, Any]:
    """Return the metadata of the output, of the manifest where there is one already.

    Raises:
        OutputError: the model that is loaded is another one than the manifest's.
    """
    noise = model.noise_embedding[:NOISE_NUMBERS]
    now = {
        "model": settings.model,
        "weights_hash": tensors_hash(model.model),
        "weights_file": _weights_file(settings.model),
        "precision": model.precision,
        "sample_rate": model.sample_rate,
        "options": asdict(settings.options),
    }
    made = read_manifest(settings.out)
    if made is not None:
        _must_be(settings.out, made, {name: now[name] for name in ("weights_hash", "precision")})
        kept = np.array(made["noise"])
        scale = max(float(np.abs(kept).max(initial=0)), 1e-12)
        bound = TOLERANCE_16 if "16" in model.precision else TOLERANCE
        if kept.shape != noise.shape or (np.abs(kept - noise) > bound * scale).any():
            raise OutputError(
                f"{settings.out}: the model embeds noise differently than it did; something that "
                "it reads has changed: choose another --out"
            )
    sources = _sources(settings)
    if made is None or made["sources"] != sources:
        rest = {"sources": sources, "noise": [round(float(v), 6) for v in noise]}
        write_text(settings.out / MANIFEST, json.dumps(now | rest, indent=1) + "\n")
    return now


def _must_be(out: Path, made: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    """Raise an OutputError where a folder was made with another value than now."""
    for name, value in now.items():
        if made.get(name) != value:
            raise OutputError(
                f"{out}: was made with other options ({name.replace('_', ' ')} {made.get(name)!r}, "
                f"now {value!r}); choose another --out"
            )


def _sources(settings: Settings) -> list[str]:
    """Return the sources as they are kept: a folder's name without the slash at its end."""
    return [readable(source.rstrip("/") or "/") for source in settings.sources]


def _weights_file(spec: str) -> str:
    """Return the hash of the weights file that a model's specification names, "" for none."""
    path = parse_spec(spec).weights
    return file_hash(path) if Path(path).is_file() else ""


def read_manifest(out: Path) -> dict[str, Any] | None:
    """Return what a folder says of its making; None where there is nothing.

    Raises:
        OutputError: the manifest is damaged.
    """
    path = out / MANIFEST
    try:
        made = json.loads(path.read_text(encoding="utf-8"))
        return {name: made[name] for name in KEPT}
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise OutputError(f"{path}: is damaged; choose another --out") from error
