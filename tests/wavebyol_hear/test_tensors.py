"""Weights files: equal content, equal bytes, and the library reads them."""

import subprocess
import sys

import torch
from safetensors import safe_open
from safetensors.torch import load

from wavebyol_hear.files.tensors import to_bytes

WRITE = """
import sys, torch
from wavebyol_hear.files.tensors import to_bytes
texts = {name: name * 3 for name in ("format", "config", "provenance", "ä")}
sys.stdout.buffer.write(to_bytes({"a": torch.ones(3), "b": torch.zeros(2, 2).half()}, texts))
"""


def test_equal_content_gives_equal_bytes_in_any_process(tmp_path):
    files = {
        subprocess.run([sys.executable, "-c", WRITE], capture_output=True, check=True).stdout
        for _ in range(4)
    }
    assert len(files) == 1


def test_the_library_reads_what_was_written(tmp_path):
    tensors = {"a": torch.randn(3), "b": torch.randn(2, 2).half(), "n": torch.tensor(7)}
    texts = {"format": "x/1", "config": '{"ä": [1, "\\""]}'}
    data = to_bytes(tensors, texts)
    (tmp_path / "w").write_bytes(data)
    torch.testing.assert_close(load(data), tensors)
    with safe_open(tmp_path / "w", "pt") as file:
        assert file.metadata() == texts
