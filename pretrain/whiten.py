r"""Fit the whitening of an encoder's embeddings: python -m pretrain.whiten STORE WEIGHTS.

A training run of our encoder ends with this step. Use the command for weights without a whitening,
or to fit one on another corpus. The statistics are those of the default poolings over whole clips,
drawn at random (with a fixed seed) in the proportions of kinds that the run was trained with.

With --components N, fits the first N principal components of the whitened scene embeddings instead,
for `load_model(dims=...)`, and keeps the whitening.

With --module, fits a whitening for any HEAR module and writes it to WEIGHTS, for use as
`baselines.whitened:WEIGHTS`:
    python -m pretrain.whiten STORE byol_a.safetensors --module baselines.byol_a \
        --option pooling=contrast --share everyday=.5 --share speech=.25 --share music=.25
"""

if __name__ == "__main__":  # before imports that take seconds
    from wavebyol_hear.files.command import run_command, start_command

    start_command()

import argparse
import importlib
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor
from tqdm import tqdm

from baselines.whitened import save_whitened
from pretrain.data.crops import FULL_SCALE
from pretrain.data.store import SAMPLE_RATE, Store, StoreError
from pretrain.moments import Moments
from wavebyol_hear.checkpoint import WeightsError, load_encoder, load_weights, save_encoder
from wavebyol_hear.components import Components
from wavebyol_hear.embed import Embedder
from wavebyol_hear.encoder import Encoder
from wavebyol_hear.files.command import manual_parser
from wavebyol_hear.files.threads import add_threads
from wavebyol_hear.whitening import Whitening

CLIPS = 2048
CLIPS_PER_COMPONENT = 12
LONGEST = 320_000  # samples of a clip that are used: 20 s
COLUMNS_APART = 4  # neighboring timestamps of one clip are much alike


def fit_whitenings(
    encoder: Encoder,
    store: Store,
    *,
    clips: int = CLIPS,
    shares: Mapping[str, float] | None = None,
) -> dict[str, Whitening]:
    """Return the whitenings of an encoder's default scene and timestamp embeddings.

    Args:
        encoder: on the device to compute on; put in evaluation mode.
        store: the clips; silent ones are skipped.
        clips: how many of them are used, at most 20 s of each.
        shares: of each kind of clip among them, 0 to 1; all clips alike where none is above 0.
            Those that the encoder learned from were level or better (docs/runs.md).

    Raises:
        ValueError: every clip drawn is silent, or an embedding has too many numbers.
    """
    model = Embedder(encoder, precision="auto")
    device = next(encoder.parameters()).device
    scenes = Moments(model.scene_embedding_size)
    columns = Moments(model.timestamp_embedding_size)
    with torch.no_grad():
        for wave in _waves(store, clips, shares):
            audio = wave.to(device)[None]
            scenes.update(model(audio))
            columns.update(model.timestamps(audio)[0][0, ::COLUMNS_APART])
    moments = scenes, columns
    return {n: m.whitening() for n, m in zip(model.whitening_names, moments, strict=True)}


def whiten_file(
    path: Path, store: Store, *, device: torch.device | str = "cpu", clips: int = CLIPS
) -> None:
    """Fit the whitenings of the encoder in a weights file and keep them in it.

    Kinds of clips have the shares that they had in the batches of the run that made the file.

    Raises:
        WeightsError: the file cannot be used.
        ValueError: see `fit_whitenings`.
    """
    encoder, provenance = load_encoder(path)
    shares = _shares_of(provenance)
    whitenings = fit_whitenings(encoder.to(device), store, clips=clips, shares=shares)
    save_encoder(path, encoder, provenance, whitenings=whitenings)


def add_components(
    path: Path,
    store: Store,
    count: int,
    *,
    clips: int | None = None,
    shares: Mapping[str, float] | None = None,
) -> None:
    """Fit the first principal components of scene embeddings of a weights file, kept in it.

    Args:
        path: of the weights file; whitened first, where it has no whitening.
        store: the clips; silent ones are skipped.
        count: of components, at most the numbers of an embedding and the clips that are used.
        clips: how many are used, at most 20 s of each; by default 12 per component.
        shares: of each kind of clip; by default as in the batches of the run that made the file.

    Raises:
        WeightsError: the file cannot be used.
        ValueError: there are fewer numbers or clips than components, or every clip is silent.
    """
    if not load_weights(path).whitenings:
        whiten_file(path, store)
    encoder, provenance, whitenings, *_ = load_weights(path)
    model = Embedder(encoder, whitenings=whitenings, precision="auto")
    if not 1 <= count <= model.scene_embedding_size:
        raise ValueError(
            f"{count} components of {model.scene_embedding_size} numbers: give as many at most"
        )
    scenes = Moments(model.scene_embedding_size)
    with torch.no_grad():
        clips = clips or CLIPS_PER_COMPONENT * count
        for wave in _waves(store, clips, shares or _shares_of(provenance)):
            scenes.update(model(wave[None]))
    mean, covariance = scenes.statistics()
    if scenes.count < count:
        raise ValueError(f"{count} components from {scenes.count} clips: give more clips")
    components = {model.whitening_names[0]: Components.fit(mean, covariance, count)}
    save_encoder(path, encoder, provenance, whitenings=whitenings, components=components)


def whiten_module(
    path: Path,
    store: Store,
    module: str,
    *,
    weights: str = "",
    options: Mapping[str, Any] | None = None,
    clips: int = CLIPS,
    shares: Mapping[str, float] | None = None,
) -> None:
    """Fit the whitening of a HEAR module's scene embeddings and write it for `baselines.whitened`.

    Args:
        path: of the file to write.
        store: the clips, at 16 kHz.
        module: import path of the module.
        weights: what its `load_model` is given.
        options: keyword arguments of its `load_model`.
        clips: how many clips are used.
        shares: of each kind of clip; see `fit_whitenings`.

    Raises:
        ValueError: the module cannot be imported or takes another sample rate, or every clip drawn
            is silent, or its embeddings have too many numbers.
    """
    try:
        hear = importlib.import_module(module)
    except ImportError as error:
        raise ValueError(f"--module {module} cannot be imported: {error}") from error
    if not (hasattr(hear, "load_model") and hasattr(hear, "get_scene_embeddings")):
        raise ValueError(f"--module {module} is not a HEAR module: it lacks HEAR's functions")
    model = hear.load_model(weights, **(options or {}))
    if model.sample_rate != SAMPLE_RATE:
        raise ValueError(f"{module} takes {model.sample_rate} Hz: the store has {SAMPLE_RATE}")
    scenes = Moments(int(model.scene_embedding_size))
    with torch.no_grad():
        for wave in _waves(store, clips, shares):
            scenes.update(hear.get_scene_embeddings(wave[None], model))
    save_whitened(
        path, scenes.whitening(), module=module, weights=weights, options=dict(options or {})
    )


def _shares_of(provenance: Mapping[str, Any]) -> dict[str, float]:
    """Return the shares of kinds of clips in the batches of the run that made a file."""
    shares: dict[str, float] = provenance.get("config", {}).get("views", {}).get("sample", {})
    return shares


def _waves(store: Store, clips: int, shares: Mapping[str, float] | None) -> Iterator[Tensor]:
    """Yield clips of a store in order, at full scale 1, [n] each.

    They are drawn by one seed, of each kind its share or all there are; silent ones are left out.
    """
    order = torch.randperm(len(store), generator=torch.Generator().manual_seed(0)).tolist()
    drawn = order[:clips]
    if shares and any(shares.values()):
        of_kind = {kind: [i for i in order if store.kinds[i] == kind] for kind in shares}
        drawn = [i for kind in shares for i in of_kind[kind][: round(shares[kind] * clips)]]
    for index in tqdm(sorted(drawn), desc="whitening", unit="clip"):
        wave = store.clip(index)[:LONGEST].float() / FULL_SCALE
        if wave.any():
            yield wave


def main() -> int:
    """Run the command and return its exit status."""
    parser = manual_parser("pretrain.whiten", __doc__)
    add = parser.add_argument
    add("store", type=Path, metavar="STORE", help="folder made by `python -m pretrain.store`")
    add("weights", type=Path, metavar="WEIGHTS", help="weights file to update, or to write")
    add(
        "--clips",
        type=int,
        metavar="N",
        help="number of clips (default: 2048; with --components 12 per component)",
    )
    add("--components", type=int, metavar="N", help="fit N principal components, such as 1024")
    add("--module", help="HEAR module to fit a whitening for")
    add(
        "--module-weights",
        default="",
        metavar="FILE",
        help="weights of the module (default: its own)",
    )
    for name, what in (
        ("option", "argument for the module's load_model; repeatable"),
        ("share", "share of a kind of clip, with --module or --components; repeatable"),
    ):
        add(f"--{name}", action="append", default=[], type=_assignment, metavar="K=V", help=what)
    add_threads(parser)
    args = parser.parse_args()
    return _whiten(args)


def _assignment(text: str) -> tuple[str, Any]:
    """Return name and value of `name=value`, the value as YAML reads it."""
    name, equals, value = text.partition("=")
    if not equals:
        raise argparse.ArgumentTypeError(f"{text!r} has no '=': write name=value")
    return name, yaml.safe_load(value)


def _whiten(args: argparse.Namespace) -> int:
    """Whiten as the arguments say and return the exit code."""
    try:
        store = Store.open(args.store)
        if args.module:
            whiten_module(
                args.weights,
                store,
                args.module,
                weights=args.module_weights,
                options=dict(args.option),
                clips=args.clips or CLIPS,
                shares=dict(args.share),
            )
        elif args.components is not None:
            add_components(
                args.weights, store, args.components, clips=args.clips, shares=dict(args.share)
            )
        else:
            whiten_file(args.weights, store, clips=args.clips or CLIPS)
    except (StoreError, WeightsError, ValueError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    run_command(main, "the weights file is as it was")
