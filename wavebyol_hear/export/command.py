"""`wavebyol export`: a model as an ONNX file or a torch.export program, checked against torch."""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from wavebyol_hear.classify.model import Classifier
from wavebyol_hear.embed import Embedder
from wavebyol_hear.export.check import (
    LENGTHS,
    TOLERANCE,
    ExportError,
    Run,
    check_equal,
    compare,
    seconds,
    torch_runner,
)
from wavebyol_hear.export.network import ClassNetwork, SceneNetwork
from wavebyol_hear.export.to_onnx import OPSET, onnx_model, onnx_runner, with_int8_weights
from wavebyol_hear.export.to_program import program_bytes, program_runner
from wavebyol_hear.files.atomic import atomic_write, check_writable, write_text
from wavebyol_hear.files.hear_module import load

Runner = Callable[[bytes], tuple[Run, dict[str, str]]]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of the command."""
    parser.add_argument("--onnx", type=Path, metavar="FILE", help="write an ONNX file")
    parser.add_argument(
        "--program", type=Path, metavar="FILE", help="write a torch.export program (.pt2)"
    )
    parser.add_argument(
        "--model",
        metavar="SPEC",
        help="wavebyol_hear[:weights][?option=value&...], the options of load_model "
        "(wavebyol_hear, the weights that ship)",
    )
    parser.add_argument(
        "--head",
        type=Path,
        metavar="FILE",
        help="a classifier of `wavebyol train`: the output is its classes' probabilities, whose "
        "names are written beside the ONNX file as NAME.classes.json",
    )
    parser.add_argument(
        "--int8",
        action="store_true",
        help="store the weights of the ONNX file in eight bits: a quarter of the size, as fast, "
        "and not the same numbers",
    )


def run(args: argparse.Namespace) -> int:
    """Export, compare and write; see the module."""
    if not (args.onnx or args.program):
        raise ExportError("nothing to write: give --onnx FILE or --program FILE")
    if args.int8 and not args.onnx:
        raise ExportError("--int8 is of ONNX files: give --onnx FILE")
    for path, ending in ((args.onnx, ".onnx"), (args.program, ".pt2")):
        if path and not path.parent.is_dir():
            raise ExportError(f"{path}: there is no folder {path.parent}: make it first")
        if path and path.exists() and path.suffix != ending:
            raise ExportError(f"{path} exists and is not called *{ending}: name another file")
        if path:
            check_writable(path)
    if args.head and args.model:
        raise ExportError("--head and --model: a classifier's file holds its encoder, drop --model")
    spec = f"wavebyol_hear:{args.head}" if args.head else args.model or "wavebyol_hear"
    loaded = load(spec, precision="fp32")
    model = loaded.model
    if not isinstance(model, Embedder):
        raise ExportError(f"{spec} is not a model of ours: only wavebyol_hear is exported")
    if args.head and not isinstance(model, Classifier):
        raise ExportError(f"{args.head} holds an encoder without a head: run `wavebyol train`")
    if model.precision != "fp32":
        raise ExportError(f"{spec}: an export computes in float32, leave precision out")
    metadata = {
        "model": spec,
        "weights_hash": loaded.weights_hash,
        "sample_rate": str(model.sample_rate),
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # times are of one thread
    try:
        write(args, Exported(model, classify=bool(args.head)), metadata)
    finally:
        torch.set_num_threads(threads)
    return 0


class Exported:
    """What is exported: a network, the runtime that it is compared with, and what it gives.

    Args:
        model: from `load_model`.
        classify: whether the result is a classifier's probabilities, not embeddings.
    """

    def __init__(self, model: Embedder, *, classify: bool) -> None:
        self.sample_rate = model.sample_rate
        self.network: nn.Module
        if classify:
            assert isinstance(model, Classifier)
            self.network, self.output, self.size = (
                ClassNetwork(model),
                "probabilities",
                len(model.classes),
            )
            self.classes = json.dumps(model.classes)
        else:
            self.network, self.output = SceneNetwork(model), "embedding"
            self.size, self.classes = model.scene_embedding_size, ""
        self.reference = torch_runner(model, classify=classify)
        self.seconds = seconds(self.reference)


def write(args: argparse.Namespace, exported: Exported, metadata: dict[str, str]) -> None:
    """Write the files that are asked for."""
    metadata |= {"classes": exported.classes} if exported.classes else {}
    sys.stderr.write("exporting ...\n")
    if args.program:
        try:
            data = program_bytes(exported.network, {**metadata, "weights": "float32"})
            deliver(args.program, data, exported, program_runner)
        except (RuntimeError, AssertionError) as error:  # older releases fix or bound the length
            reason = " ".join(str(error).split())[:200]
            raise ExportError(
                f"torch {torch.__version__} cannot export audio of any length; torch 2.13 can "
                f"({reason})"
            ) from error
    if args.onnx:
        metadata["weights"] = "int8" if args.int8 else "float32"
        proto = onnx_model(exported.network, exported.output, metadata)
        proto = with_int8_weights(proto) if args.int8 else proto
        deliver(args.onnx, proto.SerializeToString(), exported, one_thread, exact=not args.int8)
        if exported.classes:  # for pages: JavaScript cannot read the metadata
            write_text(args.onnx.with_suffix(".classes.json"), exported.classes + "\n")


def one_thread(data: bytes) -> tuple[Run, dict[str, str]]:
    """Return what runs an ONNX file on one thread, and the texts in it."""
    return onnx_runner(data, threads=1)


def deliver(
    path: Path, data: bytes, exported: Exported, runner: Runner, exact: bool = True
) -> None:
    """Compare what a file gives with torch, write the file and say how it compares.

    Raises:
        ExportError: the numbers differ by more than `TOLERANCE` where they are to be `exact`.
    """
    sys.stderr.write(f"comparing {path} with torch ...\n")
    run, _ = runner(data)
    comparison = compare(exported.reference, run)
    if exact:
        check_equal(comparison, str(path))
    with atomic_write(path) as file:
        file.write(data)
    kind = f"ONNX opset {OPSET}" if runner is one_thread else "torch.export program"
    rate, length = exported.sample_rate, LENGTHS[-1] / exported.sample_rate
    close = f"{TOLERANCE:g} allowed" if exact else f"cosine {comparison.cosine:.5f} or more"
    sys.stdout.write(
        f"{path}: {kind}, {len(data) / 1e6:.1f} MB\n"
        f"  audio [batch, samples] at {rate} Hz -> {exported.output} [batch, {exported.size}]\n"
        f"  against torch in float32, {len(LENGTHS)} lengths from 1 sample to {length:g} s: "
        f"maximum difference {comparison.difference:.1e} ({close})\n"
        f"  {length:g} s of audio on one thread: {seconds(run):.3f} s, torch "
        f"{exported.seconds:.3f} s\n"
    )
