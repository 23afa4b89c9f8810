"""Models on the Hugging Face hub: saved with a model card, pushed, and loaded.

    from wavebyol_hear.integrations.hub import from_pretrained, push_to_hub, save_pretrained

A repository, or a folder like one, holds `model.safetensors` (what `load_model` reads: encoder,
whitenings, components, configuration, provenance), `config.json` for readers and the hub's
counters, and `README.md`, the model card. How embeddings are read out (`dims`, `normalize`,
`pooling`, ...) is chosen when the model is loaded.
"""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wavebyol_hear.checkpoint import FORMAT, lossless_dtype, save_encoder
from wavebyol_hear.embed import Embedder
from wavebyol_hear.encoder import Encoder
from wavebyol_hear.files.atomic import write_text
from wavebyol_hear.files.extras import require
from wavebyol_hear.hear import load_model
from wavebyol_hear.pretrained import WEIGHTS

LIBRARY = "wavebyol-hear"
CARD, CONFIG = "README.md", "config.json"
METADATA = {
    "license": "mit",
    "library_name": LIBRARY,
    "pipeline_tag": "feature-extraction",
    "tags": ["audio", "audio-embedding", "feature-extraction", "hear", "self-supervised"],
}
"""Of the model card, unless the caller says otherwise; the hub's documentation lists the keys."""


def save_pretrained(
    model: Embedder,
    folder: str | Path,
    *,
    card: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    name: str | None = None,
) -> None:
    """Write a model as a folder that `load_model` and `from_pretrained` read, bit for bit.

    Args:
        model: from `load_model`, or trained.
        folder: is made if need be; files of the same names are replaced.
        card: text of the model card below its header, in Markdown; by default the model's facts.
        metadata: of the card's header, such as {"license": "cc-by-4.0", "datasets": [...]}; what it
            names replaces `METADATA`.
        name: that the card's examples load the model by; by default the folder.

    Raises:
        OSError: the folder cannot be written.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp()) / "model"
        >>> save_pretrained(load_model(preset="slim"), folder)
        >>> sorted(path.name for path in folder.iterdir())
        ['README.md', 'config.json', 'model.safetensors']
        >>> load_model(str(folder)).scene_embedding_size
        4800
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    encoder = model.encoder
    dtype = lossless_dtype(encoder)
    save_encoder(folder / WEIGHTS, encoder, dict(encoder.provenance), dtype=dtype)
    config = {
        "model_type": "wavebyol_hear",
        "format": FORMAT,
        "encoder": encoder.config.to_dict(),
        "sample_rate": model.sample_rate,
    }
    write_text(folder / CONFIG, json.dumps(config, indent=2) + "\n")
    body = _facts(encoder, name or str(folder)) if card is None else card
    write_text(folder / CARD, _header({**METADATA, **(metadata or {})}) + body)


def push_to_hub(
    model: Embedder,
    repository: str,
    *,
    card: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    private: bool | None = None,
    revision: str | None = None,
    token: str | None = None,
    message: str = "Add the model",
) -> str:
    """Make a repository on the hub, or a commit to it, that holds a model; return the commit's URL.

    Args:
        model: as of `save_pretrained`, and so `card` and `metadata`.
        repository: `owner/name`.
        card: see `save_pretrained`.
        metadata: see `save_pretrained`.
        private: whether a new repository is private; by default as the owner's settings have it.
        revision: branch to commit to.
        token: of the hub; by default the one that `hf auth login` keeps.
        message: of the commit.

    Raises:
        MissingExtraError: the extra `hub` is not installed.
        OSError, ValueError: of huggingface_hub, which say what is wrong.
    """
    api = require("huggingface_hub", "hub", "push_to_hub").HfApi(token=token)
    repository = repository.removeprefix("hf://")
    with tempfile.TemporaryDirectory() as folder:
        save_pretrained(model, folder, card=card, metadata=metadata, name=f"hf://{repository}")
        api.create_repo(repository, private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository, folder_path=folder, revision=revision, commit_message=message
        )
    return str(commit.commit_url)


def from_pretrained(name: str | Path, **options: Any) -> Embedder:  # noqa: ANN401
    """Return the model of a folder or a repository: `load_model` by the hub's usual name for it.

    Args:
        name: a folder or a weights file, or `owner/name` of the hub where there is no such path.
        options: of `load_model`.

    Raises:
        WeightsError: there are no such weights.
    """
    text = str(name)
    if not Path(text).exists() and not text.startswith("hf://"):
        text = f"hf://{text}"
    return load_model(text, **options)


def _header(metadata: Mapping[str, Any]) -> str:
    """Return the header of a model card; every JSON value is a YAML value."""
    lines = [f"{key}: {json.dumps(value)}" for key, value in metadata.items() if value is not None]
    return "\n".join(["---", *lines, "---", ""])


def _facts(encoder: Encoder, name: str) -> str:
    """Return a model card's text, of what the model says of itself."""
    whitened = ", ".join(encoder.whitenings) or "none"
    components = ", ".join(f"{len(c):,} of {key}" for key, c in encoder.components.items())
    provenance = json.dumps(dict(encoder.provenance), indent=2)
    parameters = sum(parameter.numel() for parameter in encoder.parameters())
    return f"""
# WaveBYOL audio embeddings

An encoder of raw waveforms (mono, {encoder.config.sample_rate:,} Hz, any length) with the HEAR API.

```python
from wavebyol_hear import load_model

model = load_model({name!r})
vector = model.embed("a.wav")
```

Install it with `pip install '.[hub]'` in a checkout of WaveBYOL-HEAR.

| | |
|---|---|
| parameters | {parameters:,} |
| Conv2d stack | {encoder.config.widths} |
| whitening | {whitened} |
| principal components | {components or "none"} |

How it was trained, as the weights file has it:

```json
{provenance}
```

Not said by the file: how it was evaluated, and what it should not be used for.
"""
