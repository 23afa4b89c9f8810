"""ONNX files: written by torch's exporter, optionally with weights of eight bits, and run."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from torch import nn

from wavebyol_hear.export.check import Run, synthetic_audio
from wavebyol_hear.files.extras import require

OPSET = 20
EXTRA, WHAT = "onnx", "wavebyol export --onnx"
MAX_BATCH, MAX_SAMPLES = 2**16, 2**27
LEAST_WEIGHTS = 4096
"""Of a tensor that is worth eight bits."""
KEPT = "front_end."
"""Begins the names of what keeps its precision: the spectrum has more range than eight bits."""


def onnx_model(network: nn.Module, output: str, metadata: Mapping[str, str]) -> Any:  # noqa: ANN401
    """Return a network as an ONNX model with a dynamic batch and length.

    Args:
        network: [B, n] -> [B, D], from `export.network`.
        output: what the result is called; the input is `audio`.
        metadata: texts that go into the file.

    Raises:
        MissingExtraError: the packages of the extra `onnx` are not installed.
    """
    require("onnxscript", EXTRA, WHAT)
    require("onnxruntime", EXTRA, WHAT)
    batch = torch.export.Dim("batch", min=1, max=MAX_BATCH)
    samples = torch.export.Dim("samples", min=1, max=MAX_SAMPLES)
    with _quiet():
        program = torch.onnx.export(
            network,
            (synthetic_audio(2, 30_000),),
            dynamo=True,
            verbose=False,
            opset_version=OPSET,
            dynamic_shapes=({0: batch, 1: samples},),
            input_names=["audio"],
            output_names=[output],
        )
    assert program is not None
    model = program.model_proto
    del model.metadata_props[:]
    for key, value in sorted(metadata.items()):
        model.metadata_props.add(key=key, value=value)
    for entry in (*model.graph.node, *model.graph.value_info, model.graph):
        del entry.metadata_props[:]  # lines of code and folders of whoever exports
        entry.doc_string = ""
    return model


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's progress, and its warnings of packages that it does not need here."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def with_int8_weights(model: Any) -> Any:  # noqa: ANN401
    """Return a model whose large weights are eight bits, a quarter of the size.

    Each row has a scale of its own, and the session multiplies it in once, when it starts: the
    computation is in float32, as fast as before. (onnxruntime's `quantize_dynamic` quantizes the
    maps too, which loses more and is slower.)
    """
    onnx = require("onnx", EXTRA, WHAT)
    small = onnx.ModelProto()
    small.CopyFrom(model)
    graph = small.graph
    before, initializers = [], []
    for tensor in graph.initializer:
        values = onnx.numpy_helper.to_array(tensor)
        large = values.dtype == np.float32 and values.ndim > 1 and values.size >= LEAST_WEIGHTS
        if not large or tensor.name.startswith(KEPT):
            initializers.append(tensor)
            continue
        rows = tuple(range(1, values.ndim))
        scale = np.maximum(np.abs(values).max(rows, keepdims=True) / 127, 1e-30).astype(np.float32)
        eight = np.round(values / scale).astype(np.int8)
        name = tensor.name
        initializers += [
            onnx.numpy_helper.from_array(eight, f"{name}.int8"),
            onnx.numpy_helper.from_array(scale, f"{name}.scale"),
        ]
        before += [
            onnx.helper.make_node("Cast", [f"{name}.int8"], [f"{name}.cast"], to=1),
            onnx.helper.make_node("Mul", [f"{name}.cast", f"{name}.scale"], [name]),
        ]
    nodes = [*before, *graph.node]
    for field, entries in ((graph.initializer, initializers), (graph.node, nodes)):
        copies = [type(entry).FromString(entry.SerializeToString()) for entry in entries]
        del field[:]
        field.extend(copies)
    onnx.checker.check_model(small)
    return small


def onnx_runner(source: bytes | str, threads: int = 0) -> tuple[Run, dict[str, str]]:
    """Return what runs an ONNX model, and the texts in its file.

    Args:
        source: the file's bytes, or its path.
        threads: that compute; 0 leaves it to onnxruntime.

    Raises:
        MissingExtraError: onnxruntime is not installed.
    """
    onnxruntime = require("onnxruntime", EXTRA, "an ONNX file")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])

    def run(audio: np.ndarray) -> np.ndarray:
        result: np.ndarray = session.run(None, {"audio": audio})[0]
        return result

    return run, dict(session.get_modelmeta().custom_metadata_map)
