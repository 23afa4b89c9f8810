"""A file server, and HEAR modules written for one test."""

import importlib
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benchmark.download import transfer
from tests.benchmark.file_server import Server


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A file server on loopback that a transfer asks again without waiting."""
    monkeypatch.setattr(transfer, "WAIT_SECONDS", 0.0)
    with Server() as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield running
        running.shutdown()
        thread.join()


MODULE = """
import torch

class Model(torch.nn.Module):
    sample_rate = 16000
    scene_embedding_size = 3
    timestamp_embedding_size = 3

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

def load_model(model_file_path=""):
    model = Model()
    if model_file_path:
        model.scale.data.fill_(float(open(model_file_path).read()))
    return model

def get_timestamp_embeddings(audio, model):
    stamps = torch.arange(0, audio.shape[1] / 16, 25.0).repeat(len(audio), 1)
    return torch.zeros(*stamps.shape, 3), stamps

def get_scene_embeddings(audio, model):
    rows = torch.stack([audio.mean(1), audio.std(1, correction=0), audio.abs().amax(1)], 1)
    return rows * model.scale
"""


@pytest.fixture
def write_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., str]]:
    """Write a HEAR module that can be imported by the name returned.

    `write_module(name, more)` appends `more`, Python source that replaces what it redefines.
    """
    folder = tmp_path / "modules"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    written = []

    def write(name: str, more: str = "") -> str:
        (folder / f"{name}.py").write_text(MODULE + "\n" + more)
        sys.modules.pop(name, None)
        importlib.invalidate_caches()
        written.append(name)
        return name

    yield write
    for name in written:
        sys.modules.pop(name, None)
