"""Where weights are: a file, a folder, or a repository on the Hugging Face hub."""

import re
from pathlib import Path

from wavebyol_hear.checkpoint import WeightsError
from wavebyol_hear.files.extras import require

HUB = "hf://"
WEIGHTS = "model.safetensors"
"""The weights in a folder or repository that `save_pretrained` or `push_to_hub` wrote."""
REPOSITORY = re.compile(r"([\w.-]+/[\w.-]+)(?:@([\w./-]+))?", re.ASCII)


def shipped(preset: str) -> Path:
    """Return where the package has, or would have, the weights of a preset."""
    return Path(__file__).parent / "weights" / f"{preset}.safetensors"


def weights_path(name: str) -> Path:
    """Return the weights file that a name stands for, from the hub's cache where it is one of it.

    Args:
        name: a file, a folder that holds `model.safetensors` or one .safetensors file alone, or
            `hf://owner/name`, with a branch, tag or commit as `hf://owner/name@revision`.

    Raises:
        WeightsError: there are no such weights.
        MissingExtraError: the hub is asked for without the extra `hub`.
    """
    if name.startswith(HUB):
        return _download(name)
    path = Path(name)
    if not path.is_dir():
        if path.exists() and not path.is_file():
            raise WeightsError(f"weights {path}: is not a regular file; name the weights file")
        return path
    files = [path / WEIGHTS] if (path / WEIGHTS).is_file() else sorted(path.glob("*.safetensors"))
    if len(files) != 1:
        raise WeightsError(
            f"weights {path}: the folder holds {len(files)} .safetensors files and no {WEIGHTS}; "
            "name the file"
        )
    return files[0]


def _download(name: str) -> Path:
    """Return the weights of a repository; they are downloaded once."""
    match = REPOSITORY.fullmatch(name.removeprefix(HUB).removesuffix("/"))
    if match is None:
        raise WeightsError(f"weights {name}: give hf://owner/name or hf://owner/name@revision")
    hub = require("huggingface_hub", "hub", f"load_model({name!r})")
    try:
        return Path(hub.hf_hub_download(match[1], WEIGHTS, revision=match[2]))
    except (OSError, ValueError) as error:  # its own errors are both
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(f"weights {name} cannot be downloaded from the hub: {reason}") from error
