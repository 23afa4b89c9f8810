"""torch.export programs: `.pt2` files that run without the code of the model."""

import io
import json
import warnings
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.export import Dim, ExportedProgram

from wavebyol_hear.export.check import Run, synthetic_audio
from wavebyol_hear.export.to_onnx import MAX_BATCH

METADATA = "wavebyol.json"


def program_bytes(network: nn.Module, metadata: Mapping[str, str]) -> bytes:
    """Return a network as the bytes of a `.pt2` file, with a dynamic batch and length.

    Args:
        network: [B, n] -> [B, D], from `export.network`.
        metadata: texts that go into the file, as JSON under `wavebyol.json`.
    """
    shapes = ({0: Dim("batch", min=1, max=MAX_BATCH), 1: Dim.DYNAMIC},)
    file = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.export.export(network, (synthetic_audio(2, 30_000),), dynamic_shapes=shapes)
        torch.export.save(program, file, extra_files={METADATA: json.dumps(dict(metadata))})
    return file.getvalue()


def program_runner(source: bytes | Path) -> tuple[Run, dict[str, str]]:
    """Return what runs a `.pt2` file, given its bytes or its path, and the texts in it."""
    extra = {METADATA: ""}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        file = io.BytesIO(source) if isinstance(source, bytes) else source
        program: ExportedProgram = torch.export.load(file, extra_files=extra)
    module = program.module()

    def run(audio: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            result: np.ndarray = module(torch.from_numpy(audio)).numpy()
        return result

    return run, json.loads(extra[METADATA] or "{}")
