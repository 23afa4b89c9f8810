"""`wavebyol export`: a model as an ONNX file or a torch.export program, checked against torch."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from wavebyol_hear.embed import Embedder
from wavebyol_hear.export.check import (
    LENGTHS,
    TOLERANCE,
    ExportError,
    Run,
    check_equal,
    compare,
    seconds,
)
from wavebyol_hear.export.network import SceneNetwork
from wavebyol_hear.export.to_onnx import OPSET, onnx_model, onnx_runner, with_int8_weights
from wavebyol_hear.export.to_program import program_bytes, program_runner
from wavebyol_hear.files.atomic import atomic_write
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
        default="wavebyol_hear",
        metavar="SPEC",
        help="wavebyol_hear[:weights][?option=value&...], the options of load_model "
        "(default: the weights that ship)",
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
    for path in (args.onnx, args.program):
        if path and not path.parent.is_dir():
            raise ExportError(f"{path}: there is no folder {path.parent}: make it first")
    loaded = load(args.model, precision="fp32")
    model = loaded.model
    if not isinstance(model, Embedder):
        raise ExportError(f"{args.model} is no model of ours: only wavebyol_hear is exported")
    if model.precision != "fp32":
        raise ExportError(f"{args.model}: an export computes in float32, leave precision out")
    metadata = {
        "model": args.model,
        "weights_hash": loaded.weights_hash,
        "sample_rate": str(model.sample_rate),
        "weights": "int8" if args.int8 else "float32",
    }
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # times are of one thread
    try:
        write(args, model, metadata)
    finally:
        torch.set_num_threads(threads)
    return 0


def write(args: argparse.Namespace, model: Embedder, metadata: dict[str, str]) -> None:
    """Write the files that are asked for."""
    network = SceneNetwork(model)
    time_torch = seconds(torch_runner(model))
    if args.program:
        data = program_bytes(network, metadata | {"weights": "float32"})
        deliver(args.program, data, model, program_runner, time_torch)
    if args.onnx:
        proto = onnx_model(network, "embedding", metadata)
        proto = with_int8_weights(proto) if args.int8 else proto
        data = proto.SerializeToString()
        deliver(args.onnx, data, model, one_thread, time_torch, exact=not args.int8)


def one_thread(data: bytes) -> tuple[Run, dict[str, str]]:
    """Return what runs an ONNX file on one thread, and the texts in it."""
    return onnx_runner(data, threads=1)


def torch_runner(model: Embedder) -> Run:
    """Return the model as a runtime."""

    def run(audio: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return model.scenes(torch.from_numpy(audio)).numpy()

    return run


def deliver(
    path: Path, data: bytes, model: Embedder, runner: Runner, time_torch: float, exact: bool = True
) -> None:
    """Compare what a file gives with torch, write the file and say how it compares.

    Raises:
        ExportError: the numbers differ by more than `TOLERANCE` where they are to be `exact`.
    """
    run, _ = runner(data)
    comparison = compare(model, run)
    if exact:
        check_equal(comparison, str(path))
    with atomic_write(path) as file:
        file.write(data)
    kind = f"ONNX opset {OPSET}" if runner is one_thread else "torch.export program"
    length = LENGTHS[-1] / model.sample_rate
    close = f"{TOLERANCE:g} allowed" if exact else f"cosine {comparison.cosine:.5f} or more"
    sys.stdout.write(
        f"{path}: {kind}, {len(data) / 1e6:.1f} MB\n"
        f"  audio [batch, samples] at {model.sample_rate} Hz -> "
        f"embedding [batch, {model.scene_embedding_size}]\n"
        f"  against torch in float32, {len(LENGTHS)} lengths from 1 sample to {length:g} s: "
        f"maximum difference {comparison.difference:.1e} ({close})\n"
        f"  {length:g} s of audio on one thread: {seconds(run):.3f} s, torch {time_torch:.3f} s\n"
    )
