"""Long audio in pieces: the numbers of the whole, in bounded memory."""

import numpy as np
import pytest
import torch

from wavebyol_hear.embed import Embedder
from wavebyol_hear.encoder import PRESETS, Encoder
from wavebyol_hear.hear import untrained_encoder
from wavebyol_hear.pooling import TimeStatistics
from wavebyol_hear.stream import Frames, pieces, stages_of


def changing_sound(samples):
    """Noise that grows, with a silence and a tone: each piece has other statistics."""
    time = torch.arange(samples) / 16_000
    wave = torch.randn(samples, generator=torch.Generator().manual_seed(3)) * time
    wave[samples // 3 : samples // 2] = 0
    return (wave + torch.sin(2000 * time))[None]


def error(result, expected):
    """Largest difference, as a share of the largest number where that is above 1."""
    return ((result - expected).abs().max() / expected.abs().max().clamp_min(1)).item()


@pytest.mark.parametrize("total", [1, 63, 64, 65, 1000])
@pytest.mark.parametrize("halo", [0, 48, 200])
def test_pieces_keep_every_frame_once_and_read_around(total, halo):
    kept: list[int] = []
    for piece in pieces(total, 64, halo):
        kept += range(piece.first, piece.last)
        assert piece.start == max(piece.first - halo, 0)
        assert piece.stop == min(piece.last + halo, total)
    assert kept == list(range(total))


def test_the_last_piece_reads_to_the_end():
    assert [p.stop for p in pieces(130, 64, 8, end=150)] == [72, 136, 150]


def test_merged_statistics_are_those_of_the_whole():
    values = torch.randn(2, 3, 4, 501) + 1000
    running = TimeStatistics(("mean", "max", "std"))
    for piece in values.split(57, -1):
        running.update(piece)
        running.update(piece[..., :0])
    result = running.values()
    exact = values.double()
    torch.testing.assert_close(result["mean"].double(), exact.mean(-1), rtol=1e-6, atol=0)
    torch.testing.assert_close(
        result["std"].double(), exact.std(-1, correction=0), rtol=1e-3, atol=0
    )
    assert torch.equal(result["max"], values.amax(-1))


@pytest.mark.parametrize(
    ("preset", "pooling", "samples"),
    [
        ("slim", "stages", 50_001),
        ("slim", "bands", 47_839),
        ("slim_bank", "contrast", 47_839),
        ("h1", "global", 30_877),
        ("h2", "stages", 24_111),
    ],
)
def test_pieces_give_the_numbers_of_the_whole(preset, pooling, samples):
    torch.manual_seed(0)
    encoder = Encoder(PRESETS[preset])
    wave = changing_sound(samples)
    whole = Embedder(encoder, pooling, chunk_seconds=60)
    parts = Embedder(encoder, pooling, chunk_seconds=0.64)
    with torch.no_grad():
        expected, result = whole(wave), parts(wave)
        assert error(result, expected) < 1e-5
        expected, times = whole.timestamps(wave)
        result, found_times = parts.timestamps(wave)
    assert error(result, expected) < 1e-5
    assert torch.equal(times, found_times)


@pytest.mark.parametrize("preset", ["slim", "h1"])
def test_frames_in_pieces_are_the_encoders_image(preset):
    torch.manual_seed(0)
    encoder = Encoder(PRESETS[preset]).eval()
    wave = changing_sound(40_003)[:, None]
    with torch.no_grad():
        frames = Frames(encoder, wave, core=32)
        expected = encoder.image(wave)
        assert frames.count == expected.shape[-1]
        result = frames.image(0, frames.count)
        torch.testing.assert_close(result, expected, atol=1e-5, rtol=1e-5)
        beyond = frames.image(frames.count - 2, frames.count + 3)
        torch.testing.assert_close(beyond[..., 2:], result[..., -1:].expand(*beyond.shape[:3], 3))


@pytest.mark.parametrize("preset", PRESETS)
def test_stages_have_the_shapes_they_are_said_to_have(preset):
    with torch.device("meta"):
        encoder = Encoder(PRESETS[preset]).eval()
        maps = encoder.stages(torch.empty(1, 1, 20_480))
    for stage, values in zip(stages_of(encoder), maps, strict=True):
        assert (stage.channels, stage.rows) == values.shape[1:3]
        assert values.shape[3] == maps[0].shape[3] // stage.step


@pytest.mark.parametrize("preset", ["h1", "slim", "wide_bank"])
@pytest.mark.parametrize("samples", [1_000, 20_480, 20_480 * 5 + 77])
def test_a_recording_that_is_read_in_slices_has_the_numbers_of_the_whole(
    preset: str, samples: int
) -> None:
    class Slices:
        def __len__(self) -> int:
            return samples

        def __getitem__(self, span: slice) -> np.ndarray:
            assert span.stop - span.start <= 60_000
            return wave[span].copy()

    swell = np.linspace(0, 0.2, samples)
    wave = (swell * np.random.default_rng(0).standard_normal(samples)).astype(np.float32)
    encoder = untrained_encoder(preset)
    model = Embedder(encoder, chunk_seconds=1.28)
    audio = torch.from_numpy(wave)[None]
    with torch.inference_mode():
        whole, (instants, times) = model.scenes(audio), model.timestamps(audio)
        scene = model.long_scene(Slices())
        pieces = list(model.long_timestamps(Slices()))
    assert torch.allclose(scene, whole, atol=1e-5)
    assert len(pieces) > 1 or samples < 60_000
    assert torch.allclose(torch.cat([values for values, _ in pieces]), instants[0], atol=1e-5)
    assert torch.equal(torch.cat([ms for _, ms in pieces]), times[0])
