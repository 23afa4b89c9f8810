"""`wavebyol info`: what a weights file holds and how it was trained."""

import argparse
import json
import sys
from typing import Any

from wavebyol_hear.checkpoint import Weights, load_weights
from wavebyol_hear.embed import Embedder
from wavebyol_hear.encoder import PRESETS
from wavebyol_hear.hear import DEFAULT_PRESET
from wavebyol_hear.pretrained import shipped, weights_path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    help_ = "weights file, classifier, preset or hf://owner/name (default: %(default)s)"
    add("weights", nargs="?", default=DEFAULT_PRESET, metavar="WEIGHTS", help=help_)
    add("--json", action="store_true", help="print the configuration and provenance as JSON")


def run(args: argparse.Namespace) -> int:
    """Print what the file says of itself; return the exit status."""
    path = shipped(args.weights)
    if args.weights not in PRESETS or not path.is_file():
        path = weights_path(args.weights)
    weights = load_weights(path)
    if args.json:
        facts = {"config": weights.encoder.config.to_dict(), "provenance": weights.provenance}
        sys.stdout.write(json.dumps(facts, indent=1) + "\n")
        return 0
    for name, text in {"file": str(path), **describe(weights)}.items():
        if text:
            sys.stdout.write(f"{name:<12}{text}\n")
    return 0


def describe(weights: Weights) -> dict[str, str]:
    """Return the facts of a weights file by name; "" where it does not say.

    Example:
        >>> from wavebyol_hear.encoder import PRESETS, Encoder
        >>> facts = describe(Weights(Encoder(PRESETS["slim"]), {}, {}, {}))
        >>> facts["input"], facts["training"]
        ('mono at 16,000 Hz', '')
    """
    encoder, config = weights.encoder, weights.encoder.config
    model = Embedder(encoder, whitenings=weights.whitenings, components=weights.components)
    components = weights.components.get(model.whitening_names[0])
    count = len(components.get_buffer("scale")) if components else 0
    hop = 500 * model.grid.period / config.sample_rate  # the period is in halves of a sample
    parameters = sum(parameter.numel() for parameter in encoder.parameters())
    head = weights.head
    return {
        "network": f"front end {config.to_dict()['front_end']['kind']}, {config.widths}, "
        f"{parameters:,} parameters",
        "input": f"mono at {config.sample_rate:,} Hz",
        "embedding": f"{model.scene_embedding_size:,} numbers per clip"
        + (f" (principal components: 1 to {count:,})" if count else "")
        + f", {model.timestamp_embedding_size:,} every {hop:g} ms",
        "whitening": ", ".join(weights.whitenings) or "none",
        "classes": ", ".join(head.classes) if head else "",
        "training": training(weights.provenance),
        "made": " ".join(
            str(weights.provenance[key]) for key in ("date", "device") if key in weights.provenance
        ),
    }


def training(provenance: dict[str, Any]) -> str:
    """Return in words what an encoder was trained by and on; "" where the file does not say."""
    config = provenance.get("config", {})
    if "method" not in config:
        return ""
    loss = config.get("byol", {}).get("loss", "") if config["method"] == "byol" else ""
    parts = [{"infonce": "InfoNCE", "byol": "BYOL"}.get(loss, config["method"])]
    if "crops" in provenance:
        parts.append(f"{provenance['crops']:,} pairs of crops")
    if "data_clips" in provenance:
        hours = f" ({provenance['data_hours']:.1f} h)" if "data_hours" in provenance else ""
        parts.append(f"{provenance['data_clips']:,} clips{hours}")
    return ", ".join(parts)
