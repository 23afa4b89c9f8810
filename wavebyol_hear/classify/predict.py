"""`wavebyol predict`: classes and probabilities of files, as CSV."""

import argparse
import csv
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from wavebyol_hear.audio import AudioError, read_audio
from wavebyol_hear.classify.model import Classifier
from wavebyol_hear.classify.train import ClassifyError
from wavebyol_hear.files.atomic import check_writable, regular, write_text
from wavebyol_hear.files.command import readable
from wavebyol_hear.files.read_ahead import with_progress
from wavebyol_hear.files.sources import Item, Listing
from wavebyol_hear.files.stores import is_remote
from wavebyol_hear.hear import load_model

FAILED_SOME = 1
LIKELY = 0.5
"""Probability from which a label counts where a clip may have several."""
WINDOW, HOP, LONGEST = 2.0, 1.0, 1e6
"""Default window and hop in seconds, and the maximum of either."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    add = parser.add_argument
    add("classifier", metavar="CLASSIFIER", help="file that `wavebyol train` wrote")
    add(
        "files",
        nargs="+",
        metavar="FILE",
        help="audio file, folder of audio files, @list.txt with one path per line, or CSV file "
        "with a path column",
    )
    add("--timestamps", action="store_true", help="one row per window instead of one per file")
    add("--window", type=float, metavar="SECONDS", help=f"window length (default: {WINDOW:g})")
    hop = f"distance between the starts of windows (default: {HOP:g})"
    add("--hop", type=float, metavar="SECONDS", help=hop)
    add("--out", type=Path, metavar="FILE", help="CSV file to write (default: standard output)")


def run(args: argparse.Namespace) -> int:
    """Predict and return the exit status: 1 where a file could not be read; see the module."""
    for name, value in (("window", args.window), ("hop", args.hop)):
        if value is not None and not args.timestamps:
            raise ClassifyError(f"--{name} without --timestamps: add --timestamps")
        if value is not None and not 0 < value <= LONGEST:
            raise ClassifyError(f"--{name} is {value:g}: give seconds above 0, at most {LONGEST:g}")
    if args.out is not None and not args.out.parent.is_dir():
        raise ClassifyError(
            f"--out {args.out}: there is no folder {args.out.parent}: make it first"
        )
    model = load_model(args.classifier)
    if not isinstance(model, Classifier):
        raise ClassifyError(
            f"{args.classifier} holds an encoder without a head: run `wavebyol train`"
        )
    lines: list[str] = []
    output = csv.writer(_Lines(lines) if args.out else sys.stdout, lineterminator="\n")
    span = ("start", "end") if args.timestamps else ()
    output.writerow(["path", *span, "label", *model.classes])
    if args.out and args.out.exists() and not _begins_with(args.out, lines[0]):
        raise ClassifyError(f"--out {args.out} exists and has other columns: name another file")
    if args.out:
        check_writable(args.out)
    items, failed = list(listed(args.files)), 0
    numbered = range(len(items))
    for i in with_progress(numbered, "predicting", unit="file") if args.out else numbered:
        item = items[i]
        try:
            if item.error:
                raise AudioError(f"{item.path}: {item.error}")
            for begin, end, row in rows(model, Path(item.path), args):
                place = (f"{begin:.3f}", f"{end:.3f}") if args.timestamps else ()
                numbers = (f"{value:.4f}" for value in row)
                output.writerow([readable(item.path), *place, label(model, row), *numbers])
        except AudioError as error:
            sys.stderr.write(f"{error}\n")
            failed += 1
    if args.out:
        write_text(args.out, "".join(lines))
        sys.stdout.write(f"{args.out}: {len(lines) - 1} rows\n")
    return FAILED_SOME if failed else 0


def _begins_with(path: Path, line: str) -> bool:
    """Return whether a file begins with a line, as predictions with these columns do."""
    start = line.encode(errors="replace")
    with open(path, "rb", opener=regular) as file:
        return file.read(len(start)) == start


class _Lines:
    """What the CSV writer writes to, in place of a file."""

    def __init__(self, lines: list[str]) -> None:
        self.write = lines.append


def listed(sources: Sequence[str]) -> Iterator[Item]:
    """Yield the audio files that sources name: files, folders, `@list.txt`, CSV files.

    Raises:
        SourceError: a source does not exist.
        ClassifyError: a source is a tar shard or a table of audio, or there is no audio file.
    """
    found = False
    for part in Listing().parts(sources):
        for item in part.items:
            if part.kind != "files" or is_remote(item.path):
                raise ClassifyError(f"{item.path}: give audio files, folders or lists on disk")
            found = True
            yield item
    if not found:
        raise ClassifyError(f"{', '.join(sources)}: no audio file found")


def rows(
    model: Classifier, path: Path, args: argparse.Namespace
) -> Iterator[tuple[float, float, np.ndarray]]:
    """Yield begin and end in seconds and the probabilities of a file, or of each window of it."""
    rate = model.sample_rate
    wave = read_audio(path, rate)
    if not args.timestamps:
        yield 0.0, len(wave) / rate, model.probabilities(wave, rate)
        return
    spans = (args.window or WINDOW, args.hop or HOP)
    window, hop = (max(round(seconds * rate), 1) for seconds in spans)
    for start in range(0, max(len(wave) - window + hop, 1), hop):
        part = wave[start : start + window]
        yield start / rate, (start + len(part)) / rate, model.probabilities(part, rate)


def label(model: Classifier, row: np.ndarray) -> str:
    """Return the most probable class; where a clip may have several, the likely ones."""
    if not model.head.multilabel:
        return model.classes[int(row.argmax())]
    return ";".join(name for name, value in zip(model.classes, row, strict=True) if value >= LIKELY)
