"""The X-ARES template; X-ARES's own check runs where `xares` is installed."""

import pytest
import torch

from wavebyol_hear import get_timestamp_embeddings, load_model
from wavebyol_hear.integrations.xares import WaveByolEncoder


def test_frames_are_the_timestamps_at_the_stated_hop() -> None:
    model = load_model(preset="slim")
    encoder = WaveByolEncoder(model)
    audio = torch.randn(2, 50_000) * 0.1
    embeddings, times = get_timestamp_embeddings(audio, model)
    torch.testing.assert_close(encoder(audio), embeddings)
    steps = times[:, 1:] - times[:, :-1]
    torch.testing.assert_close(steps, torch.full_like(steps, encoder.hop_size_in_ms))
    assert encoder.output_dim == embeddings.shape[2]


def test_x_ares_accepts_it() -> None:
    """Skipped where `xares` is not installed."""
    checker = pytest.importorskip("xares.audio_encoder_checker", reason="needs the extra xares")
    encoder = WaveByolEncoder(preset="slim")
    assert checker.check_audio_encoder(encoder)
    del encoder.output_dim
    assert not checker.check_audio_encoder(encoder)
