"""`wavebyol train`: a classifier of labeled files, saved beside the encoder in one file."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wavebyol_hear.audio import AudioError, read_audio
from wavebyol_hear.classify.finetune import finetune_and_score
from wavebyol_hear.classify.logistic import Selection, select
from wavebyol_hear.classify.model import Classifier, save_classifier
from wavebyol_hear.embed import Embedder
from wavebyol_hear.files.hear_module import load
from wavebyol_hear.files.labels import LabeledFiles, read_labels
from wavebyol_hear.files.model_spec import parse_spec
from wavebyol_hear.files.read_ahead import with_progress
from wavebyol_hear.head import READ_OUT, Head

FILES_AT_ONCE = 128


class ClassifyError(ValueError):
    """A classifier that cannot be trained or used as asked: one line with the remedy."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add(
        "labels",
        type=Path,
        help="a CSV file with the columns path and label (several labels of a clip as a;b) and "
        "optionally split or fold, and group; or a folder whose folders are the classes",
    )
    add("--out", type=Path, required=True, metavar="FILE", help="where to write the classifier")
    add(
        "--model",
        default="wavebyol_hear",
        metavar="SPEC",
        help="wavebyol_hear[:weights][?option=value&...], the encoder and its read-out "
        "(%(default)s)",
    )
    add(
        "--finetune",
        type=int,
        default=0,
        metavar="EPOCHS",
        help="then train encoder and head together for so many passes, twice: once without a fold "
        "(or the part test), which gives a score, and once with all clips",
    )
    add("--seed", type=int, default=0, help="of the drawn folds (%(default)s)")


def run(args: argparse.Namespace) -> int:
    """Train, say how well it does on unseen clips, and write; see the module."""
    if args.finetune < 0:
        raise ClassifyError(f"--finetune is {args.finetune}: give epochs, 1 or more")
    if args.out.is_dir():
        raise ClassifyError(f"--out {args.out} is a folder: name a file")
    if not args.out.parent.is_dir():
        raise ClassifyError(
            f"--out {args.out}: there is no folder {args.out.parent}: make it first"
        )
    labeled = read_labels(args.labels, seed=args.seed)
    sys.stdout.write(
        f"{args.labels}: {len(labeled.files)} clips, {len(labeled.classes)} classes; "
        f"{labeled.note}\n"
    )
    model = load_encoder(args.model)
    features = embed(model, labeled)
    splits = [file.split for file in labeled.files]
    result = select(features, labeled.targets(), splits, fixed=labeled.fixed)
    options: dict[str, Any] = {"pooling": None, "whiten": True, "dims": None, "normalize": False}
    options |= {k: v for k, v in parse_spec(args.model).options.items() if k in READ_OUT}
    head = Head(
        result.solution.weight,
        result.solution.bias,
        labeled.classes,
        multilabel=labeled.multilabel,
        read_out=options,
    )
    facts = provenance(labeled, result)
    sys.stdout.write(f"{summary(labeled, result)}\n")
    if args.finetune:
        tuned = finetune_and_score(
            lambda: load_encoder(args.model), labeled, features, head, result.l2, args.finetune
        )
        model, head = tuned.model, tuned.head
        facts["finetune"] = {"epochs": args.finetune, "score": tuned.score, "of": tuned.held}
        what = "mean average precision" if labeled.multilabel else "accuracy"
        sys.stdout.write(
            f"fine-tuned, epochs: {args.finetune}; {what} on {tuned.held}, left out for that: "
            f"{100 * tuned.score:.1f} %, the head alone {100 * tuned.before:.1f} %\n"
        )
    save_classifier(args.out, model, head, facts)
    sys.stdout.write(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB\n")
    return 0


def load_encoder(spec: str) -> Embedder:
    """Return the encoder of a specification.

    Raises:
        ClassifyError: it is none of ours.
    """
    model = load(spec, precision="fp32").model
    if not isinstance(model, Embedder) or isinstance(model, Classifier):
        raise ClassifyError(f"{spec} is no encoder of ours: give wavebyol_hear[:weights]")
    return model


def embed(model: Embedder, labeled: LabeledFiles) -> np.ndarray:
    """Return the embeddings of the files, with a progress bar: float32 [n, D].

    Raises:
        ClassifyError: files cannot be used; each is named on standard error.
    """
    paths = [labeled.root / file.path for file in labeled.files]
    out, bad = np.empty((len(paths), model.scene_embedding_size), np.float32), list[str]()
    starts = range(0, len(paths), FILES_AT_ONCE)
    for start in with_progress(starts, "embedding", unit=f"{FILES_AT_ONCE} clips"):
        part = paths[start : start + FILES_AT_ONCE]
        try:
            out[start : start + len(part)] = model.embed(part)
        except AudioError:
            found = unusable(part, model.sample_rate)
            if not found:  # a fault of the moment: no file is to blame
                raise
            bad += found
    for line in bad:
        sys.stderr.write(f"bad file: {line}\n")
    if bad:
        raise ClassifyError(
            f"{labeled.source}: {len(bad)} of {len(paths)} files cannot be used; repair them or "
            "leave them out"
        )
    return out


def unusable(paths: Sequence[Path], sample_rate: int) -> list[str]:
    """Return why files cannot be used, of those that cannot."""
    reasons = []
    for path in paths:
        try:
            read_audio(path, sample_rate)
        except AudioError as error:
            reasons.append(str(error))
    return reasons


def summary(labeled: LabeledFiles, result: Selection) -> str:
    """Return the score in words."""
    what = "mean average precision" if labeled.multilabel else "accuracy"
    if labeled.fixed:
        return f"{what} on the test part: {100 * result.score:.1f} % (l2 {result.l2:g})"
    low, high = (100 * bound(result.of_folds) for bound in (min, max))
    return (
        f"cross-validated {what}: {100 * result.score:.1f} % ({len(result.of_folds)} folds: "
        f"{low:.1f} to {high:.1f}; l2 {result.l2:g}); the saved head is fitted to all clips"
    )


def provenance(labeled: LabeledFiles, result: Selection) -> dict[str, Any]:
    """Return how the head was made, for the file."""
    return {
        "source": labeled.source.name,
        "clips": len(labeled.files),
        "split": labeled.note,
        "l2": result.l2,
        "metric": "map" if labeled.multilabel else "accuracy",
        "score": result.score,
        "of_folds": list(result.of_folds),
    }
