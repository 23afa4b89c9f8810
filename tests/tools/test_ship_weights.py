"""The copy in half precision loads, with all that the file held, and embeds alike."""

import sys
from pathlib import Path

import pytest
import torch

from pretrain.whiten import whiten_file
from tests.pretrain.synthetic_sources import build_here, sound, wav
from tools.ship_weights import main
from wavebyol_hear.checkpoint import load_weights, save_encoder
from wavebyol_hear.encoder import PRESETS, Encoder


def test_a_copy_in_half_precision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "clips").mkdir()
    for number in range(24):
        (tmp_path / f"clips/{number}.wav").write_bytes(wav(sound(number, 6000)))
    encoder = Encoder(PRESETS["slim"]).eval()
    source, target = tmp_path / "weights.safetensors", tmp_path / "small.safetensors"
    save_encoder(source, encoder, {"steps": 3})
    whiten_file(source, build_here([str(tmp_path / "clips")], tmp_path / "store"))
    monkeypatch.setattr(sys, "argv", ["ship_weights", str(source), str(target)])
    assert main() == 0
    assert target.stat().st_size < 0.6 * source.stat().st_size
    whole, half = load_weights(source), load_weights(target)
    assert half.provenance == whole.provenance
    assert half.whitenings.keys() == whole.whitenings.keys() != set()
    wave = torch.randn(2, 1, 16_000, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(half.encoder(wave), whole.encoder(wave), rtol=2e-2, atol=2e-2)
