"""`wavebyol train`: a classifier of labeled files, saved beside the encoder in one file."""

import argparse
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from wavebyol_hear.audio import AudioError, read_audio
from wavebyol_hear.checkpoint import is_ours
from wavebyol_hear.classify.finetune import finetune_and_score
from wavebyol_hear.classify.logistic import Selection, select
from wavebyol_hear.classify.model import Classifier, save_classifier
from wavebyol_hear.embed import Embedder
from wavebyol_hear.files.atomic import check_writable
from wavebyol_hear.files.hear_module import load
from wavebyol_hear.files.labels import LabeledFiles, read_labels
from wavebyol_hear.files.model_spec import parse_spec
from wavebyol_hear.files.read_ahead import with_progress
from wavebyol_hear.head import READ_OUT, Head

FILES_AT_ONCE = 128
LEFT_SOME_OUT = 1
CONFUSIONS = 3
"""Confusions that are named in the summary."""


class ClassifyError(ValueError):
    """A classifier that cannot be trained or used as asked: one line with the remedy."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add(
        "labels",
        type=Path,
        metavar="LABELS",
        help="CSV file with the columns path and label (several labels as a;b) and optionally "
        "split or fold, and group; or a folder with one subfolder per class",
    )
    add("--out", type=Path, required=True, metavar="FILE", help="classifier to write")
    add(
        "--model",
        default="wavebyol_hear",
        metavar="SPEC",
        help="encoder, as wavebyol_hear[:weights][?option=value&...] (default: %(default)s)",
    )
    add(
        "--finetune",
        type=int,
        default=0,
        metavar="EPOCHS",
        help="also fine-tune encoder and classifier for this many epochs: once without one fold "
        "(or the test part) to measure the accuracy, and once on all clips",
    )
    add("--seed", type=int, default=0, help="random seed of the drawn folds (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Train, report the accuracy on unseen clips, write, and return the exit status.

    It is 1 where files could not be used and were left out.
    """
    if args.finetune < 0:
        raise ClassifyError(f"--finetune is {args.finetune}: give epochs, 1 or more")
    if args.out.is_dir():
        raise ClassifyError(f"--out {args.out} is a folder: name a file")
    if args.out.exists() and not is_ours(args.out):
        raise ClassifyError(f"--out {args.out} exists and is not a classifier: name another file")
    if not args.out.parent.is_dir():
        raise ClassifyError(
            f"--out {args.out}: there is no folder {args.out.parent}: make it first"
        )
    if args.seed < 0:
        raise ClassifyError(f"--seed is {args.seed}: give 0 or more")
    check_writable(args.out)
    listed = read_labels(args.labels, seed=args.seed)
    model = load_encoder(args.model)
    features, bad = embed(model, listed)
    labeled = listed
    if bad:
        labeled = read_labels(args.labels, seed=args.seed, leave_out=bad)
        row = {file.path: i for i, file in enumerate(listed.files)}
        features = features[[row[file.path] for file in labeled.files]]
    sys.stdout.write(
        f"{args.labels}: {len(labeled.files)} clips, {len(labeled.classes)} classes; "
        f"{labeled.note}\n"
    )
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
            f"fine-tuned for {args.finetune} epochs: {what} on {tuned.held} (not trained on) "
            f"{100 * tuned.score:.1f} %, without fine-tuning {100 * tuned.before:.1f} %\n"
        )
    save_classifier(args.out, model, head, facts)
    sys.stdout.write(f"{args.out}: {args.out.stat().st_size / 1e6:.1f} MB\n")
    return LEFT_SOME_OUT if bad else 0


def load_encoder(spec: str) -> Embedder:
    """Return the encoder of a specification.

    Raises:
        ClassifyError: it is none of ours.
    """
    model = load(spec, precision="fp32").model
    if not isinstance(model, Embedder) or isinstance(model, Classifier):
        raise ClassifyError(f"{spec} is not an encoder of ours: give wavebyol_hear[:weights]")
    return model


def embed(model: Embedder, labeled: LabeledFiles) -> tuple[np.ndarray, list[str]]:
    """Return the embeddings of the files, with a progress bar, and the paths of unusable files.

    Why a file cannot be used is said on standard error; its embedding is zero.

    Raises:
        AudioError: embedding fails though every file can be read.

    Shape:
        float32 [n, D].
    """
    paths = [labeled.root / file.path for file in labeled.files]
    features = np.zeros((len(paths), model.scene_embedding_size), np.float32)
    bad: dict[int, str] = {}
    waiting: list[int] = []
    for row in with_progress(range(len(paths)), "embedding"):
        waiting.append(row)
        if len(waiting) < FILES_AT_ONCE and row < len(paths) - 1:
            continue
        rows, waiting = np.array(waiting), []
        try:
            features[rows] = model.embed([paths[row] for row in rows])
        except AudioError:
            unusable = why_unusable(paths, rows, model.sample_rate)
            if not unusable:  # a temporary failure: no file is to blame
                raise
            bad |= unusable
            rows = np.setdiff1d(rows, list(unusable))
            if len(rows):
                features[rows] = model.embed([paths[row] for row in rows])
    for reason in bad.values():
        sys.stderr.write(f"left out: {reason}\n")
    return features, [labeled.files[row].path for row in bad]


def why_unusable(paths: Sequence[Path], rows: np.ndarray, sample_rate: int) -> dict[int, str]:
    """Return for each row whose file cannot be decoded the reason."""
    reasons = {}
    for row in rows.tolist():
        try:
            read_audio(paths[row], sample_rate)
        except AudioError as error:
            reasons[row] = str(error)
    return reasons


def summary(labeled: LabeledFiles, result: Selection) -> str:
    """Return the score in words, and the commonest confusions."""
    what = "mean average precision" if labeled.multilabel else "accuracy"
    if labeled.fixed:
        text = (
            f"{what} on the {len(result.rows)} test clips: {100 * result.score:.1f} % "
            f"(l2 {result.l2:g}); the saved classifier is fitted to the other clips"
        )
    else:
        low, high = (100 * bound(result.of_folds) for bound in (min, max))
        text = (
            f"cross-validated {what}: {100 * result.score:.1f} % ({len(result.of_folds)} folds: "
            f"{low:.1f} to {high:.1f}; l2 {result.l2:g}); the saved classifier is fitted to all "
            "clips"
        )
    return text if labeled.multilabel else text + confusions(labeled, result)


def confusions(labeled: LabeledFiles, result: Selection) -> str:
    """Return a line on the commonest confusions of unseen clips; nothing where there are none."""
    true = labeled.targets()[result.rows].argmax(1)
    pairs = zip(true.tolist(), result.logits.argmax(1).tolist(), strict=True)
    wrong = Counter((right, guess) for right, guess in pairs if right != guess)
    names, clips = labeled.classes, Counter(true.tolist())
    texts = [
        f"{names[right]} taken for {names[guess]} ({n} of {clips[right]})"
        for (right, guess), n in wrong.most_common(CONFUSIONS)
    ]
    return f"\ncommonest confusions: {', '.join(texts)}" if texts else ""


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
