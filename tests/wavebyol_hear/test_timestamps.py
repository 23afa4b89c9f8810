"""Timestamps: what each column saw, where that is centred, and that nothing drifts."""

from fractions import Fraction

import pytest
import torch

from wavebyol_hear.embed import Embedder
from wavebyol_hear.encoder import PRESETS, Encoder, EncoderConfig
from wavebyol_hear.front_end import (
    BankFrontEndConfig,
    ConvFrontEndConfig,
    FilterBankConfig,
    GaborFrontEndConfig,
)
from wavebyol_hear.hear import get_timestamp_embeddings
from wavebyol_hear.pooling import POOLINGS
from wavebyol_hear.stream import Stage, stages_of
from wavebyol_hear.timestamps import TimeGrid, windows

CONV = EncoderConfig(ConvFrontEndConfig(channels=48), widths="8 P 8 16 P 16 P 32 P")
GABOR = EncoderConfig(
    GaborFrontEndConfig(channels=96), widths="8 P 8 P 16 P 16 P 32 P", input_norm="rms"
)
BANK = EncoderConfig(
    BankFrontEndConfig(), widths="8 P 8 P 16 P 16 P 32 P", pre_emphasis=0.97, input_norm="rms"
)
SHALLOW = EncoderConfig(GaborFrontEndConfig(channels=48), widths="8 P 16 P", input_norm="rms")
CONFIGS = {"conv": CONV, "gabor": GABOR, "bank": BANK, "shallow": SHALLOW}


def embedder(config, pooling="stages", **options):
    torch.manual_seed(0)
    return Embedder(Encoder(config), pooling, **options)


def meta(preset):
    with torch.device("meta"):
        return Encoder(PRESETS[preset])


def seen_by(config, pools, column):
    """Centre, in samples, of all that a strided map's column can see, traced layer by layer."""
    low = high = column
    tokens = config.widths.split()
    while tokens.count("P") > pools:  # Drop the blocks after the stage.
        tokens.pop()
        while tokens and tokens[-1] != "P":
            tokens.pop()
    for token in reversed(tokens):
        low, high = (2 * low, 2 * high + 1) if token == "P" else (low - 1, high + 1)
    front = config.front_end
    if isinstance(front, FilterBankConfig):
        low, high = low * front.pool, high * front.pool + front.pool - 1
        layers = [(front.taps, front.stride, (front.taps - front.stride) // 2)]
    else:
        layers = list(zip(front.kernels, front.strides, front.paddings, strict=True))
    for kernel, stride, padding in reversed(layers):
        low, high = low * stride - padding, high * stride - padding + kernel - 1
    return Fraction(low + high, 2)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_stages_window_is_centred_on_the_timestamp(preset):
    config, encoder = PRESETS[preset], meta(preset)
    grid = TimeGrid.of(encoder)
    for pools, stage in enumerate(stages_of(encoder)):
        offset, width, stride = grid.window(stage)
        for j in (8, 16, 90_000):
            if stage.step <= grid.step:
                columns = [stride * j + offset + i for i in range(width)]
                centres = [seen_by(config, pools, column) for column in columns]
                centre = sum(centres) / width
            else:
                # Dense column j is strided column m where j = m ratio + the shift of its pools.
                ratio = stage.step // grid.step
                centre = seen_by(config, pools, j // ratio)
                j = j // ratio * ratio + ratio // 2 - 1
            assert centre == Fraction(grid.phase + j * grid.period, 2)


@pytest.mark.parametrize("name", CONFIGS)
def test_dense_maps_hold_the_strided_maps(name):
    encoder = embedder(CONFIGS[name]).encoder
    step = TimeGrid.of(encoder).step
    with torch.no_grad():
        image = encoder.image(torch.randn(2, 1, 50_000))
        strided, dense = [image], list(encoder.dense_maps(image, step))
        for block in encoder.blocks():
            strided.append(block(strided[-1]))
    for stage, whole, fine in zip(stages_of(encoder), strided, dense, strict=True):
        ratio = max(stage.step // step, 1)
        sampled = fine[..., max(ratio // 2 - 1, 0) :: ratio]
        # The right edge differs: strided maps drop what does not fill a pool.
        inner = min(whole.shape[-1], sampled.shape[-1]) - 5
        assert inner >= 3
        torch.testing.assert_close(sampled[..., :inner], whole[..., :inner], atol=1e-5, rtol=1e-5)


def test_windows_take_columns_from_offset_in_strides():
    first, second = windows(torch.arange(20)[None], begin=3, count=4, width=2, stride=4)
    assert first.tolist() == [[3, 7, 11, 15]]
    assert second.tolist() == [[4, 8, 12, 16]]


def test_early_stages_are_mean_and_max_of_their_window():
    model = embedder(GABOR)
    wave = torch.randn(1, 48_000)
    out, _ = get_timestamp_embeddings(wave, model)
    with torch.no_grad():
        image, first = model.encoder.stages(wave[:, None])[:2]
    j = 20  # Centred on frame 4 j + 3.5: frames 4 j + 2 to 4 j + 5, columns 2 j + 1 and 2 j + 2.
    frames = image[0].flatten(0, 1)[:, 4 * j + 2 : 4 * j + 6]
    columns = first[0].flatten(0, 1)[:, 2 * j + 1 : 2 * j + 3]
    statistics = [frames.mean(1), frames.amax(1), frames.std(1, correction=0)]
    statistics += [columns.mean(1), columns.amax(1)]
    expected = torch.cat(statistics)
    torch.testing.assert_close(out[0, j, : len(expected)], expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("preset", PRESETS)
def test_nothing_drifts_in_an_hour(preset):
    grid = TimeGrid.of(meta(preset))
    samples = 3600 * 16_000 + 7
    times = grid.milliseconds(0, samples, 16_000)
    columns = grid.columns(0, samples)
    assert len(times) == len(columns) > 80_000
    for i in (0, 1, 54_321, len(times) - 1):
        exact = Fraction(grid.phase + columns[i] * grid.period, 2 * 16)
        assert Fraction(times[i].item()) == exact
    assert times.diff().unique().tolist() == [40.0]


@pytest.mark.parametrize("preset", PRESETS)
def test_timestamps_reach_from_start_to_end(preset):
    grid = TimeGrid.of(meta(preset))
    assert grid.period / 32 <= 50
    for samples in [*range(1, 2000, 13), 17_120, 31_680, 43_840, 64_000, 100_003]:
        left = max(20_480 - samples, 0) // 2
        times = grid.milliseconds(left, samples, 16_000)
        end = samples / 16
        assert times.min() >= 0
        assert times.max() <= end
        if end > 40:
            assert times[0] < 40
            assert times[-1] > end - 40


@pytest.mark.parametrize("samples", [1, 100, 5000, 8000])
def test_times_of_short_clips_count_from_the_clip_not_the_padding(samples):
    model = embedder(CONV)
    clip = torch.randn(1, samples)
    left = (20_480 - samples) // 2
    padded = torch.nn.functional.pad(clip, (left, 20_480 - samples - left))
    out, times = get_timestamp_embeddings(clip, model)
    whole, whole_times = get_timestamp_embeddings(padded, model)
    # The same column, counted from the start of the padding, is later by the padding.
    shift = (whole_times[0] - left / 16)[:, None] - times[0]
    nearest = shift.abs().argmin(0)
    if samples > 640:
        assert shift.gather(0, nearest[None]).abs().max() == 0
    torch.testing.assert_close(out[0], whole[0, nearest], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_click_shows_at_its_own_time(name, pooling):
    model = embedder(CONFIGS[name], pooling)
    for at in (9_000, 31_000):
        clip = 1e-3 * torch.randn(1, 48_000, generator=torch.Generator().manual_seed(0))
        clicked = clip.clone()
        clicked[0, at - 80 : at + 80] += 1e-2
        if model.encoder.image_norm is not None:  # The norms spread a click over all time.
            model.encoder.image_norm.gain = lambda energy, length: torch.ones(())
        model.encoder.input_norm.gain = lambda energy, length: torch.ones(())
        before, times = get_timestamp_embeddings(clip, model)
        after, _ = get_timestamp_embeddings(clicked, model)
        change = (after - before).abs().amax(-1)[0].double()
        change[change < 0.2 * change.max()] = 0
        middle = (change * times[0]).sum() / change.sum()
        assert middle.item() == pytest.approx(at / 16, abs=60)


def test_the_contract_of_shapes_and_types():
    for name, config in CONFIGS.items():
        for pooling in POOLINGS:
            model = embedder(config, pooling)
            out, times = get_timestamp_embeddings(torch.randn(3, 17_120), model)
            assert out.shape == (3, times.shape[1], model.timestamp_embedding_size), name
            assert times.shape[0] == 3
            assert out.dtype == torch.float32
            assert times.dtype == torch.float64
            assert out.isfinite().all()


def test_one_column_windows_are_not_kept_twice():
    model = embedder(GABOR)
    rows = [32, 16, 8, 4, 2, 1]
    channels = [3, 8, 8, 16, 16, 32]
    kept = [3, 2, 2, 1, 1, 1]
    numbers = sum(r * c * k for r, c, k in zip(rows, channels, kept, strict=True))
    assert model.timestamp_embedding_size == numbers
    assert model.stages[3] == Stage(16, 4, 8)


def test_normalized_timestamps_have_unit_norm():
    out, _ = get_timestamp_embeddings(torch.randn(1, 30_000), embedder(CONV, normalize=True))
    torch.testing.assert_close(out.norm(dim=-1), torch.ones(out.shape[:2]))
