"""Batches in chunks: the same numbers, and the whole batch where statistics are taken of it."""

import pytest
import torch

from wavebyol_hear import chunking
from wavebyol_hear.chunking import map_chunks
from wavebyol_hear.embed import Embedder
from wavebyol_hear.encoder import Encoder, EncoderConfig
from wavebyol_hear.front_end import ConvFrontEndConfig
from wavebyol_hear.hear import get_scene_embeddings, get_timestamp_embeddings

SMALL = EncoderConfig(ConvFrontEndConfig(channels=48), widths="8 P 8 16 P 16 P 32 P")


def sound(*shape):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("most", "sizes"), [(100, [5]), (40, [3, 2]), (5, [1, 1, 1, 1, 1])])
def test_chunks_are_even_and_concatenated_in_order(monkeypatch, most, sizes):
    seen = []

    def double(batch):
        seen.append(len(batch))
        return 2 * batch

    monkeypatch.setattr(chunking, "KEPT", most)
    batch = sound(5, 2)
    assert torch.equal(map_chunks(double, batch, 10), 2 * batch)
    assert seen == sizes


def test_embeddings_do_not_depend_on_the_chunks(monkeypatch):
    model = Embedder(Encoder(SMALL), "stages")
    audio = sound(5, 20_480)
    together = get_scene_embeddings(audio, model), get_timestamp_embeddings(audio, model)[0]
    calls = []

    def recording(call, *rest):
        def record(clips):
            calls.append(len(clips))
            return call(clips)

        return map_chunks(record, *rest)

    monkeypatch.setattr(chunking, "KEPT", 40_000)
    monkeypatch.setattr("wavebyol_hear.fast.inference.map_chunks", recording)
    apart = get_scene_embeddings(audio, model), get_timestamp_embeddings(audio, model)[0]
    assert min(calls) < 5
    assert max(calls) == 5  # The late blocks have all clips together.
    for one, other in zip(together, apart, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


def test_training_takes_its_statistics_of_the_whole_batch(monkeypatch):
    results = []
    for most in (chunking.KEPT, 1):
        monkeypatch.setattr(chunking, "KEPT", most)
        torch.manual_seed(0)
        model = Embedder(Encoder(SMALL), "stages").train()
        variance = model.encoder.get_buffer("features.1.running_var")
        results.append((model(sound(4, 20_480)).detach(), variance))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
